"""Sockets and timers around the home agent engine: everything that arrives goes in, everything it decides goes out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv6Address

from control.daemon.home_links import HomeLinkTraffic
from control.daemon.ike_traffic import IkeTraffic
from control.daemon.signalling_sockets import Reader, SignallingSockets
from control.home_agent.engine import HomeAgent

# In a takeover packets come every millisecond or so. To wake up, look at all timers, write to the store and send costs
# as much as an answer, so after a short look at a socket the next one is this much later; thirteen of a node's hundreds
# of milliseconds, three of those that a Binding Update of a node that is served takes.
_GATHER_S = 0.003
_SHORT_LOOK_S = 0.002


class PacketLoop:
    """Feeds one engine.

    ``settle`` is called after every batch of input and before anything leaves: it stores what has to be stored.
    """

    def __init__(
        self,
        agent: HomeAgent,
        loop: asyncio.AbstractEventLoop,
        wall: Callable[[], float],
        settle: Callable[[float], None],
        ike_traffic: Callable[[IPv6Address], IkeTraffic],
        signalling_sockets: Callable[[IPv6Address], SignallingSockets],
        home_links: HomeLinkTraffic,
    ) -> None:
        self._agent = agent
        self._loop = loop
        self._wall = wall
        self._settle = settle
        self._make_ike_traffic = ike_traffic
        self._make_signalling_sockets = signalling_sockets
        self._home_links = home_links
        self._timer: asyncio.TimerHandle | None = None
        self._pauses: dict[int, asyncio.TimerHandle] = {}
        self._sockets = ExitStack()
        self.is_open = False

    def open(self, address: IPv6Address) -> None:
        """Open the sockets and begin.

        Raises:
            OSError: the address is not on this machine, a port is taken, or a privilege is missing.
        """
        with ExitStack() as stack:
            self._ike = self._make_ike_traffic(address)
            stack.callback(self._ike.close)
            self._signalling = self._make_signalling_sockets(address)
            stack.callback(self._signalling.close)
            self._home_links.open(self._loop, self.flush)
            if self._signalling.kernel_opens_esp:
                self._ike.give_esp_to_kernel()
            self._sockets = stack.pop_all()
        self.is_open = True
        for descriptor, reader in self._ike.readers().items():
            self._wait_for(descriptor, reader)
        for descriptor, reader in self._signalling.readers().items():
            self._wait_for(descriptor, reader)
        self._sockets.callback(self._cancel_pauses)

    @property
    def statistics(self) -> Counter[str]:
        """What the sockets count: packets refused to be sent, keepalives, malformed packets."""
        refused = Counter({"send-refused": self._ike.dropped + self._signalling.dropped + self._home_links.dropped})
        return refused + self._ike.statistics + self._signalling.statistics

    def take_waited_s(self) -> float:
        """The longest that IKE messages have waited to be taken, in seconds, since this was last asked."""
        return self._ike.take_waited_s()

    def close(self) -> None:
        """Stop and close the sockets."""
        self.is_open = False
        if self._timer is not None:
            self._timer.cancel()
        self._sockets.close()

    def flush(self) -> None:
        """Send what the engine has decided, and wake up when it wants to."""
        now = self._loop.time()
        self._settle(now)
        packets = self._agent.packets_to_send()
        self._agent.replace_used_up(now)  # the last of these may have brought an association to its limit
        self._ike.send()
        self._signalling.send(packets, now)
        self._home_links.send()
        self._reschedule()

    def _wait_for(self, descriptor: int, reader: Reader) -> None:
        self._loop.add_reader(descriptor, self._read, descriptor, reader)
        self._sockets.callback(self._loop.remove_reader, descriptor)

    def _read(self, descriptor: int, reader: Reader) -> None:
        began = self._loop.time()
        reader(began, self._wall())
        self.flush()
        if self._agent.takeover.active and self._loop.time() - began < _SHORT_LOOK_S:
            self._loop.remove_reader(descriptor)
            self._pauses[descriptor] = self._loop.call_later(_GATHER_S, self._end_pause, descriptor, reader)

    def _end_pause(self, descriptor: int, reader: Reader) -> None:
        del self._pauses[descriptor]
        self._loop.add_reader(descriptor, self._read, descriptor, reader)

    def _cancel_pauses(self) -> None:
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses.clear()

    def _handle_timer(self) -> None:
        self._timer = None
        self._agent.handle_timer(self._loop.time())
        self.flush()

    def _reschedule(self) -> None:
        when = self._agent.next_timer()
        if when is None:
            return
        if self._timer is not None:
            if self._timer.when() <= when:
                return  # it comes for nothing then, which is cheaper than to move it at every answer
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._handle_timer)
