from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.daemon.kernel_selectors import kernel_selectors
from control.ipsec.algorithms import AES_128_GCM
from control.ipsec.errors import IpsecBackendError
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.traffic_selector import TrafficSelector
from datapath.xfrm.selectors import Selector

AGENT, HOME = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:100::17")


def association(source: TrafficSelector, destination: TrafficSelector) -> SecurityAssociation:
    return SecurityAssociation(256, HOME, AGENT, (source,), (destination,), AES_128_GCM, bytes(20))


def ports(protocol: int, first: int, last: int) -> set[tuple[tuple[int, int], tuple[int, int]]]:
    source = TrafficSelector(HOME, HOME, protocol, first, last)
    found = kernel_selectors(association(source, TrafficSelector.host(AGENT, protocol)))
    assert {(one.source, one.destination, one.protocol) for one in found} == {(HOME, AGENT, protocol)}
    return {(one.source_port, one.destination_port) for one in found}


@pytest.mark.parametrize(
    ("protocol", "first", "last", "expected"),
    [
        (135, 0, 0xFFFF, {((0, 0), (0, 0))}),
        (135, 0x0500, 0x05FF, {((5, 0xFFFF), (0, 0))}),
        (135, 0x0500, 0x0500, {((5, 0xFFFF), (0, 0))}),
        (135, 0x0100, 0x04FF, {((1, 0xFFFF), (0, 0)), ((2, 0xFFFE), (0, 0)), ((4, 0xFFFF), (0, 0))}),
        (58, 0, 0xFFFF, {((0, 0), (0, 0))}),
        (58, 0x9200, 0x93FF, {((0x92, 0xFFFE), (0, 0))}),
        (58, 0x9200, 0x9200, {((0x92, 0xFFFF), (0, 0xFFFF))}),
    ],
)
def test_message_types_become_ports(
    protocol: int, first: int, last: int, expected: set[tuple[tuple[int, int], tuple[int, int]]]
) -> None:
    assert ports(protocol, first, last) == expected


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_blocks_of_ports_are_exactly_the_range(one: int, other: int) -> None:
    first, last = min(one, other), max(one, other)
    matches = [match for match, _ in ports(17, first, last)]
    for port in {0, first - 1, first, (first + last) // 2, last, last + 1, 0xFFFF} & set(range(0x10000)):
        assert sum(port & mask == value for value, mask in matches) == (first <= port <= last)


def test_ranges_of_addresses_are_narrowed_to_the_hosts_of_the_association() -> None:
    everywhere = TrafficSelector(IPv6Address("::"), IPv6Address("ffff::"), 0)
    assert kernel_selectors(association(everywhere, everywhere)) == (Selector(HOME, AGENT),)


def test_the_protocol_of_either_side_restricts_both() -> None:
    found = kernel_selectors(association(TrafficSelector.host(HOME), TrafficSelector.host(AGENT, 135)))
    assert found == (Selector(HOME, AGENT, 135),)


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (TrafficSelector(HOME, HOME, 6, 0xFFFF, 0), TrafficSelector.host(AGENT, 6)),
        (TrafficSelector(HOME, HOME, 58, 0x9201, 0x93FF), TrafficSelector.host(AGENT, 58)),
        (TrafficSelector(HOME, HOME, 135, 0x0501, 0x05FF), TrafficSelector.host(AGENT, 135)),
        (TrafficSelector.host(AGENT, 135), TrafficSelector.host(AGENT, 135)),
        (TrafficSelector.host(HOME, 135), TrafficSelector.host(AGENT, 58)),
    ],
    ids=["opaque", "parts of types", "no type", "other address", "two protocols"],
)
def test_what_the_kernel_cannot_tell_apart_is_refused(source: TrafficSelector, destination: TrafficSelector) -> None:
    with pytest.raises(IpsecBackendError) as caught:
        kernel_selectors(association(source, destination))
    assert caught.value.reason == "bad-selector"
