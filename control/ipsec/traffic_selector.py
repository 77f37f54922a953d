"""Traffic selectors: which packets a security association is for (RFC 4301 section 4.4.1.1, RFC 7296 section 3.13.1)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

ANY_PROTOCOL = 0
PROTOCOL_ICMPV6 = 58
PROTOCOL_MOBILITY = 135

_ALL_PORTS = (0, 0xFFFF)


@dataclass(frozen=True, slots=True)
class TrafficSelector:
    """A range of addresses, a protocol and a range of ports, all ends inclusive.

    For Mobility Header and ICMPv6 the "port" is the message type in the high byte and, for ICMPv6, the code in
    the low byte; type 5 (Binding Update) alone is 0x0500 to 0x05FF (RFC 7296 section 3.13.1, RFC 4877 section 4.1).

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

    def matches(self, address: IPv6Address, protocol: int, port: int = 0) -> bool:
        """Whether one side of a packet falls into this selector."""
        return (
            self.first_address <= address <= self.last_address
            and self.protocol in (ANY_PROTOCOL, protocol)
            and self.first_port <= port <= self.last_port
        )

    def contains(self, other: TrafficSelector) -> bool:
        """Whether every packet of ``other`` falls into this selector."""
        return (
            self.first_address <= other.first_address
            and other.last_address <= self.last_address
            and self.protocol in (ANY_PROTOCOL, other.protocol)
            and self.first_port <= other.first_port
            and other.last_port <= self.last_port
        )

    def intersection(self, other: TrafficSelector) -> TrafficSelector | None:
        """The packets both selectors cover, None if there are none (narrowing, RFC 7296 section 2.9)."""
        if self.protocol != ANY_PROTOCOL and other.protocol not in (ANY_PROTOCOL, self.protocol):
            return None
        first = max(self.first_address, other.first_address)
        last = min(self.last_address, other.last_address)
        first_port = max(self.first_port, other.first_port)
        last_port = min(self.last_port, other.last_port)
        if first > last or first_port > last_port:
            return None
        return TrafficSelector(first, last, self.protocol or other.protocol, first_port, last_port)

    def __str__(self) -> str:
        addresses = (
            str(self.first_address)
            if self.first_address == self.last_address
            else f"{self.first_address}-{self.last_address}"
        )
        ports = "" if (self.first_port, self.last_port) == _ALL_PORTS else f":{self.first_port}-{self.last_port}"
        return f"{addresses}[{self.protocol or 'any'}{ports}]"
