"""Traffic selectors as the kernel's IPsec can express them."""

from __future__ import annotations

from collections.abc import Iterator

from control.ipsec.errors import IpsecBackendError
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.traffic_selector import PROTOCOL_ICMPV6, PROTOCOL_MOBILITY, TrafficSelector
from datapath.xfrm.selectors import Selector

_LARGEST_TYPE = 0xFF
_LARGEST_PORT = 0xFFFF
_PortMatch = tuple[int, int]


def kernel_selectors(association: SecurityAssociation) -> tuple[Selector, ...]:
    """The packets of an association, each at least in one selector and none beside them.

    Raises:
        IpsecBackendError: ``bad-selector``: the kernel cannot tell these packets from others.
    """
    found: dict[Selector, None] = {}
    for source in association.source_selectors:
        for destination in association.destination_selectors:
            protocol = source.protocol or destination.protocol
            if not source.matches_host(association.source, protocol):
                continue
            if not destination.matches_host(association.destination, protocol):
                continue
            for source_port, destination_port in _ports(source, destination, protocol):
                found[
                    Selector(association.source, association.destination, protocol, source_port, destination_port)
                ] = None
    if not found:
        raise IpsecBackendError("bad-selector", f"no packets from {association.source} to {association.destination}")
    return tuple(found)


def _ports(
    source: TrafficSelector, destination: TrafficSelector, protocol: int
) -> Iterator[tuple[_PortMatch, _PortMatch]]:
    if source.opaque_port or destination.opaque_port:
        raise IpsecBackendError("bad-selector", f"opaque ports in {source} or {destination}")
    if protocol == PROTOCOL_MOBILITY:
        for match in _types(source):
            yield match, (0, 0)
    elif protocol == PROTOCOL_ICMPV6:
        yield from _types_and_codes(source)
    else:
        for source_port in _blocks(source.first_port, source.last_port, _LARGEST_PORT):
            for destination_port in _blocks(destination.first_port, destination.last_port, _LARGEST_PORT):
                yield source_port, destination_port


def _types(selector: TrafficSelector) -> list[_PortMatch]:
    """Message types whose "port" (the type in the high byte, zero below) lies within the selector's."""
    first, last = (selector.first_port + 0xFF) >> 8, selector.last_port >> 8
    if first > last:
        raise IpsecBackendError("bad-selector", f"no message type in {selector}")
    return list(_blocks(first, last, _LARGEST_TYPE))


def _types_and_codes(selector: TrafficSelector) -> Iterator[tuple[_PortMatch, _PortMatch]]:
    if selector.first_port & 0xFF == 0 and selector.last_port & 0xFF == 0xFF:
        for match in _types(selector):
            yield match, (0, 0)
        return
    if selector.first_port >> 8 != selector.last_port >> 8:
        raise IpsecBackendError("bad-selector", f"parts of the codes of several message types in {selector}")
    kind = selector.first_port >> 8
    for code in _blocks(selector.first_port & 0xFF, selector.last_port & 0xFF, _LARGEST_TYPE):
        yield (kind, _LARGEST_PORT), code


def _blocks(first: int, last: int, largest: int) -> Iterator[_PortMatch]:
    """The numbers ``first`` to ``last`` as values and masks; all there are is one block with the mask 0."""
    if (first, last) == (0, largest):
        yield 0, 0
        return
    while first <= last:
        size = first & -first or largest + 1
        while first + size - 1 > last:
            size >>= 1
        yield first, _LARGEST_PORT & ~(size - 1)
        first += size
