"""Congestion marks, traffic class and flow label across the tunnel: every combination, and the whole frame."""

from __future__ import annotations

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from datapath.reasons import Reason

pytestmark = pytest.mark.namespaces

NOT_CAPABLE, CAPABLE_1, CAPABLE_0, CONGESTED = range(4)
DROPPED = None
COMBINED = {
    # Inner: what becomes of it under an outer header of 0, 1, 2 and 3 (RFC 6040 figure 4).
    NOT_CAPABLE: (NOT_CAPABLE, NOT_CAPABLE, NOT_CAPABLE, DROPPED),
    CAPABLE_1: (CAPABLE_1, CAPABLE_1, CAPABLE_1, CONGESTED),
    CAPABLE_0: (CAPABLE_0, CAPABLE_1, CAPABLE_0, CONGESTED),
    CONGESTED: (CONGESTED,) * 4,
}
TABLE = [(inside, outside, COMBINED[inside][outside]) for inside in range(4) for outside in range(4)]
SERVICE, OUTER_SERVICE = 0x2E << 2, 0x0A << 2
"""Differentiated services: expedited forwarding inside, another class outside."""


def inner_packet(testbed, destination: object, **fields: object) -> Packet:
    header = {"src": str(testbed.home), "dst": str(destination), "hlim": 64, "fl": 0xABCDE} | fields
    return IPv6(**header) / UDP(sport=1000, dport=2000) / Raw(b"data")


def tunnelled(testbed, inner: Packet, mark: int) -> bytes:
    outer = IPv6(src=str(testbed.care_of), dst=str(testbed.home_agent), nh=41, tc=OUTER_SERVICE | mark, fl=0x11111)
    return bytes(Ether(src=testbed.care_of_mac, dst=testbed.core_mac) / outer / inner)


@pytest.mark.parametrize("mark", range(4))
def test_the_outer_header_has_the_mark_of_the_inner(testbed, mark):
    packet = inner_packet(testbed, testbed.home, src=str(testbed.correspondent), tc=SERVICE | mark)

    outcome = testbed.run(bytes(Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac) / packet))

    packet.hlim = 63
    outer = IPv6(src=str(testbed.home_agent), dst=str(testbed.care_of), nh=41, hlim=64, tc=SERVICE | mark, fl=0xABCDE)
    assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_ENCAPSULATED)
    assert outcome.frame == bytes(Ether(src=testbed.core_mac, dst=testbed.care_of_mac) / outer / packet)


@pytest.mark.parametrize(("inside", "outside", "kept"), TABLE)
def test_a_packet_out_of_the_tunnel_keeps_the_more_severe_mark(testbed, inside, outside, kept):
    packet = inner_packet(testbed, testbed.correspondent, tc=SERVICE | inside)
    before = testbed.bindings.usage(testbed.home)

    outcome = testbed.run(tunnelled(testbed, packet, outside), "core")

    if kept is DROPPED:
        assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_CONGESTION)
        assert testbed.bindings.usage(testbed.home) == before
        return
    packet.hlim, packet.tc = 63, SERVICE | kept
    assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_DECAPSULATED)
    assert outcome.frame == bytes(Ether(src=testbed.correspondent_side_mac, dst=testbed.correspondent_mac) / packet)


@pytest.mark.parametrize(("inside", "outside", "kept"), TABLE)
def test_from_one_tunnel_into_another_both_headers_have_it(testbed, inside, outside, kept):
    packet = inner_packet(testbed, testbed.other_home, tc=SERVICE | inside)

    outcome = testbed.run(tunnelled(testbed, packet, outside), "core")

    if kept is DROPPED:
        assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_CONGESTION)
        return
    packet.hlim, packet.tc = 63, SERVICE | kept
    outer = IPv6(
        src=str(testbed.other_home_agent),
        dst=str(testbed.other_care_of),
        nh=41,
        hlim=64,
        tc=SERVICE | kept,
        fl=0xABCDE,
    )
    assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_REENCAPSULATED)
    assert outcome.frame == bytes(Ether(src=testbed.core_mac, dst=testbed.other_care_of_mac) / outer / packet)


@pytest.mark.parametrize(
    ("destination", "reason"),
    [("2001:db8:f::1", Reason.PASS_DECAPSULATED_LOCAL), ("2001:db8:c::99", Reason.PASS_DECAPSULATED_NO_NEIGHBOUR)],
)
def test_what_the_kernel_takes_has_it_as_well(testbed, destination, reason):
    packet = inner_packet(testbed, destination, tc=SERVICE | CAPABLE_0)

    outcome = testbed.run(tunnelled(testbed, packet, CONGESTED), "core")

    packet.tc = SERVICE | CONGESTED
    assert (outcome.verdict, outcome.reason) == ("pass", reason)
    assert outcome.frame == bytes(Ether(src=testbed.care_of_mac, dst=testbed.core_mac) / packet)


def test_an_error_of_our_own_is_not_ecn_capable(testbed):
    packet = inner_packet(testbed, testbed.other_home, hlim=1, tc=SERVICE | CAPABLE_0)

    outcome = testbed.run(tunnelled(testbed, packet, CAPABLE_0), "core")

    error = Ether(outcome.frame)
    assert outcome.reason is Reason.REPLY_TIME_EXCEEDED
    assert (error[IPv6].tc, error[IPv6].payload.tc) == (0, 0)
    assert bytes(error[ICMPv6TimeExceeded].payload) == bytes(packet)


def test_a_stranger_s_mark_changes_nothing(testbed):
    """Whether a tunnel is its node's is asked before the mark is looked at."""
    packet = inner_packet(testbed, testbed.correspondent, src=str(testbed.other_home), tc=NOT_CAPABLE)

    outcome = testbed.run(tunnelled(testbed, packet, CONGESTED), "core")

    assert outcome.reason is Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS
