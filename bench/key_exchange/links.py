"""What carries IKE datagrams between a home agent and its nodes, and which part of that is the home agent's work."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Protocol

from control.ikev2.address import Datagram, SocketAddress
from control.sockets.ike_udp import IkeSocket
from control.sockets.kernel_socket import enlarge_receive_buffer

_LOOPBACK = IPv6Address("::1")
_BUFFER_BYTES = 8 * 1024 * 1024
_LARGEST_DATAGRAM = 65_535
_PATIENCE_S = 60.0

Arrived = tuple[bytes, SocketAddress]


class Link(Protocol):
    """One home agent on one side, all nodes on the other. ``send`` and ``receive`` are the home agent's work."""

    def address(self, datagrams: list[Datagram]) -> list[Datagram]:
        """The datagrams as ``send`` wants them; not the home agent's work."""

    def send(self, datagrams: list[Datagram]) -> None:
        """Datagrams leave the home agent."""

    def arrived(self, datagrams: list[Datagram]) -> list[Datagram]:
        """What of the datagrams given to ``address`` reached the nodes, as copies; not the home agent's work."""

    def deliver(self, datagrams: Iterable[Datagram]) -> None:
        """Datagrams leave the nodes; not the home agent's work."""

    def receive(self) -> list[Arrived]:
        """What has arrived at the home agent, and from where."""


class MemoryLink:
    """Lists."""

    def __init__(self) -> None:
        self._to_agent: list[Arrived] = []

    def address(self, datagrams: list[Datagram]) -> list[Datagram]:
        """See Link."""
        return datagrams

    def send(self, datagrams: list[Datagram]) -> None:
        """See Link."""

    def arrived(self, datagrams: list[Datagram]) -> list[Datagram]:
        """See Link."""
        return [_copy(datagram) for datagram in datagrams]

    def deliver(self, datagrams: Iterable[Datagram]) -> None:
        """See Link."""
        self._to_agent += [(_copy(datagram).data, datagram.local) for datagram in datagrams]

    def receive(self) -> list[Arrived]:
        """See Link."""
        arrived, self._to_agent = self._to_agent, []
        return arrived


class LoopbackLink:
    """The daemon's own socket on ::1, and one socket for all nodes.

    A datagram between two sockets of one machine overtakes no other, so its place in the order tells whose it is.
    """

    def __init__(self) -> None:
        self._agent = IkeSocket(_LOOPBACK, 0)
        self._nodes = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._nodes.settimeout(_PATIENCE_S)
        enlarge_receive_buffer(self._nodes, _BUFFER_BYTES)
        self._nodes.bind((str(_LOOPBACK), 0))
        with socket.fromfd(self._agent.fileno(), socket.AF_INET6, socket.SOCK_DGRAM) as view:
            self._agent_port = view.getsockname()[1]
        self._nodes_address = SocketAddress(_LOOPBACK, self._nodes.getsockname()[1])
        self._senders: deque[SocketAddress] = deque()

    def address(self, datagrams: list[Datagram]) -> list[Datagram]:
        """See Link."""
        return [Datagram(datagram.data, datagram.local, self._nodes_address) for datagram in datagrams]

    def send(self, datagrams: list[Datagram]) -> None:
        """See Link."""
        self._agent.send(datagrams)

    def arrived(self, datagrams: list[Datagram]) -> list[Datagram]:
        """See Link."""
        return [
            Datagram(self._nodes.recv(_LARGEST_DATAGRAM), datagram.local, datagram.remote) for datagram in datagrams
        ]

    def deliver(self, datagrams: Iterable[Datagram]) -> None:
        """See Link."""
        for datagram in datagrams:
            self._nodes.sendto(datagram.data, (str(_LOOPBACK), self._agent_port))
            self._senders.append(datagram.local)

    def receive(self) -> list[Arrived]:
        """See Link."""
        arrived = [(data, self._senders.popleft()) for data, _ in self._agent.receive()]
        while self._senders and select.select([self._agent], [], [], _PATIENCE_S)[0]:  # the kernel was late
            arrived += [(data, self._senders.popleft()) for data, _ in self._agent.receive()]
        return arrived

    def close(self) -> None:
        """Close both sockets."""
        self._agent.close()
        self._nodes.close()


def _copy(datagram: Datagram) -> Datagram:
    """The wire makes a copy: what one side keeps for a repetition must not be the same memory as what the other has."""
    return Datagram(bytes(memoryview(datagram.data)), datagram.local, datagram.remote)
