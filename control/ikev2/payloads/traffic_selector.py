"""Traffic Selector payloads (RFC 7296 section 3.13)."""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct
from typing import ClassVar, Self, cast

from control.ikev2.numbers import PayloadType, TrafficSelectorType, members_by_value
from control.ikev2.payloads.packing import pack, unpack
from control.ipsec.traffic_selector import TrafficSelector
from control.records import Record
from control.wire import WireError

MAX_SELECTORS = 64
"""More selectors than this in one payload are refused."""

_FIXED = Struct(">B3x")  # number of selectors, reserved
_SELECTOR_HEADER = Struct(">BBH")  # type, protocol, length
_IPV6_SELECTOR = Struct(">BBHHH16s16s")  # type, protocol, length, first and last port, first and last address
_ONE_SELECTOR = _FIXED.pack(1)
_OPAQUE_PORTS = (0xFFFF, 0)
_MOST_RECENT = 512
_CACHED_SIZE = _FIXED.size + 2 * _IPV6_SELECTOR.size
_TYPES = members_by_value(TrafficSelectorType)
_SIZES: dict[int, int] = {
    TrafficSelectorType.IPV4_ADDR_RANGE: 16,
    TrafficSelectorType.IPV6_ADDR_RANGE: _IPV6_SELECTOR.size,
}


class UnknownSelector(Record, frozen=True):
    """A selector of a type that is kept but not understood: IPv4 ranges (type 7) and whatever may come.

    Attributes:
        type: TS Type, not 8.
        protocol: the second byte, the IP protocol where the type defines it so.
        data: what follows the selector's length field.
    """

    type: int
    protocol: int
    data: bytes


Selector = TrafficSelector | UnknownSelector


class TrafficSelectorPayload(Record, frozen=True):
    """What TSi and TSr have in common.

    Ports 65535 to 0 mean OPAQUE; such a selector matches no packet of which the port can be seen.

    Attributes:
        selectors: a packet's address and port on this side must match at least one.
    """

    selectors: tuple[Selector, ...]

    @property
    def ipv6_selectors(self) -> tuple[TrafficSelector, ...]:
        """The selectors that are understood."""
        for selector in self.selectors:
            if not isinstance(selector, TrafficSelector):
                return tuple([selector for selector in self.selectors if isinstance(selector, TrafficSelector)])
        return cast("tuple[TrafficSelector, ...]", self.selectors)

    def to_wire(self) -> bytes:
        """The payload body."""
        return encode_selectors(self.selectors)

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("truncated", "too-many", "bad-length", "bad-range", …).

        A list of no selectors is an offer of nothing rather than malformed: there are peers that send it.
        """
        selectors = _recent.get(body)
        if selectors is None:
            selectors = _parse(body)
            if len(body) <= _CACHED_SIZE:
                _remember(body, selectors)
        return cls(selectors)


class TrafficSelectorInitiator(TrafficSelectorPayload, frozen=True):
    """TSi: the side of the exchange's initiator."""

    payload_type: ClassVar[PayloadType] = PayloadType.TRAFFIC_SELECTOR_INITIATOR


class TrafficSelectorResponder(TrafficSelectorPayload, frozen=True):
    """TSr: the side of the exchange's responder."""

    payload_type: ClassVar[PayloadType] = PayloadType.TRAFFIC_SELECTOR_RESPONDER


def _parse(body: bytes) -> tuple[Selector, ...]:
    (count,) = unpack(_FIXED, body)
    if count > MAX_SELECTORS:
        raise WireError("too-many", f"{count} traffic selectors")
    selectors: list[Selector] = []
    offset = _FIXED.size
    for _ in range(count):
        selector_type, protocol, length = unpack(_SELECTOR_HEADER, body, offset)
        if length < _SELECTOR_HEADER.size or length != _SIZES.get(selector_type, length):
            raise WireError("bad-length", f"traffic selector of type {selector_type} and {length} bytes")
        if offset + length > len(body):
            raise WireError("truncated", f"traffic selector of {length} bytes")
        if selector_type == TrafficSelectorType.IPV6_ADDR_RANGE:
            selectors.append(_parse_ipv6(body, offset))
        else:
            data = body[offset + _SELECTOR_HEADER.size : offset + length]
            selectors.append(UnknownSelector(_TYPES.get(selector_type, selector_type), protocol, data))
        offset += length
    if offset != len(body):
        raise WireError("trailing-bytes", f"{len(body) - offset} bytes after the last traffic selector")
    return tuple(selectors)


# What a peer is asked for comes back from it. Long lists are not worth the memory.
_recent: dict[bytes, tuple[Selector, ...]] = {}
# This side's own selectors are the same tuple each time. What stands here keeps its tuple, so that no other has its id.
_sent: dict[int, tuple[tuple[Selector, ...], bytes]] = {}


def _remember(body: bytes, selectors: tuple[Selector, ...]) -> None:
    if len(_recent) >= _MOST_RECENT or len(_sent) >= _MOST_RECENT:
        _recent.clear()
        _sent.clear()
    _recent[body] = selectors
    _sent[id(selectors)] = selectors, body


def encode_selectors(selectors: tuple[Selector, ...]) -> bytes:
    """The payload body of TSi or TSr."""
    known = _sent.get(id(selectors))
    if known is not None and known[0] is selectors:
        return known[1]
    if len(selectors) == 1:
        body = _ONE_SELECTOR + _encode(selectors[0])
    else:
        body = pack(_FIXED, len(selectors)) + b"".join(map(_encode, selectors))
    if len(body) <= _CACHED_SIZE:
        _remember(body, selectors)
    return body


def _encode(selector: Selector) -> bytes:
    if isinstance(selector, UnknownSelector):
        length = _SELECTOR_HEADER.size + len(selector.data)
        return pack(_SELECTOR_HEADER, selector.type, selector.protocol, length) + selector.data
    first_address, last_address, protocol, first_port, last_port = selector
    first = first_address.packed
    return pack(
        _IPV6_SELECTOR,
        TrafficSelectorType.IPV6_ADDR_RANGE,
        protocol,
        _IPV6_SELECTOR.size,
        first_port,
        last_port,
        first,
        first if last_address is first_address else last_address.packed,
    )


def _parse_ipv6(body: bytes, offset: int) -> TrafficSelector:
    _type, protocol, _length, first_port, last_port, first, last = unpack(_IPV6_SELECTOR, body, offset)
    if first > last:
        raise WireError("bad-range", "first address above last")
    if first_port > last_port and (first_port, last_port) != _OPAQUE_PORTS:
        raise WireError("bad-range", f"ports {first_port} to {last_port}")
    first_address = IPv6Address(first)
    last_address = first_address if first == last else IPv6Address(last)
    return TrafficSelector(first_address, last_address, protocol, first_port, last_port)
