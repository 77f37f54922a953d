"""Ports 500 and 4500, where this process does IKEv2 itself."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from ipaddress import IPv6Address
from itertools import islice
from typing import Protocol

from control.daemon.signalling_sockets import Reader
from control.home_agent.engine import HomeAgent
from control.home_agent.turns import TurnSize
from control.ikev2.address import IKE_PORT, NAT_TRAVERSAL_PORT
from control.ikev2.nat import NatTraversal
from control.ipsec.udp_encapsulation import UdpContent
from control.sockets.ike_udp import IkeSockets, NatTraversalArrival, NatTraversalSocket

# For so long IKE may keep everything else waiting: a storm of handshakes must not delay the Binding Updates of nodes
# that are served. What is left is read next time round.
_TURN_S = 0.010
# So many at most are dealt with together, which saves a fifth of the time.
_AT_ONCE = 64


class IkeTraffic(Protocol):
    """Brings IKE messages, and ESP in UDP, to one engine, and away what it decides."""

    @property
    def dropped(self) -> int:
        """Datagrams the kernel refused to send."""

    @property
    def statistics(self) -> Counter[str]:
        """What port 4500 counts."""

    def readers(self) -> dict[int, Reader]:
        """What reads each descriptor that is to be waited for."""

    def take_waited_s(self) -> float:
        """The longest that messages have waited to be taken, in seconds, since this was last asked."""

    def give_esp_to_kernel(self) -> None:
        """From now on the kernel opens ESP in UDP.

        Raises:
            OSError: this kernel cannot.
        """

    def send(self) -> None:
        """Send what the engine has decided."""

    def close(self) -> None:
        """Stop."""


def turn_size() -> TurnSize:
    """How many IKE messages this process takes together; for as long as a turn, whatever they cost."""
    return TurnSize(_TURN_S, _AT_ONCE)


class OwnIkeTraffic:
    """The engine's endpoint is one of this process."""

    def __init__(
        self, address: IPv6Address, agent: HomeAgent, ports: tuple[int, int] = (IKE_PORT, NAT_TRAVERSAL_PORT)
    ) -> None:
        """Open.

        Args:
            address: the home agent's.
            agent: the engine.
            ports: of IKE and of NAT traversal; 0 for any.

        Raises:
            OSError: the address is not on this machine, or a port is taken.
        """
        self._agent = agent
        self._turn = turn_size()
        nat_traversal = agent.endpoint.configuration.nat_traversal is not NatTraversal.OFF
        self._sockets = IkeSockets(address, nat_traversal=nat_traversal, ports=ports)

    @property
    def dropped(self) -> int:
        """See :class:`IkeTraffic`."""
        return self._sockets.dropped

    @property
    def statistics(self) -> Counter[str]:
        """See :class:`IkeTraffic`."""
        sock = self._sockets.nat_traversal
        return Counter() if sock is None else sock.statistics

    def readers(self) -> dict[int, Reader]:
        """See :class:`IkeTraffic`."""
        readers: dict[int, Reader] = {self._sockets.plain.fileno(): self._read_ike}
        sock = self._sockets.nat_traversal
        if sock is not None:
            readers[sock.fileno()] = partial(self._read_nat_traversal, sock)
        return readers

    def take_waited_s(self) -> float:
        """See :class:`IkeTraffic`."""
        return self._sockets.take_waited_s()

    def give_esp_to_kernel(self) -> None:
        """See :class:`IkeTraffic`."""
        if self._sockets.nat_traversal is not None:
            self._sockets.nat_traversal.give_esp_to_kernel()

    def send(self) -> None:
        """See :class:`IkeTraffic`."""
        self._sockets.send(self._agent.datagrams_to_send())

    def close(self) -> None:
        """See :class:`IkeTraffic`."""
        self._sockets.close()

    def _read_ike(self, now: float, _wall: float) -> None:
        end = now + _TURN_S
        arrivals = self._sockets.plain.receive()
        while messages := list(islice(arrivals, self._turn.size)):
            self._agent.receive_ike_messages(messages, now)
            now = self._end_of_turn(len(messages), now)
            if now >= end:
                return

    def _read_nat_traversal(self, sock: NatTraversalSocket, now: float, wall: float) -> None:
        end = now + _TURN_S
        arrivals = sock.arrivals()
        while some := list(islice(arrivals, self._turn.size)):
            messages = [(each.data, each.origin) for each in some if each.content is UdpContent.IKE]
            self._agent.receive_ike_messages(messages, now, sock.local.port)
            for each in some:
                if each.content is not UdpContent.IKE:
                    receive_esp_in_udp(self._agent, each, now, wall)
            now = self._end_of_turn(len(some), now)
            if now >= end:
                return

    def _end_of_turn(self, messages: int, began: float) -> float:
        """Note how long it took to deal with messages; returns what time it is."""
        now = time.monotonic()
        self._turn.took(messages, now - began)
        return now


def receive_esp_in_udp(agent: HomeAgent, arrival: NatTraversalArrival, now: float, wall: float) -> None:
    """Give the engine an ESP packet that came to port 4500."""
    home_address = arrival.source.ipv6_address
    agent.receive_protected(arrival.data, home_address, arrival.care_of_address, now, wall, arrival.origin)
