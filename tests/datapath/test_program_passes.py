"""Signalling with a Home Address option, and everything that is none of the program's business."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    HAO,
    MIP6MH_BU,
    HBHOptUnknown,
    ICMPv6EchoRequest,
    ICMPv6MPSol,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    Pad1,
    PadN,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from datapath.reasons import Reason

pytestmark = pytest.mark.namespaces

ESP = 50
MOBILITY = 135


def link(testbed) -> Packet:
    return Ether(src=testbed.care_of_mac, dst=testbed.core_mac)


def signalling(testbed, options: Packet | bytes, payload: Packet | None = None) -> bytes:
    header = IPv6(src=str(testbed.care_of), dst=str(testbed.home_agent), hlim=50, nh=60)
    return bytes(link(testbed) / header / options / (Raw(b"\x11" * 40) if payload is None else payload))


def with_home_address(testbed, protocol: int, *before: Packet, **fields: object) -> Packet:
    return IPv6ExtHdrDestOpt(nh=protocol, options=[*before, HAO(hoa=str(testbed.home))], **fields)


@pytest.mark.parametrize("protocol", [ESP, MOBILITY])
@pytest.mark.parametrize(
    "before", [(), (Pad1(),), (PadN(optdata=b"\0" * 6),), (HBHOptUnknown(otype=5, optdata=b"ab"),)]
)
def test_source_and_home_address_option_are_swapped(testbed, protocol, before):
    frame = signalling(testbed, with_home_address(testbed, protocol, *before))

    outcome = testbed.run(frame, "core")

    at = frame.index(b"\xc9\x10" + testbed.home.packed)
    expected = bytearray(frame)
    expected[22:38] = testbed.home.packed
    expected[at : at + 18] = b"\x1e\x10" + testbed.care_of.packed
    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_HOME_ADDRESS_SWAPPED)
    assert outcome.frame == bytes(expected)


def test_the_swap_leaves_the_checksum_right(testbed):
    update = MIP6MH_BU(seq=3, mhtime=60, flags="AH")
    pseudo = bytes(IPv6(src=str(testbed.home), dst=str(testbed.home_agent)) / update)[40:]
    frame = signalling(testbed, with_home_address(testbed, MOBILITY), Raw(pseudo))

    outcome = testbed.run(frame, "core")

    received = IPv6(outcome.frame[14:])
    rebuilt = bytes(IPv6(src=received.src, dst=received.dst) / update)[40:]
    assert bytes(received)[-len(rebuilt) :] == rebuilt


def in_udp(testbed, data: bytes = b"\0\0\1\0" + b"\x11" * 21, **fields: object) -> Packet:
    """UDP with a checksum over the addresses of the IPv6 header, as it leaves the node or a NAT."""
    udp = UDP(**{"sport": 31_000, "dport": 4500, **fields})
    return Raw(bytes(IPv6(src=str(testbed.care_of), dst=str(testbed.home_agent)) / udp / data)[40:])


@pytest.mark.parametrize("length", [20, 21, 200])
@pytest.mark.parametrize("before", [(), (PadN(optdata=b"\0" * 6),)])
def test_esp_in_udp_is_swapped_and_its_checksum_counts_the_home_address(testbed, length, before):
    data = bytes(range(1, 1 + length))
    frame = signalling(testbed, with_home_address(testbed, 17, *before), in_udp(testbed, data))

    outcome = testbed.run(frame, "core")

    assert outcome.reason is Reason.PASS_HOME_ADDRESS_SWAPPED
    received = IPv6(outcome.frame[14:])
    assert received.src == str(testbed.home)
    right = bytes(IPv6(src=str(testbed.home), dst=str(testbed.home_agent)) / UDP(sport=31_000, dport=4500) / data)[40:]
    assert outcome.frame.endswith(right)
    at = frame.index(b"\xc9\x10" + testbed.home.packed)
    assert outcome.frame[at : at + 18] == b"\x1e\x10" + testbed.care_of.packed


def test_a_udp_checksum_that_is_missing_stays_missing(testbed):
    frame = signalling(testbed, with_home_address(testbed, 17), in_udp(testbed, chksum=0))

    outcome = testbed.run(frame, "core")

    assert outcome.reason is Reason.PASS_HOME_ADDRESS_SWAPPED
    assert outcome.frame.endswith(frame[-33:])


def test_a_udp_checksum_that_becomes_zero_is_written_as_all_ones(testbed):
    """Zero would say that there is none."""
    data = b"\0\0\1\0" + b"\x11" * 21
    without_port = bytes(IPv6(src=str(testbed.home), dst=str(testbed.home_agent)) / UDP(sport=0, dport=4500) / data)[
        40:
    ]
    port = UDP(without_port).chksum  # counted in, it makes the sum all ones
    frame = signalling(testbed, with_home_address(testbed, 17), in_udp(testbed, data, sport=port))

    outcome = testbed.run(frame, "core")

    assert UDP(outcome.frame[-33:]).chksum == 0xFFFF


def test_a_home_address_without_binding_is_swapped_too(testbed):
    stranger = "2001:db8:100::99"
    options = IPv6ExtHdrDestOpt(nh=ESP, options=[HAO(hoa=stranger)])

    outcome = testbed.run(signalling(testbed, options), "core")

    assert outcome.reason is Reason.PASS_HOME_ADDRESS_SWAPPED
    assert Ether(outcome.frame)[IPv6].src == stranger


@pytest.mark.parametrize(
    "options",
    [
        bytes([ESP, 0, 1, 4, 0, 0, 0, 0]),  # padding only
        bytes([ESP, 2, 1, 2, 0, 0, 0xC9, 15]) + bytes(16),  # option of a wrong length
        bytes([ESP, 1, 1, 2, 0, 0, 0xC9, 16]) + bytes([0x20]) * 8,  # option longer than its header
        bytes([ESP, 2, 1, 255, 0, 0, 0xC9, 16]) + bytes([0x20]) * 16,  # padding longer than its header
        bytes([ESP, 20, 1, 2, 0, 0, 0xC9, 16]) + bytes([0x20]) * 16,  # header longer than the packet
        bytes([ESP, 200, 1, 2, 0, 0, 0xC9, 16]) + bytes([0x20]) * 16,  # header longer than what is looked at
        bytes([ESP, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xC9, 16]) + bytes([0x20]) * 16,  # too many options
    ],
)
def test_malformed_options_are_left_to_the_kernel(testbed, options):
    frame = signalling(testbed, Raw(options))

    outcome = testbed.run(frame, "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_DESTINATION_OPTIONS)
    assert outcome.frame == frame


def test_a_stranger_cannot_claim_a_care_of_address(testbed):
    options = bytes([ESP, 2, 1, 2, 0, 0, 0x1E, 16]) + testbed.other_care_of.packed

    outcome = testbed.run(signalling(testbed, Raw(options)), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_FORGED_CARE_OF_ADDRESS)


def test_the_option_to_another_host_is_left_alone(testbed):
    header = IPv6(src=str(testbed.care_of), dst=str(testbed.correspondent), nh=60)
    frame = bytes(link(testbed) / header / with_home_address(testbed, ESP) / Raw(b"\x11" * 40))

    outcome = testbed.run(frame, "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_NOT_OURS)
    assert outcome.frame == frame


def _to_home_agent(testbed, payload: Packet, **fields: object) -> Packet:
    return IPv6(**({"src": str(testbed.care_of), "dst": str(testbed.home_agent)} | fields)) / payload


CONTROL = {
    "ike": UDP(sport=500, dport=500) / Raw(b"\0" * 28),
    "esp": Raw(b"\1" * 40),
    "echo": ICMPv6EchoRequest(data=b"x"),
    "prefix-solicitation": ICMPv6MPSol(),
    "binding-update": MIP6MH_BU(seq=1),
}


@pytest.mark.parametrize("name", CONTROL)
def test_control_traffic_reaches_the_home_agent_untouched(testbed, name):
    fields = {"nh": ESP} if name == "esp" else {}
    frame = bytes(link(testbed) / _to_home_agent(testbed, CONTROL[name], **fields))

    outcome = testbed.run(frame, "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_HOME_AGENT)
    assert outcome.frame == frame


OTHERS = {
    "arp": (Ether(dst="02:00:00:00:00:04") / ARP(), Reason.PASS_NOT_IPV6),
    "ipv4": (Ether(dst="02:00:00:00:00:04") / IP(dst="192.0.2.1") / UDP(), Reason.PASS_NOT_IPV6),
    "neighbour-solicitation": (
        Ether(dst="33:33:ff:00:00:05") / IPv6(src="2001:db8:f::5", dst="ff02::1:ff00:5", hlim=255) / ICMPv6ND_NS(),
        Reason.PASS_GROUP_FRAME,
    ),
    "unicast-to-a-group-frame": (
        Ether(dst="33:33:00:00:00:01") / IPv6(src="2001:db8:c::2", dst="2001:db8:100::5") / UDP(),
        Reason.PASS_GROUP_FRAME,
    ),
    "vlan": (
        Ether(dst="02:00:00:00:00:04") / Dot1Q(vlan=5) / IPv6(src="2001:db8:c::2", dst="2001:db8:100::5") / UDP(),
        Reason.PASS_NOT_IPV6,
    ),
    "elsewhere": (
        Ether(dst="02:00:00:00:00:04") / IPv6(src="2001:db8:c::2", dst="2001:db8:77::1") / UDP(),
        Reason.PASS_NOT_OURS,
    ),
    "not-version-6": (
        Ether(dst="02:00:00:00:00:04", type=0x86DD) / IPv6(version=5, src="2001:db8:c::2", dst="2001:db8:100::5"),
        Reason.PASS_MALFORMED,
    ),
    "cut-short": (
        Ether(dst="02:00:00:00:00:04") / IPv6(src="2001:db8:c::2", dst="2001:db8:100::5", plen=500) / UDP(),
        Reason.PASS_MALFORMED,
    ),
    "jumbogram": (
        Ether(dst="02:00:00:00:00:04")
        / IPv6(src="2001:db8:c::2", dst="2001:db8:100::5", plen=0, nh=0)
        / Raw(bytes(64)),
        Reason.PASS_MALFORMED,
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_everything_else_is_passed_untouched(testbed, name):
    frame, reason = OTHERS[name]

    outcome = testbed.run(bytes(frame), "core")

    assert (outcome.verdict, outcome.reason) == ("pass", reason)
    assert outcome.frame == bytes(frame)


def test_the_verifier_has_room_left(testbed):
    assert 0 < testbed.report.verified_instructions < 500_000
