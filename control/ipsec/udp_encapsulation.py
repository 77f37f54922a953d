"""ESP in UDP, for the way through NATs (RFC 3948)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address


@dataclass(frozen=True, slots=True)
class UdpEncapsulation:
    """The UDP flow that the packets of a pair of security associations travel in: the one of their IKE SA.

    Attributes:
        local_port: this side's port in host order.
        remote_address: where the peer's packets come from, as this side sees it: the outside of a NAT if there is one.
        remote_port: the port there in host order.
    """

    local_port: int
    remote_address: IPv4Address | IPv6Address
    remote_port: int
