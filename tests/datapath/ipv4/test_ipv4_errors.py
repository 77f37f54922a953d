"""ICMP errors from inside a tunnel over IPv4: what the correspondent is told, and what the home agent believes."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from datapath.bindings import IPv4CareOfAddress
from datapath.bpf_syscall import Map
from datapath.layout import PATH_MTU
from datapath.reasons import Reason
from tests.datapath.conftest import Testbed
from tests.datapath.ipv4.frames import (
    AGENT,
    IN_UDP,
    MACS,
    PLAIN,
    bind,
    headers,
    received,
    sized,
    to_home,
)

pytestmark = [pytest.mark.namespaces, pytest.mark.usefixtures("path_mtus")]

ROUTER = "198.18.0.1"
FORMATS = pytest.mark.parametrize("care_of", [PLAIN, IN_UDP], ids=["plain", "udp"])
OVERHEAD = {PLAIN: 20, IN_UDP: 28}


def learned(path_mtus: Map, care_of: IPv4CareOfAddress) -> int | None:
    value = path_mtus.lookup(care_of.packed)
    return None if value is None else PATH_MTU.unpack(value)[0]


def link(testbed) -> Packet:
    return Ether(src=MACS[PLAIN], dst=testbed.core_mac)


def reported(testbed, care_of, inner: Packet, *, quote: int = 548, **fields: object) -> bytes:
    """The frame of a router's error about a packet in the tunnel."""
    error = {"type": 3, "code": 4, "nexthopmtu": 1400} | fields
    quoted = bytes(headers(care_of, inner) / inner)[:quote]
    return bytes(link(testbed) / IP(src=ROUTER, dst=str(AGENT), ttl=60) / ICMP(**error) / Raw(quoted))


def told(testbed, error: Packet, inner: Packet, quote: int) -> Packet:
    return IPv6(src=str(testbed.home_agent), dst=inner.src, hlim=64) / error / Raw(bytes(inner)[:quote])


@FORMATS
@pytest.mark.parametrize("mtu", [1479, 1400, 1309])
def test_the_mtu_is_told_and_remembered(testbed, path_mtus, care_of, mtu):
    bind(testbed, care_of)
    fits = mtu - OVERHEAD[care_of]
    inner = sized(testbed, 1472)

    outcome = testbed.run(reported(testbed, care_of, inner, nexthopmtu=mtu), "core")

    expected = told(testbed, ICMPv6PacketTooBig(mtu=fits), inner, 548 - OVERHEAD[care_of])
    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_TUNNEL_ERROR_RELAYED)
    assert outcome.frame == bytes(link(testbed) / expected)
    assert learned(path_mtus, care_of) == mtu
    assert testbed.run(received(testbed, sized(testbed, fits))).reason is Reason.FORWARD_ENCAPSULATED
    answer = testbed.run(received(testbed, sized(testbed, fits + 1)))
    assert (answer.reason, Ether(answer.frame)[ICMPv6PacketTooBig].mtu) == (Reason.REPLY_PACKET_TOO_BIG, fits)


@FORMATS
def test_the_limit_on_errors_holds(testbed, path_mtus, care_of):
    """Of those that are translated, the path MTU is learned all the same; and of those that begin here."""
    bind(testbed, care_of)
    testbed.leave_errors(0)
    frames = {
        reported(testbed, care_of, sized(testbed, 1472)): "core",
        received(testbed, sized(testbed, 1472)): "cn0",
        received(testbed, to_home(testbed, hlim=1)): "cn0",
    }

    assert {testbed.run(*each).reason for each in frames.items()} == {Reason.DROP_ERROR_RATE_LIMITED}
    assert learned(path_mtus, care_of) == 1400


@FORMATS
def test_a_next_hop_that_is_kept_learns_it_at_once(testbed, control, care_of):
    bind(testbed, care_of)
    fits = 1400 - OVERHEAD[care_of]
    for _ in range(2):
        assert testbed.run(received(testbed, sized(testbed, 1472))).reason is Reason.FORWARD_ENCAPSULATED
    testbed.run(reported(testbed, care_of, sized(testbed, 1472)), "core")

    for _ in range(2):
        assert testbed.run(received(testbed, sized(testbed, fits + 1))).reason is Reason.REPLY_PACKET_TOO_BIG
        assert testbed.run(received(testbed, sized(testbed, fits))).reason is Reason.FORWARD_ENCAPSULATED


