"""Where datagrams come from and go to."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import NamedTuple

IKE_PORT = 500


class SocketAddress(NamedTuple):
    """One end of a UDP flow.

    Attributes:
        address: IPv6 address.
        port: UDP port in host order.
    """

    address: IPv6Address
    port: int = IKE_PORT

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP payload for the caller to send.

    Attributes:
        data: the IKE message.
        local: the address to send from.
        remote: the address to send to.
    """

    data: bytes = field(repr=False)
    local: SocketAddress
    remote: SocketAddress
