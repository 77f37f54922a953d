"""Nodes sent to other home agents by Home Agent Switch messages without the B bit (RFC 5142 section 4).

Each node is told when its turn comes, at a bounded rate. Until it has de-registered the message is repeated, after
INITIAL-HA-SWITCH-TIMEOUT and then doubling up to MAX-HA-SWITCH-TIMEOUT (section 4.2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from ipaddress import IPv6Address
from itertools import count

from control.bootstrap.job import SwitchTimeouts
from control.bootstrap.scheduler import RateGate
from control.mobility.binding_cache import Binding
from control.mobility.messages import HomeAgentSwitch

_TIMEOUTS = SwitchTimeouts(initial_s=5.0, maximum_s=20.0)
_BURST_S = 0.1
# A Mobility Header has room for 127, a packet of 1,280 bytes, protected, for some 70.
_ADDRESSES_NAMED = 64

Send = Callable[[HomeAgentSwitch, IPv6Address, IPv6Address, float], bool]
"""Sends a message to a home address at a care-of address, now; whether a security association allowed it."""


@dataclass(frozen=True, slots=True)
class DepartureProgress:
    """How far it is, since there was nothing to do.

    Attributes:
        total: nodes that are to leave.
        left: those that have de-registered, or whose binding has ended.
        silent: those that did not obey.
        waiting: those that have not been told yet, or have not answered.
    """

    total: int = 0
    left: int = 0
    silent: int = 0
    waiting: int = 0


@dataclass(slots=True)
class _Departure:
    home_address: IPv6Address
    addresses: tuple[IPv6Address, ...]
    timeout_s: float = _TIMEOUTS.initial_s


class Departures:
    """All nodes that are to leave."""

    def __init__(self, send: Send, binding: Callable[[IPv6Address], Binding | None], rate_per_s: float) -> None:
        """Nobody leaves yet.

        Args:
            send: sends a protected message.
            binding: the present binding of a home address.
            rate_per_s: most nodes told for the first time in a second.
        """
        self._send = send
        self._binding = binding
        self._gate = RateGate(rate_per_s, max(1.0, rate_per_s * _BURST_S))
        self._departures: dict[IPv6Address, _Departure] = {}
        self._untold: deque[_Departure] = deque()
        self._timers: list[tuple[float, int, _Departure]] = []
        self._tickets = count()
        self._left = 0
        self._silent = 0

    @property
    def active(self) -> bool:
        """Whether any node still has to leave."""
        return bool(self._departures)

    @property
    def progress(self) -> DepartureProgress:
        """How far it is."""
        waiting = len(self._departures)
        return DepartureProgress(waiting + self._left + self._silent, self._left, self._silent, waiting)

    def begin(self, home_addresses: Iterable[IPv6Address], addresses: Sequence[IPv6Address]) -> int:
        """Have nodes leave for one of ``addresses``, home agents that are as good as each other.

        Each is the first one for as many nodes, as nodes take them in order (RFC 5142 section 6.2). A node is told 64
        of them at most.

        Returns:
            How many nodes are new.
        """
        if not self._departures:
            self._left = self._silent = 0
        added = 0
        for home_address in home_addresses:
            if home_address not in self._departures:
                first = added % max(1, len(addresses))
                rotated = (*addresses[first:], *addresses[:first])
                departure = _Departure(home_address, rotated[:_ADDRESSES_NAMED])
                self._departures[home_address] = departure
                self._untold.append(departure)
                added += 1
        return added

    def gone(self, home_address: IPv6Address) -> bool:
        """A binding has ended. Returns whether its node was to leave."""
        if self._departures.pop(home_address, None) is None:
            return False
        self._left += 1
        return True

    def cancel(self) -> None:
        """Let those stay that have not left."""
        self._departures.clear()
        self._untold.clear()
        self._timers.clear()

    def next_timer(self) -> float | None:
        """When :meth:`handle_timer` wants to be called (monotonic seconds), None for never."""
        times = [self._timers[0][0]] if self._timers else []
        if self._untold:
            times.append(self._gate.opens_at)
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Tell those whose turn it is, and again those that have not answered."""
        while self._timers and self._timers[0][0] <= now:
            departure = heappop(self._timers)[2]
            if self._departures.get(departure.home_address) is departure:
                self._again(departure, now)
        while self._untold and now >= self._gate.opens_at:
            departure = self._untold.popleft()
            if self._departures.get(departure.home_address) is departure:
                self._gate.take(now)
                self._tell(departure, now)

    def _again(self, departure: _Departure, now: float) -> None:
        departure.timeout_s *= 2
        if departure.timeout_s > _TIMEOUTS.maximum_s:
            del self._departures[departure.home_address]
            self._silent += 1
        else:
            self._tell(departure, now)

    def _tell(self, departure: _Departure, now: float) -> None:
        binding = self._binding(departure.home_address)
        if binding is None:
            self.gone(departure.home_address)
            return
        message = HomeAgentSwitch(addresses=departure.addresses, bootstrap=False)
        self._send(message, binding.home_address, binding.care_of_address, now)
        heappush(self._timers, (now + departure.timeout_s, next(self._tickets), departure))
