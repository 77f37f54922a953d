"""What the kernel tells of routes and neighbours over rtnetlink, and whether next hops found out before still hold.

No input or output here: messages in, decisions out.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from datapath.announced_routes import is_announcement

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
_ROUTE_OR_RULE = struct.Struct("=BBBBBBBBI")
"""Family, destination and source prefix length, type of service, then what is not looked at."""

_DESTINATION, _LINK_ADDRESS = 1, 2
_RULE_INTERFACE = 3
_PLAIN_RULE_ATTRIBUTES = frozenset({_RULE_INTERFACE, 6, 13, 14, 15, 21})
"""Incoming interface, priority, suppressed groups and prefix lengths, table, protocol: no selector but the first."""
_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80
"""Reachable, stale, delayed, probed, NOARP, permanent (NUD_VALID)."""
_MOST_NEIGHBOURS = 65_536

IPV6_ONLY = (socket.AF_INET6,)
BOTH_FAMILIES = (socket.AF_INET6, socket.AF_INET)
"""Of a home agent with tunnels over IPv4."""


class RouteMessage(IntEnum):
    """Kinds of messages looked at apart."""

    DONE = 3
    NEW_ROUTE = 24
    DELETE_ROUTE = 25
    GET_ROUTE = 26
    NEW_NEIGHBOUR = 28
    DELETE_NEIGHBOUR = 29
    NEW_RULE = 32
    DELETE_RULE = 33
    GET_RULE = 34


class Message(NamedTuple):
    """One rtnetlink message."""

    kind: int
    body: bytes


def messages(data: bytes) -> Iterator[Message]:
    """The messages in what one read gave."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield Message(kind, data[offset + _HEADER.size : offset + length])
        offset += (length + 3) // 4 * 4


def dump_request(kind: RouteMessage, family: int = socket.AF_INET6) -> bytes:
    """Asks for all routes or rules of an address family."""
    body = _ROUTE_OR_RULE.pack(family, *[0] * 8)
    return _HEADER.pack(_HEADER.size + len(body), kind, 0x301, 1, 0) + body


def depends_on_more_than_destination(message: Message, families: Container[int] = IPV6_ONLY) -> bool:
    """Whether a route or rule of these families makes the way of a packet depend on its source, interface or class."""
    if message.kind not in (RouteMessage.NEW_ROUTE, RouteMessage.NEW_RULE) or len(message.body) < _ROUTE_OR_RULE.size:
        return False
    family, destination_length, source_length, service, *_ = _ROUTE_OR_RULE.unpack_from(message.body)
    if family not in families:
        return False
    if message.kind == RouteMessage.NEW_ROUTE:
        return bool(source_length or (family == socket.AF_INET and service))
    attributes = _attributes(message.body[_ROUTE_OR_RULE.size :])
    if attributes.get(_RULE_INTERFACE, b"").rstrip(b"\0") == b"lo":
        return False  # what this host sends itself
    if _RULE_INTERFACE in attributes or destination_length or source_length or service:
        return True
    return not attributes.keys() <= _PLAIN_RULE_ATTRIBUTES


@dataclass(slots=True)
class RouteChanges:
    """Remembers neighbours, of which the kernel tells far more than matters."""

    families: Container[int] = IPV6_ONLY
    _neighbours: dict[tuple[int, bytes], bytes | None] = field(default_factory=dict)

    def matters(self, message: Message) -> bool:
        """Whether next hops found out before this message may be wrong after it."""
        if message.kind in (RouteMessage.NEW_ROUTE, RouteMessage.DELETE_ROUTE):
            return not is_announcement(message.body)
        if message.kind not in (RouteMessage.NEW_NEIGHBOUR, RouteMessage.DELETE_NEIGHBOUR):
            return True
        if len(message.body) < _NEIGHBOUR.size:
            return True
        family, interface, state, _, _ = _NEIGHBOUR.unpack_from(message.body)
        if family not in self.families:
            return False
        attributes = _attributes(message.body[_NEIGHBOUR.size :])
        usable = message.kind == RouteMessage.NEW_NEIGHBOUR and state & _USABLE
        address = attributes.get(_LINK_ADDRESS, b"") if usable else None
        key = interface, attributes.get(_DESTINATION, b"")
        if len(self._neighbours) >= _MOST_NEIGHBOURS:
            self._neighbours.clear()
        is_known = key in self._neighbours
        before = self._neighbours.get(key)
        if usable:
            self._neighbours[key] = address
        else:
            self._neighbours.pop(key, None)
        return not is_known or before != address


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) // 4 * 4
    return found
