"""Traffic selectors: matching and narrowing agree with one another."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.ipsec.traffic_selector import TrafficSelector, packet_ports

# Few values, so that ranges touch, nest and miss one another often.
ADDRESSES = st.integers(0, 5).map(IPv6Address)
PROTOCOLS = st.sampled_from([0, 58, 135])
PORTS = st.one_of(
    st.sampled_from([(0, 0xFFFF), (0xFFFF, 0)]), st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted).map(tuple)
)
PACKET_PORTS = st.one_of(st.none(), st.integers(0, 5))


@st.composite
def selectors(draw: st.DrawFn) -> TrafficSelector:
    first, last = sorted((draw(ADDRESSES), draw(ADDRESSES)))
    return TrafficSelector(first, last, draw(PROTOCOLS), *draw(PORTS))


@given(selectors(), selectors(), ADDRESSES, PROTOCOLS.filter(bool), PACKET_PORTS)
def test_intersection_covers_what_both_cover(
    one: TrafficSelector, other: TrafficSelector, address: IPv6Address, protocol: int, port: int | None
) -> None:
    both = one.matches(address, protocol, port) and other.matches(address, protocol, port)
    common = one.intersection(other)
    assert (common is not None and common.matches(address, protocol, port)) == both


@given(selectors(), selectors(), ADDRESSES, PROTOCOLS.filter(bool), PACKET_PORTS)
def test_what_the_contained_covers_the_container_covers(
    one: TrafficSelector, other: TrafficSelector, address: IPv6Address, protocol: int, port: int | None
) -> None:
    assert one.contains(other) == (one.intersection(other) == other)
    if one.contains(other) and other.matches(address, protocol, port):
        assert one.matches(address, protocol, port)


def test_opaque_is_not_any() -> None:
    address = IPv6Address("2001:db8::1")
    opaque = TrafficSelector(address, address, 135, 0xFFFF, 0)
    assert opaque.matches(address, 135, None)
    assert not opaque.matches(address, 135, 0x0500)
    assert TrafficSelector.host(address, 135).contains(opaque)
    assert not opaque.contains(TrafficSelector.host(address, 135))
    assert str(opaque) == "2001:db8::1[135:opaque]"


@pytest.mark.parametrize(
    ("protocol", "payload", "ports"),
    [
        (135, "3b010500", (0x0500, None)),
        (135, "3b01", (None, None)),
        (58, "9300abcd", (0x9300, None)),
        (58, "93", (None, None)),
        (17, "01f41194", (500, 4500)),
        (17, "01f411", (None, None)),
        (89, "01f41194", (None, None)),
    ],
)
def test_ports_of_packets(protocol: int, payload: str, ports: tuple[int | None, int | None]) -> None:
    assert packet_ports(protocol, bytes.fromhex(payload)) == ports
