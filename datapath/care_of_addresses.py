"""Care-of addresses as the maps hold them; ``bpf/ipv4_care_of_address.h`` tells the programs the same.

An IPv4 one is written as 16 bytes that are no IPv6 address, for nothing below ``1::`` is routed: the IPv4-mapped form
of the node's address, with the home agent's end of the tunnel and the port in words that are zero there otherwise.

==========  ==================================================
bytes       what
==========  ==================================================
0, 1        zero
2 to 5      the home agent's IPv4 address
6, 7        UDP port of the node, zero for a tunnel without UDP
8, 9        zero
10, 11      0xffff
12 to 15    the node's IPv4 address
==========  ==================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

_MARK = 0xFFFF << 32
_FIRST_IPV6 = 1 << 112
_LARGEST_PORT = 0xFFFF


@dataclass(frozen=True, slots=True)
class IPv4CareOfAddress:
    """Both ends of a tunnel over IPv4.

    Attributes:
        address: where packets of the node come from: its IPv4 care-of address, or that of the NAT in front of it.
        home_agent_address: the home agent's address that the node sends to, and a NAT lets answers through from.
        udp_port: the node's port, or the NAT's, of a tunnel in UDP (RFC 5555 section 4.1); None for IPv6 directly in
            IPv4 (RFC 4213).
    """

    address: IPv4Address
    home_agent_address: IPv4Address
    udp_port: int | None = None

    def __post_init__(self) -> None:
        if self.udp_port is not None and not 0 < self.udp_port <= _LARGEST_PORT:
            raise ValueError(f"a UDP port is between 1 and 65535, not {self.udp_port}")

    def __int__(self) -> int:
        """As the maps hold it, in network byte order."""
        port = self.udp_port or 0
        return int(self.home_agent_address) << 80 | port << 64 | _MARK | int(self.address)

    @property
    def packed(self) -> bytes:
        """The same, as bytes."""
        return int(self).to_bytes(16, "big")

    def __str__(self) -> str:
        return str(self.address) if self.udp_port is None else f"{self.address} udp {self.udp_port}"


CareOfAddress = IPv6Address | IPv4CareOfAddress


def unpack_care_of_address(packed: bytes) -> CareOfAddress:
    """What the maps hold, as it was installed."""
    value = int.from_bytes(packed, "big")
    if value >= _FIRST_IPV6 or packed[8:12] != b"\0\0\xff\xff":
        return IPv6Address(value)
    port = int.from_bytes(packed[6:8], "big")
    return IPv4CareOfAddress(IPv4Address(packed[12:]), IPv4Address(packed[2:6]), port or None)
