"""The packets a state or a policy is about (``xfrm_selector``)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from datapath.xfrm.numbers import FAMILY_INET6
from datapath.xfrm.structs import SELECTOR

_ANY_PORT = 0, 0
_HOST = 128


@dataclass(frozen=True, slots=True)
class Selector:
    """Packets between two hosts.

    For Mobility Header the kernel takes the message type as the source port, for ICMPv6 type and code as source and
    destination port.

    Attributes:
        protocol: of the upper layer, 0 for any.
        source_port: value and mask; a mask of 0 is any port.
        destination_port: the same.
    """

    source: IPv6Address
    destination: IPv6Address
    protocol: int = 0
    source_port: tuple[int, int] = _ANY_PORT
    destination_port: tuple[int, int] = _ANY_PORT

    def to_wire(self) -> bytes:
        """The structure."""
        (source_port, source_mask), (destination_port, destination_mask) = self.source_port, self.destination_port
        return SELECTOR.pack(
            self.destination.packed,
            self.source.packed,
            destination_port.to_bytes(2, "big"),
            destination_mask.to_bytes(2, "big"),
            source_port.to_bytes(2, "big"),
            source_mask.to_bytes(2, "big"),
            *(FAMILY_INET6, _HOST, _HOST, self.protocol, 0, 0),
        )

    @classmethod
    def from_wire(cls, data: bytes) -> Selector | None:
        """The selector, or None if it is not one between two IPv6 hosts, and so not one of ours."""
        destination, source, *ports, family, length, source_length, protocol, interface, _ = SELECTOR.unpack(data)
        if (family, length, source_length, interface) != (FAMILY_INET6, _HOST, _HOST, 0):
            return None
        destination_port, destination_mask, source_port, source_mask = (int.from_bytes(port, "big") for port in ports)
        return cls(
            IPv6Address(source),
            IPv6Address(destination),
            protocol,
            (source_port, source_mask),
            (destination_port, destination_mask),
        )
