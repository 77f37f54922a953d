"""Packets to a home address: the whole frame that comes out, the verdict and the counter of every way."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6ND_Redirect,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from datapath.bindings import Usage
from datapath.bpf_syscall import Map
from datapath.layout import pin_directory
from datapath.reasons import Reason

pytestmark = pytest.mark.namespaces


def link(testbed) -> Packet:
    return Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac)


def to_home(testbed, payload: Packet, **fields: object) -> Packet:
    header = {"src": str(testbed.correspondent), "dst": str(testbed.home), "hlim": 61} | fields
    return IPv6(**header) / payload


def padded(testbed, length: int, **fields: object) -> Packet:
    """A UDP packet to the home address of `length` bytes in all."""
    return to_home(testbed, UDP(sport=1000, dport=2000) / Raw(b"x" * (length - 48)), **fields)


def test_encapsulates_towards_the_care_of_address(testbed):
    packet = to_home(testbed, ICMPv6EchoRequest(id=7, seq=1, data=b"hello"), tc=0xB8, fl=0x12345)

    outcome = testbed.run(bytes(link(testbed) / packet))

    inner = packet.copy()
    inner.hlim = 60
    expected = (
        Ether(src=testbed.core_mac, dst=testbed.care_of_mac)
        / IPv6(src=str(testbed.home_agent), dst=str(testbed.care_of), tc=0xB8, fl=0x12345, hlim=64, nh=41)
        / inner
    )
    assert outcome.reason is Reason.FORWARD_ENCAPSULATED
    assert outcome.verdict == "redirect"
    assert outcome.frame == bytes(expected)


def test_uses_the_home_agent_address_of_the_binding(testbed):
    packet = to_home(testbed, UDP(sport=1, dport=2), dst=str(testbed.other_home))

    outcome = testbed.run(bytes(link(testbed) / packet))

    outer = Ether(outcome.frame)[IPv6]
    assert (outer.src, outer.dst) == (str(testbed.other_home_agent), str(testbed.other_care_of))


def test_padding_of_a_short_frame_stays_outside_the_tunnel(testbed):
    packet = to_home(testbed, UDP(sport=1, dport=2))

    outcome = testbed.run(bytes(link(testbed) / packet) + b"\xee" * 12)

    assert outcome.reason is Reason.FORWARD_ENCAPSULATED
    assert Ether(outcome.frame)[IPv6].plen == len(packet)


def test_a_fragment_goes_through_the_tunnel(testbed):
    packet = to_home(testbed, IPv6ExtHdrFragment(offset=100, m=1, id=9, nh=58) / Raw(bytes([135]) * 64))

    assert testbed.run(bytes(link(testbed) / packet)).reason is Reason.FORWARD_ENCAPSULATED


def test_counts_the_traffic_of_each_binding(testbed):
    packet = padded(testbed, 700)
    for _ in range(3):
        testbed.run(bytes(link(testbed) / packet))
    testbed.run(bytes(link(testbed) / padded(testbed, 100, dst=str(testbed.other_home))))

    usage = testbed.bindings.usage(testbed.home)

    assert (usage.encapsulated_packets, usage.encapsulated_bytes) == (3, 2100)
    assert (usage.decapsulated_packets, usage.decapsulated_bytes) == (0, 0)
    assert testbed.bindings.usage(testbed.other_home) == Usage(encapsulated_packets=1, encapsulated_bytes=100)


@pytest.mark.parametrize("length", [64, 1459, 1460])
def test_fits_the_link_up_to_its_mtu(testbed, length):
    assert testbed.run(bytes(link(testbed) / padded(testbed, length))).reason is Reason.FORWARD_ENCAPSULATED


@pytest.mark.parametrize("length", [1461, 1462, 1463, 1464, 1500])
def test_too_big_is_answered_from_the_home_agent(testbed, length):
    packet = padded(testbed, length, tc=3, fl=9)

    outcome = testbed.run(bytes(link(testbed) / packet))

    expected = (
        Ether(src=testbed.correspondent_side_mac, dst=testbed.correspondent_mac)
        / IPv6(src=str(testbed.home_agent), dst=str(testbed.correspondent), hlim=64)
        / ICMPv6PacketTooBig(mtu=1460)
        / Raw(bytes(packet)[:1232])
    )
    assert outcome.reason is Reason.REPLY_PACKET_TOO_BIG
    assert outcome.verdict == "tx"
    assert outcome.frame == bytes(expected)
    assert len(outcome.frame) == 14 + 1280


def test_the_mtu_is_that_of_the_route_to_the_care_of_address(testbed):
    testbed.bindings.install(testbed.home, IPv6Address("2001:db8:e::7"), testbed.home_agent)

    assert testbed.run(bytes(link(testbed) / padded(testbed, 1360))).reason is Reason.FORWARD_ENCAPSULATED
    outcome = testbed.run(bytes(link(testbed) / padded(testbed, 1361)))

    assert Ether(outcome.frame)[ICMPv6PacketTooBig].mtu == 1360


def test_no_host_is_told_an_mtu_below_the_minimum(testbed):
    testbed.bindings.install(testbed.home, IPv6Address("2001:db8:e:1::7"), testbed.home_agent)

    outcome = testbed.run(bytes(link(testbed) / padded(testbed, 1281)))
    assert Ether(outcome.frame)[ICMPv6PacketTooBig].mtu == 1280


def test_no_error_answers_an_error(testbed):
    error = to_home(testbed, ICMPv6DestUnreach() / Raw(b"y" * 1450))

    outcome = testbed.run(bytes(link(testbed) / error))

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TOO_BIG)


def test_the_same_node_number_in_other_prefixes_is_nobody(testbed):
    """So many prefixes that some have the bucket of the binding."""
    frame = bytes(link(testbed) / padded(testbed, 60))
    prefix = int(testbed.home) >> 64
    for number in range(1, 1000):
        sent = frame[:38] + (prefix + number).to_bytes(8, "big") + frame[46:]
        assert testbed.run(sent).reason is Reason.PASS_NOT_OURS


@pytest.mark.parametrize("length", [48, 49, 50, 51, 52, 60, 1200, 1232, 1233, 1400])
@pytest.mark.parametrize("hop_limit", [0, 1])
def test_a_used_up_hop_limit_is_answered(testbed, length, hop_limit):
    packet = padded(testbed, length, hlim=hop_limit)

    outcome = testbed.run(bytes(link(testbed) / packet))

    expected = (
        Ether(src=testbed.correspondent_side_mac, dst=testbed.correspondent_mac)
        / IPv6(src=str(testbed.home_agent), dst=str(testbed.correspondent), hlim=64)
        / ICMPv6TimeExceeded()
        / Raw(bytes(packet)[:1232])
    )
    assert outcome.reason is Reason.REPLY_TIME_EXCEEDED
    assert outcome.verdict == "tx"
    assert outcome.frame == bytes(expected)


def test_padding_is_not_quoted(testbed):
    packet = padded(testbed, 49, hlim=1)

    outcome = testbed.run(bytes(link(testbed) / packet) + b"\xee" * 11)

    assert len(outcome.frame) == 14 + 48 + 49


@pytest.mark.parametrize("message", [ICMPv6TimeExceeded(), ICMPv6ND_Redirect()], ids=["error", "redirect"])
def test_no_time_exceeded_about_an_error_or_a_redirect(testbed, message):
    error = to_home(testbed, message / Raw(b"y" * 100), hlim=1)

    outcome = testbed.run(bytes(link(testbed) / error))

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_HOP_LIMIT)


@pytest.mark.parametrize(
    ("tokens", "idle_ms", "reason"),
    [
        (0, -60_000, Reason.DROP_ERROR_RATE_LIMITED),  # refilled a minute from now: earns nothing meanwhile
        (1, -60_000, Reason.REPLY_TIME_EXCEEDED),
        (0, 2, Reason.REPLY_TIME_EXCEEDED),
        (0, 60_000, Reason.REPLY_TIME_EXCEEDED),
    ],
)
def test_errors_are_rate_limited(testbed, tokens, idle_ms, reason):
    testbed.leave_errors(tokens, idle_ms)

    outcome = testbed.run(bytes(link(testbed) / padded(testbed, 60, hlim=1)))

    assert outcome.reason is reason
    assert outcome.verdict == ("drop" if reason is Reason.DROP_ERROR_RATE_LIMITED else "tx")


def test_a_long_rest_earns_no_more_than_a_burst(testbed):
    testbed.leave_errors(0, 3_600_000)
    testbed.run(bytes(link(testbed) / padded(testbed, 60, hlim=1)))

    with Map.open(pin_directory(testbed.pin_path) / "error_budget") as budget:
        left = [tokens for _, tokens in struct.iter_unpack("=QQ", budget.lookup(bytes(4)))]
    assert sorted(left)[-1] == 255


def test_an_unresolved_next_hop_is_left_to_the_kernel_encapsulated(testbed):
    stranger = IPv6Address("2001:db8:f::99")
    testbed.bindings.install(testbed.home, stranger, testbed.home_agent)
    packet = padded(testbed, 100)

    outcome = testbed.run(bytes(link(testbed) / packet))

    inner = packet.copy()
    inner.hlim = 60
    expected = link(testbed) / IPv6(src=str(testbed.home_agent), dst=str(stranger), hlim=64, nh=41) / inner
    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_ENCAPSULATED_NO_NEIGHBOUR)
    assert outcome.frame == bytes(expected)


def test_a_way_out_without_xdp_is_left_to_the_kernel_encapsulated(testbed):
    beyond = IPv6Address("2001:db8:a::2")
    testbed.bindings.install(testbed.home, beyond, testbed.home_agent)

    outcome = testbed.run(bytes(link(testbed) / padded(testbed, 100)))

    frame = Ether(outcome.frame)
    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_ENCAPSULATED_SLOW_PATH)
    assert (frame.src, frame.dst) == (testbed.correspondent_mac, testbed.correspondent_side_mac)
    assert frame[IPv6].dst == str(beyond)


@pytest.mark.parametrize("care_of_address", ["2001:db9::1", "2001:db8:b::1"])
def test_without_a_route_it_is_dropped(testbed, care_of_address):
    testbed.bindings.install(testbed.home, IPv6Address(care_of_address), testbed.home_agent)

    outcome = testbed.run(bytes(link(testbed) / padded(testbed, 100)))

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_NO_ROUTE)


@pytest.fixture
def without_forwarding():
    switch = Path("/proc/sys/net/ipv6/conf/cn0/forwarding")
    switch.write_text("0")
    yield
    switch.write_text("1")


def test_without_forwarding_it_is_dropped(testbed, without_forwarding):
    outcome = testbed.run(bytes(link(testbed) / padded(testbed, 100)))

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_FORWARDING_DISABLED)


def test_neighbour_discovery_for_a_home_address_is_passed_untouched(testbed):
    frame = bytes(link(testbed) / to_home(testbed, ICMPv6ND_NS(tgt=str(testbed.home)), hlim=255))

    outcome = testbed.run(frame)

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_NEIGHBOUR_DISCOVERY)
    assert outcome.frame == frame


@pytest.mark.parametrize("source", ["fe80::1", "::", "::1", "ff02::1"])
def test_what_no_router_may_forward_is_passed_untouched(testbed, source):
    frame = bytes(link(testbed) / padded(testbed, 100, src=source))

    outcome = testbed.run(frame)

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_UNROUTABLE_SOURCE)
    assert outcome.frame == frame


def test_a_removed_binding_is_followed_no_longer(testbed):
    testbed.bindings.remove(testbed.home)

    assert testbed.run(bytes(link(testbed) / padded(testbed, 100))).reason is Reason.PASS_NOT_OURS