@FORMATS
@pytest.mark.parametrize("mtu", [0, 68, 576, 1280, 1300])
def test_no_less_than_ipv6_requires_is_told_and_what_it_requires_still_passes(testbed, path_mtus, care_of, mtu):
    """An attacker gains nothing, and a narrow link fragments."""
    bind(testbed, care_of)

    outcome = testbed.run(reported(testbed, care_of, sized(testbed, 1400), nexthopmtu=mtu), "core")

    assert Ether(outcome.frame)[ICMPv6PacketTooBig].mtu == 1280
    assert learned(path_mtus, care_of) == 1280 + OVERHEAD[care_of]
    assert testbed.run(received(testbed, sized(testbed, 1280))).reason is Reason.FORWARD_ENCAPSULATED
    assert testbed.run(received(testbed, sized(testbed, 1281))).reason is Reason.REPLY_PACKET_TOO_BIG


@FORMATS
@pytest.mark.parametrize(("kind", "code"), [(3, 0), (3, 1), (3, 3), (3, 13), (11, 0)])
@pytest.mark.parametrize("length", [48, 49, 51, 100])
def test_other_trouble_is_told_as_unreachable(testbed, path_mtus, care_of, kind, code, length):
    bind(testbed, care_of)
    inner = to_home(testbed, UDP() / Raw(bytes(length - 48)))

    outcome = testbed.run(reported(testbed, care_of, inner, type=kind, code=code), "core")

    expected = told(testbed, ICMPv6DestUnreach(code=3), inner, length)
    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_TUNNEL_ERROR_RELAYED)
    assert outcome.frame == bytes(link(testbed) / expected)
    assert learned(path_mtus, care_of) is None


@FORMATS
@pytest.mark.parametrize("receiver", [PLAIN, IN_UDP, Testbed.other_care_of], ids=["plain", "udp", "ipv6"])
def test_a_source_that_is_a_mobile_node_hears_of_it_through_its_tunnel(testbed, care_of, receiver):
    bind(testbed, care_of)
    bind(testbed, receiver, testbed.other_home)
    inner = sized(testbed, 1300, src=str(testbed.other_home))

    outcome = testbed.run(reported(testbed, care_of, inner, quote=200, type=3, code=1), "core")

    error = told(testbed, ICMPv6DestUnreach(code=3), inner, 200 - OVERHEAD[care_of])
    if receiver is Testbed.other_care_of:
        outer = IPv6(src=str(testbed.home_agent), dst=str(receiver), nh=41, hlim=64)
    else:
        outer = headers(receiver, error, id=int.from_bytes(outcome.frame[18:20], "big"))
    assert outcome.reason is Reason.PASS_TUNNEL_ERROR_RELAYED
    assert outcome.frame == bytes(link(testbed) / outer / error)


@FORMATS
def test_errors_of_tunnels_over_ipv6_reach_sources_behind_ipv4(testbed, care_of):
    bind(testbed, care_of, testbed.other_home)
    inner = to_home(testbed, src=str(testbed.other_home))
    quoted = IPv6(src=str(testbed.home_agent), dst=str(testbed.care_of), nh=41, hlim=60) / inner
    error = IPv6(src="2001:db8:f:9::1", dst=str(testbed.home_agent)) / ICMPv6TimeExceeded() / Raw(bytes(quoted))

    outcome = testbed.run(bytes(link(testbed) / error), "core")

    answer = told(testbed, ICMPv6DestUnreach(code=3), inner, len(inner))
    outer = headers(care_of, answer, id=int.from_bytes(outcome.frame[18:20], "big"))
    assert outcome.reason is Reason.PASS_TUNNEL_ERROR_RELAYED
    assert outcome.frame == bytes(link(testbed) / outer / answer)


class TestWhatIsNotBelieved:
    def passed(self, testbed, frame: bytes) -> Reason:
        outcome = testbed.run(frame, "core")
        assert (outcome.verdict, outcome.frame) == ("pass", frame)
        return outcome.reason

    @FORMATS
    def test_a_packet_to_elsewhere(self, testbed, path_mtus, care_of):
        bind(testbed, care_of)
        moved = IPv4CareOfAddress(IPv4Address("192.0.2.77"), AGENT, care_of.udp_port)
        other_port = IPv4CareOfAddress(care_of.address, AGENT, 20_001)
        for wrong in (moved, other_port):
            frame = reported(testbed, wrong, sized(testbed, 1400))
            assert self.passed(testbed, frame) is Reason.PASS_TUNNEL_ERROR_UNKNOWN
        assert not list(path_mtus.keys())

    @FORMATS
    def test_a_packet_to_no_home_address(self, testbed, care_of):
        frame = reported(testbed, care_of, sized(testbed, 1400, dst="2001:db8:100::99"))

        assert self.passed(testbed, frame) is Reason.PASS_TUNNEL_ERROR_UNKNOWN

    @FORMATS
    @pytest.mark.parametrize("quote", [28, 59, 20])
    def test_too_little_quoted(self, testbed, path_mtus, care_of, quote):
        bind(testbed, care_of)

        reason = self.passed(testbed, reported(testbed, care_of, sized(testbed, 1400), quote=quote))

        cut = care_of is IN_UDP and quote == 20
        assert reason is (Reason.PASS_HOME_AGENT if cut else Reason.PASS_TUNNEL_ERROR_UNKNOWN)
        assert not list(path_mtus.keys())

    @FORMATS
    def test_an_mtu_that_the_packet_fits(self, testbed, path_mtus, care_of):
        bind(testbed, care_of)

        frame = reported(testbed, care_of, sized(testbed, 1400), nexthopmtu=1400 + OVERHEAD[care_of])

        assert testbed.run(frame, "core").reason is Reason.DROP_TUNNEL_MTU_INVALID
        assert not list(path_mtus.keys())

    @FORMATS
    def test_a_broken_checksum(self, testbed, path_mtus, care_of):
        bind(testbed, care_of)

        assert (
            self.passed(testbed, reported(testbed, care_of, sized(testbed, 1400), chksum=7)) is Reason.PASS_HOME_AGENT
        )
        assert not list(path_mtus.keys())

    @pytest.mark.parametrize("fields", [{"type": 8, "code": 0}, {"type": 0, "code": 0}, {"type": 12, "code": 0}])
    def test_other_messages(self, testbed, fields):
        bind(testbed, PLAIN)

        assert self.passed(testbed, reported(testbed, PLAIN, sized(testbed, 1400), **fields)) is Reason.PASS_HOME_AGENT

    def test_packets_of_others(self, testbed):
        bind(testbed, PLAIN)
        for quoted in (IP(src=str(AGENT), dst="192.0.2.5") / UDP(sport=500, dport=4191), IP(proto=41, frag=9)):
            message = ICMP(type=3, code=4, nexthopmtu=1400) / Raw(bytes(quoted / sized(testbed, 1400))[:548])
            frame = bytes(link(testbed) / IP(src=ROUTER, dst=str(AGENT)) / message)
            assert self.passed(testbed, frame) is Reason.PASS_HOME_AGENT

    @FORMATS
    def test_an_error_about_an_error_is_not_told(self, testbed, care_of):
        bind(testbed, care_of)
        inner = to_home(testbed, ICMPv6TimeExceeded() / Raw(bytes(80)))

        outcome = testbed.run(reported(testbed, care_of, inner, type=3, code=1), "core")

        assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_ERROR)

    @FORMATS
    def test_every_shortened_message(self, testbed, care_of):
        bind(testbed, care_of)
        whole = reported(testbed, care_of, sized(testbed, 1400), quote=120)

        for size in range(14, len(whole)):
            assert self.passed(testbed, whole[:size]) is Reason.PASS_MALFORMED
