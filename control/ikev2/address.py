"""Where datagrams come from and go to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from control.records import Record

IpAddress = IPv4Address | IPv6Address

IKE_PORT = 500
NAT_TRAVERSAL_PORT = 4500
"""The port of IKE and ESP in UDP where there are NATs (RFC 7296 section 2.23, RFC 3948)."""


def is_usable(address: IpAddress) -> bool:
    """Whether a peer on the other side of a network can have this address."""
    return not (address.is_multicast or address.is_unspecified or address.is_loopback)


class SocketAddress(NamedTuple):
    """One end of a UDP flow.

    Attributes:
        address: IPv6 or IPv4 address.
        port: UDP port in host order.
    """

    address: IpAddress
    port: int = IKE_PORT

    @property
    def ipv6_address(self) -> IPv6Address:
        """The address, for what only goes over IPv6.

        Raises:
            TypeError: it is an IPv4 address.
        """
        if not isinstance(self.address, IPv6Address):
            raise TypeError(f"{self.address} is no IPv6 address")
        return self.address

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


class Datagram(Record, frozen=True):
    """One UDP payload for the caller to send.

    Attributes:
        data: the IKE message, or a keepalive. The socket adds the non-ESP marker that NAT_TRAVERSAL_PORT wants.
        local: the address to send from.
        remote: the address to send to.
    """

    data: bytes
    local: SocketAddress
    remote: SocketAddress

    def __repr__(self) -> str:
        return f"Datagram({len(self.data)} bytes from {self.local} to {self.remote})"
