"""Frames of IPv4 that are left to the kernel as they came, and what is let out of a tunnel of them at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import IPv6ExtHdrDestOpt
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import checksum

from datapath.reasons import Reason
from tests.datapath.ipv4.frames import AGENT, IN_UDP, MACS, PLAIN, bind, from_home, tunnelled

pytestmark = pytest.mark.namespaces

quick = settings(max_examples=200, deadline=None)


class TestWhatIsTheKernels:
    """Frames that come out as they came."""

    def passed(self, testbed, frame: bytes) -> Reason:
        outcome = testbed.run(frame, "core")
        assert (outcome.verdict, outcome.frame) == ("pass", frame)
        return outcome.reason

    def ipv4(self, testbed, payload: Packet, **fields: object) -> bytes:
        header = IP(**{"src": "192.0.2.5", "dst": str(AGENT)} | fields)
        return bytes(Ether(src=MACS[PLAIN], dst=testbed.core_mac) / header / payload)

    @pytest.mark.parametrize("payload", [UDP(dport=500), UDP(dport=4500), TCP(dport=22), ICMP()])
    def test_other_protocols_and_ports_of_the_home_agent(self, testbed, payload):
        assert self.passed(testbed, self.ipv4(testbed, payload / Raw(b"x" * 40))) is Reason.PASS_HOME_AGENT

    def test_another_destination(self, testbed):
        frame = self.ipv4(testbed, from_home(testbed), dst="198.51.100.77", proto=41)

        assert self.passed(testbed, frame) is Reason.PASS_NOT_OURS

    def test_a_group_frame(self, testbed):
        frame = b"\xff" * 6 + self.ipv4(testbed, UDP(dport=4191))[6:]

        assert self.passed(testbed, frame) is Reason.PASS_GROUP_FRAME

    @pytest.mark.parametrize("next_header", [50, 135])
    @pytest.mark.parametrize("is_bound", [False, True])
    def test_signalling_in_udp(self, testbed, next_header, is_bound):
        """It comes before there is a binding, and from another port after one."""
        if is_bound:
            bind(testbed, IN_UDP)
        signalling = from_home(testbed, Raw(bytes(64)), dst=str(testbed.home_agent), nh=next_header)

        assert self.passed(testbed, tunnelled(testbed, IN_UDP, signalling, sport=7)) is Reason.PASS_UDP_SIGNALLING

    def test_signalling_in_udp_with_destination_options(self, testbed):
        signalling = from_home(testbed, IPv6ExtHdrDestOpt(nh=50) / Raw(bytes(64)), dst=str(testbed.home_agent))

        assert self.passed(testbed, tunnelled(testbed, IN_UDP, signalling)) is Reason.PASS_UDP_SIGNALLING

    @pytest.mark.parametrize("fields", [{"flags": "MF"}, {"frag": 100}, {"flags": "MF", "frag": 3}])
    @pytest.mark.parametrize("protocol", [17, 41])
    def test_a_fragment(self, testbed, fields, protocol):
        bind(testbed, PLAIN)
        frame = self.ipv4(testbed, Raw(bytes(from_home(testbed))), proto=protocol, **fields)

        assert self.passed(testbed, frame) is Reason.PASS_IPV4_FRAGMENT

    @pytest.mark.parametrize("care_of", [PLAIN, IN_UDP])
    def test_options(self, testbed, care_of):
        bind(testbed, care_of)
        frame = tunnelled(testbed, care_of, from_home(testbed), options=[IPOption_Router_Alert()])

        assert self.passed(testbed, frame) is Reason.PASS_IPV4_OPTIONS

    @pytest.mark.parametrize("fields", [{"chksum": 1}, {"len": 5000}, {"len": 19}, {"ihl": 4}, {"version": 6}])
    @pytest.mark.parametrize("care_of", [PLAIN, IN_UDP])
    def test_a_malformed_header(self, testbed, care_of, fields):
        bind(testbed, care_of)

        assert self.passed(testbed, tunnelled(testbed, care_of, from_home(testbed), **fields)) is Reason.PASS_MALFORMED

    def test_every_shortened_frame_is_passed_or_dropped(self, testbed):
        bind(testbed, IN_UDP)
        whole = tunnelled(testbed, IN_UDP, from_home(testbed))

        reasons = {testbed.run(whole[:size], "core").reason for size in range(14, len(whole))}

        assert reasons == {Reason.PASS_MALFORMED}

    @pytest.mark.parametrize("length", [0, 7, 2000])
    def test_a_length_of_udp_that_cannot_be(self, testbed, length):
        frame = self.ipv4(testbed, UDP(sport=1, dport=4191, len=length) / from_home(testbed))

        assert self.passed(testbed, frame) is Reason.PASS_MALFORMED


@quick
@given(
    care_of=st.sampled_from([PLAIN, IN_UDP]),
    changes=st.dictionaries(st.integers(12, 110), st.integers(0, 255), max_size=3),
    size=st.integers(14, 120),
    has_right_checksum=st.booleans(),
)
def test_whatever_comes_over_ipv4_only_the_node_is_let_through(testbed, care_of, changes, size, has_right_checksum):
    bind(testbed, care_of)
    frame = bytearray(tunnelled(testbed, care_of, from_home(testbed)))
    for place, value in changes.items():
        if place < len(frame):
            frame[place] = value
    if has_right_checksum:
        frame[24:26] = bytes(2)
        frame[24:26] = checksum(bytes(frame[14:34])).to_bytes(2, "big")
    frame = frame[:size]
    came = testbed.run(bytes(frame), "core")

    if came.verdict in ("redirect", "tx"):
        start = 42 if care_of is IN_UDP else 34
        length = 40 + int.from_bytes(frame[start + 4 : start + 6], "big")
        assert frame[26:34] == care_of.address.packed + AGENT.packed
        assert care_of is PLAIN or frame[34:38] == (20_000).to_bytes(2, "big") + (4191).to_bytes(2, "big")
        assert frame[start + 8 : start + 24] == testbed.home.packed
        assert start + length <= 14 + int.from_bytes(frame[16:18], "big") <= len(frame)
        assert checksum(bytes(frame[14:34])) == 0
