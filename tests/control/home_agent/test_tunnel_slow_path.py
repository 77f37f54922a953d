"""Tunnelled packets on their way back to the data path, and how many of them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from control.home_agent.tunnel_slow_path import Ends, Ipv4Ends, TunnelledPacket, TunnelSlowPath

HOME_AGENT = IPv6Address("2001:db8:f::1")
CARE_OF_ADDRESS = IPv6Address("2001:db8:f::5")
OVER_IPV4 = Ipv4Ends(IPv4Address("192.0.2.5"), IPv4Address("192.0.2.1"))
IN_UDP = replace(OVER_IPV4, udp_port=20_000)


def packet(size: int = 100, **fields: object) -> TunnelledPacket:
    return TunnelledPacket(
        bytes(range(256)) * (size // 256) + bytes(size % 256), Ends(CARE_OF_ADDRESS, HOME_AGENT), 0x03, **fields
    )


def test_what_returns_has_a_plain_outer_header():
    slow_path = TunnelSlowPath(65535)

    returned = IPv6(slow_path.packet_to_return(packet()))

    assert (returned.src, returned.dst, returned.nh) == (str(CARE_OF_ADDRESS), str(HOME_AGENT), 41)
    assert (returned.tc, returned.plen) == (0x03, 100)
    assert bytes(returned)[40:] == packet().inner
    assert slow_path.statistics == {"tunnel-returned": 1}


@pytest.mark.parametrize("ends", [OVER_IPV4, IN_UDP])
def test_over_ipv4_as_well(ends):
    returned = TunnelSlowPath(65535).packet_to_return(replace(packet(), ends=ends))

    outer = IP(src=str(ends.source), dst=str(ends.home_agent), id=0, tos=0x03)
    if ends is IN_UDP:
        outer /= UDP(sport=20_000, dport=4191, chksum=0)
    outer[IP].proto = 17 if ends is IN_UDP else 41
    assert returned == bytes(outer / packet().inner)


@pytest.mark.parametrize(("ends", "size"), [(OVER_IPV4, 65_515), (IN_UDP, 65_507)])
def test_over_ipv4_the_longest_packet_counts_its_headers(ends, size):
    slow_path = TunnelSlowPath(65535)

    longest = slow_path.packet_to_return(replace(packet(size), ends=ends))
    assert longest is not None
    assert len(longest) == 65_535
    assert slow_path.packet_to_return(replace(packet(size + 1), ends=ends)) is None
    assert slow_path.statistics == {"tunnel-returned": 1, "tunnel-too-long": 1}


@pytest.mark.parametrize(("largest", "is_returned"), [(1040, True), (1039, False)])
def test_what_is_too_long_for_the_way_back_does_not_return(largest, is_returned):
    slow_path = TunnelSlowPath(largest)

    assert (slow_path.packet_to_return(packet(1000)) is not None) is is_returned
    assert slow_path.statistics == {"tunnel-returned" if is_returned else "tunnel-too-long": 1}


def test_what_nobody_has_taken_there_does_not_return_again():
    slow_path = TunnelSlowPath(65535)

    assert slow_path.packet_to_return(packet(from_slow_path=True)) is None
    assert slow_path.statistics == {"tunnel-not-taken": 1}


def test_no_more_are_taken_than_the_rate_allows():
    slow_path = TunnelSlowPath(65535, rate_per_s=10)

    assert [slow_path.may_take(5.0) for _ in range(11)] == [True] * 10 + [False]
    assert [slow_path.may_take(5.2) for _ in range(3)] == [True, True, False]
    assert [slow_path.may_take(500.0) for _ in range(11)] == [True] * 10 + [False]
