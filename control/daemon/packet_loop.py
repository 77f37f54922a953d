"""Sockets and timers around the home agent engine: everything that arrives goes in, everything it decides goes out."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv6Address

from control.daemon.home_links import HomeLinkTraffic
from control.daemon.ike_traffic import IkeTraffic
from control.daemon.signalling_sockets import Reader, SignallingSockets
from control.home_agent.engine import HomeAgent

# In a takeover packets come every millisecond or so, and to wake up, look at all timers, write to the store and send
# costs as much as an answer. It goes in rounds then: after this time at most, what has come is taken together. The
# four answers of a bootstrap can wait for so long, and so can the Binding Updates of nodes that are served.
_ROUND_S = 0.008
_LOG = logging.getLogger(__name__)


class PacketLoop:
    """Feeds one engine: whenever something comes or is due, and in rounds during a takeover.

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
        self._readers: dict[int, Reader] = {}
        self._next_round: asyncio.TimerHandle | None = None
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
        self._readers = {**self._ike.readers(), **self._signalling.readers()}
        self._listen()
        self.is_open = True

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
        for pending in (self._timer, self._next_round):
            if pending is not None:
                pending.cancel()
        self._stop_listening()
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
        self._wake_up_next()

    def _listen(self) -> None:
        for descriptor, reader in self._readers.items():
            self._loop.add_reader(descriptor, self._read, reader)

    def _stop_listening(self) -> None:
        for descriptor in self._readers:
            self._loop.remove_reader(descriptor)

    def _read(self, reader: Reader) -> None:
        reader(self._loop.time(), self._wall())
        self.flush()

    def _handle_timer(self) -> None:
        self._timer = None
        self._agent.handle_timer(self._loop.time())
        self.flush()

    def _wake_up_next(self) -> None:
        if not self.is_open:
            return
        takeover = self._agent.takeover
        if takeover.active and not takeover.paused:
            if self._next_round is None:
                self._stop_listening()
                self._next_round = self._loop.call_later(_ROUND_S, self._go_round)
            return
        if self._next_round is not None:
            self._next_round.cancel()
            self._next_round = None
            self._listen()
        self._reschedule()

    def _go_round(self) -> None:
        self._next_round = self._loop.call_later(_ROUND_S, self._go_round)
        for reader in self._readers.values():
            try:
                reader(self._loop.time(), self._wall())
            except Exception:  # as the event loop does it: one that fails does not keep the others from their packets
                _LOG.exception("what has arrived could not be dealt with")
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
