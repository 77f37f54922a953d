"""Traffic selectors: the packets a security association is for (RFC 4301 section 4.4.1.1, RFC 7296 section 3.13.1)."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import NamedTuple

ANY_PROTOCOL = 0
PROTOCOL_ICMPV6 = 58
PROTOCOL_MOBILITY = 135

_ALL_PORTS = (0, 0xFFFF)
_OPAQUE_PORTS = (0xFFFF, 0)
PROTOCOLS_WITH_MESSAGE_TYPE = frozenset((PROTOCOL_ICMPV6, PROTOCOL_MOBILITY))
"""Protocols whose one "port" is a message type, which only the sender's side of the selectors restricts."""

_PROTOCOLS_WITH_TWO_PORTS = frozenset((6, 17, 33, 132, 136))  # TCP, UDP, DCCP, SCTP, UDP-Lite


EVERY_PORT = -1
"""Instead of a packet's port: it does not matter."""


class TrafficSelector(NamedTuple):
    """A range of addresses, a protocol and a range of ports, all ends inclusive.

    For Mobility Header and ICMPv6 the "port" is the message type in the high byte and, for ICMPv6, the code in
    the low byte; type 5 (Binding Update) alone is 0x0500 to 0x05FF (RFC 7296 section 3.13.1, RFC 4877 section 4.1).
    The ports of the sender's side say what it may send; see :func:`packet_ports`.

    Ports 65535 to 0 mean OPAQUE (RFC 4301 section 4.4.1.2): only packets in which this port cannot be seen.

    Attributes:
        first_address: lowest address.
        last_address: highest address.
        protocol: IP protocol number, 0 for any.
        first_port: lowest port in host order.
        last_port: highest port in host order.
    """

    first_address: IPv6Address
    last_address: IPv6Address
    protocol: int = ANY_PROTOCOL
    first_port: int = _ALL_PORTS[0]
    last_port: int = _ALL_PORTS[1]

    @classmethod
    def host(cls, address: IPv6Address, protocol: int = ANY_PROTOCOL) -> TrafficSelector:
        """The selector of one address and all ports of ``protocol``."""
        return cls(address, address, protocol)

    @property
    def any_port(self) -> bool:
        """Whether ports do not matter."""
        return (self.first_port, self.last_port) == _ALL_PORTS

    @property
    def opaque_port(self) -> bool:
        """Whether only packets without a visible port fall into this selector."""
        return (self.first_port, self.last_port) == _OPAQUE_PORTS

    def matches(self, address: IPv6Address, protocol: int, port: int | None = 0) -> bool:
        """Whether one side of a packet falls into this selector; ``port`` is None where the packet has none."""
        return any_matches((self,), address, protocol, port)

    def matches_host(self, address: IPv6Address, protocol: int) -> bool:
        """Whether address and protocol fall into this selector, whatever the port."""
        return any_matches((self,), address, protocol, EVERY_PORT)

    def contains(self, other: TrafficSelector) -> bool:
        """Whether every packet of ``other`` falls into this selector."""
        return (
            self.first_address <= other.first_address
            and other.last_address <= self.last_address
            and self.protocol in (ANY_PROTOCOL, other.protocol)
            and self._contains_ports(other)
        )

    def _contains_ports(self, other: TrafficSelector) -> bool:
        if other.opaque_port or self.opaque_port:
            return self.any_port or (other.opaque_port and self.opaque_port)
        return self.first_port <= other.first_port and other.last_port <= self.last_port

    def intersection(self, other: TrafficSelector) -> TrafficSelector | None:
        """The packets both selectors cover, None if there are none (narrowing, RFC 7296 section 2.9)."""
        if self.protocol != ANY_PROTOCOL and other.protocol not in (ANY_PROTOCOL, self.protocol):
            return None
        first = max(self.first_address, other.first_address)
        last = min(self.last_address, other.last_address)
        ports = self._common_ports(other)
        if first > last or ports is None:
            return None
        return TrafficSelector(first, last, self.protocol or other.protocol, *ports)

    def _common_ports(self, other: TrafficSelector) -> tuple[int, int] | None:
        if self.opaque_port or other.opaque_port:
            both = (self.any_port or self.opaque_port) and (other.any_port or other.opaque_port)
            return _OPAQUE_PORTS if both else None
        first, last = max(self.first_port, other.first_port), min(self.last_port, other.last_port)
        return (first, last) if first <= last else None

    def __str__(self) -> str:
        addresses = (
            str(self.first_address)
            if self.first_address == self.last_address
            else f"{self.first_address}-{self.last_address}"
        )
        ports = "" if self.any_port else ":opaque" if self.opaque_port else f":{self.first_port}-{self.last_port}"
        return f"{addresses}[{self.protocol or 'any'}{ports}]"


def narrow(proposed: tuple[TrafficSelector, ...], allowed: TrafficSelector) -> tuple[TrafficSelector, ...]:
    """What is common to the selectors of a proposal and ``allowed``; the proposal itself if that is all it asks for.

    A selector for any protocol at all is narrowed to that of ``allowed``.
    """
    if proposed == (allowed,):
        return proposed
    common = [selector.intersection(allowed) for selector in proposed]
    return tuple([selector for selector in common if selector is not None])


def any_matches(selectors: tuple[TrafficSelector, ...], address: IPv6Address, protocol: int, port: int | None) -> bool:
    """Whether one side of a packet falls into one of ``selectors``.

    Args:
        selectors: of that side.
        address: of that side.
        protocol: of the packet.
        port: of that side; None where the packet has none; :data:`EVERY_PORT`.
    """
    # Mostly there is one selector, made with this very address for all that it says by one protocol: that is found out
    # without a look at its parts.
    if selectors and selectors[0][0] is address and selectors[0] == (address, address, protocol, *_ALL_PORTS):
        return True
    for first, last, own, first_port, last_port in selectors:
        if own != protocol and own != ANY_PROTOCOL:
            continue
        if not int(first) <= int(address) <= int(last):  # as numbers, because IPv6Address compares in Python
            continue
        if port is None:
            if (first_port, last_port) in (_ALL_PORTS, _OPAQUE_PORTS):
                return True
        elif port == EVERY_PORT or first_port <= port <= last_port:
            return True
    return False


def packet_ports(protocol: int, payload: bytes) -> tuple[int | None, int | None]:
    """What selectors call the source and the destination port of an upper-layer packet; None where there is none.

    A Mobility Header or an ICMPv6 message has one such value, its type (and code). It is given as the source port,
    because the local "port" selector says what may be sent and the remote one what may be received (RFC 4301 section
    4.4.1.3): an association for prefix discovery carries advertisements one way and solicitations the other. The
    receiver's side has no say about it; see :data:`PROTOCOLS_WITH_MESSAGE_TYPE`.
    """
    if protocol == PROTOCOL_MOBILITY:
        return (payload[2] << 8 if len(payload) > 2 else None), None
    if protocol == PROTOCOL_ICMPV6:
        return (int.from_bytes(payload[:2], "big") if len(payload) > 1 else None), None
    if protocol in _PROTOCOLS_WITH_TWO_PORTS and len(payload) >= 4:
        return int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")
    return None, None
