"""Tunnelled packets on their way back to the data path, and how many of them."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from scapy.layers.inet6 import IPv6

from control.home_agent.tunnel_slow_path import TunnelledPacket, TunnelSlowPath

HOME_AGENT = IPv6Address("2001:db8:f::1")
CARE_OF_ADDRESS = IPv6Address("2001:db8:f::5")


def packet(size: int = 100, **fields: object) -> TunnelledPacket:
    return TunnelledPacket(bytes(range(256)) * (size // 256) + bytes(size % 256), CARE_OF_ADDRESS, 0x03, **fields)


def test_what_returns_has_a_plain_outer_header():
    slow_path = TunnelSlowPath(HOME_AGENT, 65535)

    returned = IPv6(slow_path.packet_to_return(packet()))

    assert (returned.src, returned.dst, returned.nh) == (str(CARE_OF_ADDRESS), str(HOME_AGENT), 41)
    assert (returned.tc, returned.plen) == (0x03, 100)
    assert bytes(returned)[40:] == packet().inner
    assert slow_path.statistics == {"tunnel-returned": 1}


@pytest.mark.parametrize(("largest", "is_returned"), [(1040, True), (1039, False)])
def test_what_is_too_long_for_the_way_back_does_not_return(largest, is_returned):
    slow_path = TunnelSlowPath(HOME_AGENT, largest)

    assert (slow_path.packet_to_return(packet(1000)) is not None) is is_returned
    assert slow_path.statistics == {"tunnel-returned" if is_returned else "tunnel-too-long": 1}


def test_what_nobody_has_taken_there_does_not_return_again():
    slow_path = TunnelSlowPath(HOME_AGENT, 65535)

    assert slow_path.packet_to_return(packet(from_slow_path=True)) is None
    assert slow_path.statistics == {"tunnel-not-taken": 1}


def test_no_more_are_taken_than_the_rate_allows():
    slow_path = TunnelSlowPath(HOME_AGENT, 65535, rate_per_s=10)

    assert [slow_path.may_take(5.0) for _ in range(11)] == [True] * 10 + [False]
    assert [slow_path.may_take(5.2) for _ in range(3)] == [True, True, False]
    assert [slow_path.may_take(500.0) for _ in range(11)] == [True] * 10 + [False]
