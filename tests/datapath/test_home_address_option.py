"""Home Address options before what is no signalling: believed from the bound care-of address, answered otherwise."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import (
    HAO,
    MIP6MH_BE,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import Ether
from scapy.packet import NoPayload, Packet, Raw
from scapy.utils import wrpcap

from datapath.bpf_syscall import program_test_run
from datapath.reasons import Reason

pytestmark = pytest.mark.namespaces

BURST = 256


def frame(testbed, payload: Packet, home_address: object = None, *, options: tuple = (), **fields: object) -> bytes:
    """Upper layers compute their checksums over the home address, as scapy does behind the option."""
    home_address = testbed.home if home_address is None else home_address
    header = {"src": str(testbed.care_of), "dst": str(testbed.home_agent), "hlim": 50} | fields
    option = IPv6ExtHdrDestOpt(options=[*options, HAO(hoa=str(home_address))])
    packet = Ether(src=testbed.care_of_mac, dst=testbed.core_mac) / IPv6(**header) / option / payload
    return bytes(packet)


def swapped(testbed, sent: bytes) -> bytes:
    at = sent.index(b"\xc9\x10")
    result = bytearray(sent)
    result[22:38], result[at : at + 2], result[at + 2 : at + 18] = sent[at + 2 : at + 18], b"\x1e\x10", sent[22:38]
    return bytes(result)


def binding_error(testbed, home_address: object, to: object = None) -> bytes:
    answer = IPv6(src=str(testbed.home_agent), dst=str(testbed.care_of if to is None else to), hlim=64)
    link = Ether(src=testbed.core_mac, dst=testbed.care_of_mac)
    return bytes(link / answer / MIP6MH_BE(status=1, ha=str(home_address)))


UPPER_LAYERS = {
    "echo": ICMPv6EchoRequest(id=1, seq=2, data=b"route optimised"),
    "udp": UDP(sport=1000, dport=2000) / Raw(b"data"),
    "ike": UDP(sport=4500, dport=4500) / Raw(bytes(4) + b"an IKE message"),
    "port-500": UDP(sport=4500, dport=500) / Raw(b"\0\0\1\0" + bytes(20)),
    "short": UDP(sport=4500, dport=4500) / Raw(b"\xff"),
    "tcp": TCP(sport=1, dport=2),
    "nothing": NoPayload(),
    "fragment-of-udp": IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=5) / Raw(bytes(16)),
}


_PADDING = PadN(optdata=bytes(4))
BEHIND = {
    "hop-by-hop": IPv6ExtHdrHopByHop(options=[_PADDING]),
    "routing": IPv6ExtHdrRouting(type=200, segleft=0, addresses=["2001:db8::1"]),
    "options-and-routing": IPv6ExtHdrDestOpt(options=[_PADDING]) / IPv6ExtHdrRouting(type=2, segleft=0),
    "four": IPv6ExtHdrHopByHop(options=[_PADDING])
    / IPv6ExtHdrDestOpt(options=[_PADDING])
    / IPv6ExtHdrRouting(type=200, segleft=0)
    / IPv6ExtHdrDestOpt(options=[_PADDING]),
}


def behind(sent: bytes, headers: Packet) -> bytes:
    """The frame with extension headers in front of the one with the option."""
    packet = IPv6(sent[14:])
    option = packet.payload
    packet.remove_payload()
    del packet.nh, packet.plen
    return sent[:14] + bytes(packet / headers / option)


@pytest.mark.parametrize("name", BEHIND)
def test_signalling_behind_other_headers_arrives_whole(testbed, name):
    option = bytearray(frame(testbed, Raw(b"\x11" * 40), "2001:db8:100::99"))
    option[54] = 50
    sent = behind(bytes(option), BEHIND[name])

    outcome = testbed.run(sent, "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_HOME_ADDRESS_SWAPPED)
    assert outcome.frame == swapped(testbed, sent)


@pytest.mark.parametrize("name", BEHIND)
def test_behind_other_headers_nobody_is_believed_more(testbed, name):
    unbound = testbed.run(behind(frame(testbed, UPPER_LAYERS["udp"], "2001:db8:100::99"), BEHIND[name]), "core")
    forged = testbed.run(
        behind(frame(testbed, UPPER_LAYERS["udp"]).replace(b"\xc9\x10", b"\x1e\x10"), BEHIND[name]), "core"
    )

    assert (unbound.reason, forged.reason) == (Reason.REPLY_BINDING_ERROR, Reason.DROP_FORGED_CARE_OF_ADDRESS)
    assert unbound.frame == binding_error(testbed, "2001:db8:100::99")


def test_a_routing_header_that_is_not_at_its_end_is_the_kernels(testbed):
    routing = IPv6ExtHdrRouting(type=200, segleft=1, addresses=["2001:db8::1"])
    sent = behind(frame(testbed, UPPER_LAYERS["udp"]), routing)

    outcome = testbed.run(sent, "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_EXTENSION_HEADERS)
    assert outcome.frame == sent


PADDINGS = [(), (PadN(optdata=bytes(6)),), (PadN(optdata=bytes(250)), PadN(optdata=bytes(40)))]


@pytest.mark.parametrize("options", PADDINGS)
@pytest.mark.parametrize("name", UPPER_LAYERS)
def test_from_the_bound_care_of_address_it_is_swapped(testbed, name, options):
    sent = frame(testbed, UPPER_LAYERS[name], options=options)

    outcome = testbed.run(sent, "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_HOME_ADDRESS_SWAPPED)
    assert outcome.frame == swapped(testbed, sent)


@pytest.mark.parametrize("name", ["echo", "udp", "tcp"])
def test_the_checksum_is_right_once_swapped(testbed, name):
    outcome = testbed.run(frame(testbed, UPPER_LAYERS[name]), "core")

    received = IPv6(outcome.frame[14:])
    right = bytes(IPv6(src=received.src, dst=received.dst) / UPPER_LAYERS[name])[40:]
    assert outcome.frame.endswith(right)


@pytest.mark.parametrize("options", PADDINGS)
@pytest.mark.parametrize("name", UPPER_LAYERS)
def test_without_binding_it_is_answered_with_a_binding_error(testbed, name, options):
    stranger = "2001:db8:100::99"

    outcome = testbed.run(frame(testbed, UPPER_LAYERS[name], stranger, options=options) + b"trailer", "core")

    assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_BINDING_ERROR)
    assert outcome.frame == binding_error(testbed, stranger)


def test_from_elsewhere_than_the_bound_care_of_address_it_is_answered(testbed):
    outcome = testbed.run(frame(testbed, UPPER_LAYERS["echo"], src=str(testbed.other_care_of)), "core")

    assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_BINDING_ERROR)
    assert outcome.frame == binding_error(testbed, testbed.home, testbed.other_care_of)


def test_after_a_movement_only_the_new_care_of_address_counts(testbed):
    testbed.bindings.install(testbed.home, testbed.other_care_of, testbed.home_agent)
    echo = UPPER_LAYERS["echo"]

    assert testbed.run(frame(testbed, echo), "core").reason is Reason.REPLY_BINDING_ERROR
    outcome = testbed.run(frame(testbed, echo, src=str(testbed.other_care_of)), "core")
    assert outcome.reason is Reason.PASS_HOME_ADDRESS_SWAPPED


@pytest.mark.parametrize("protocol", [50, 51, 135])
@pytest.mark.parametrize("fragment", [False, True])
def test_signalling_needs_no_binding(testbed, protocol, fragment):
    payload: Packet = Raw(b"\x11" * 40)
    if fragment:
        payload = IPv6ExtHdrFragment(nh=protocol, offset=3, m=1, id=5) / payload
    sent = bytearray(frame(testbed, payload, "2001:db8:100::99"))
    sent[54] = 44 if fragment else protocol

    outcome = testbed.run(bytes(sent), "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_HOME_ADDRESS_SWAPPED)
    assert outcome.frame == swapped(testbed, bytes(sent))


@pytest.mark.parametrize("protocol", [50, 17])
@pytest.mark.parametrize("address", ["ff02::1", "fe80::1", "::", "::1"])
def test_an_address_that_is_not_one_nodes_is_dropped(testbed, address, protocol):
    sent = bytearray(frame(testbed, UPPER_LAYERS["udp"], address))
    sent[54] = protocol

    outcome = testbed.run(bytes(sent), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_HOME_ADDRESS_NOT_UNICAST)


@pytest.mark.parametrize("source", ["ff02::1", "::", "fe80::5"])
def test_no_binding_error_goes_where_none_may(testbed, source):
    outcome = testbed.run(frame(testbed, UPPER_LAYERS["echo"], "2001:db8:100::99", src=source), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_UNKNOWN_BINDING)


def test_wireshark_reads_the_binding_error(testbed, tmp_path: Path):
    outcome = testbed.run(frame(testbed, UPPER_LAYERS["echo"], "2001:db8:100::99"), "core")
    capture = tmp_path / "error.pcap"
    wrpcap(str(capture), [Ether(outcome.frame)])

    tshark = shutil.which("tshark")
    assert tshark, "tshark is not installed: make setup installs it"
    fields = ("mip6.mhtype", "mip6.be.status", "mip6.be.haddr", "mip6.hlen", "_ws.expert.message", "_ws.malformed")
    command = [tshark, "-r", str(capture), "-T", "fields", *(f"-e{field}" for field in fields)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.rstrip("\n").split("\t") == ["7", "1", "2001:db8:100::99", "2", "", ""]


def test_binding_errors_share_the_limit_of_icmpv6_errors(testbed):
    sent = frame(testbed, UPPER_LAYERS["echo"], "2001:db8:100::99")
    for _ in range(8 * BURST):
        program_test_run(testbed.program, sent, interface=testbed.index["core"])

    counters = testbed.counters.read()

    # A token comes back each millisecond: how many of these were answered depends on the machine.
    assert counters[Reason.DROP_ERROR_RATE_LIMITED] > 0
