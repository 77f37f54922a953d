"""How many attempts may be under way at once: a fixed number, or as many as this machine and the network bear.

Both adaptive policies look at windows: some tens of attempts that ended. Too many at once shows in three ways: attempts
take longer than they did when few were under way (a queue builds up here, on the way or at the peers), this CPU is busy
(the event loop comes late to its timers, or what has arrived has to wait), or attempts fail. A window in which the
bound was not reached says nothing about a higher one, so the bound does not grow then. At first it doubles with every
window, until one of those signs is seen: with thousands of nodes waiting, time with too little under way counts.

A handful is always under way. Where the signs stay with so few, others keep this machine busy or the nodes are gone,
and to hold back more would only leave those that can be reached without service for longer.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Protocol

_SAMPLES = 16
_LAG_LIMIT_S = 0.05
# Once is another process's doing, or the garbage collector's.
_LATE_LIMIT = 0.25
_FAILURE_LIMIT = 0.2
_FULL_SHARE = 0.8
_EARLY_GROWTH = 2.0
# Exchanges that take so many times as long as the shortest: a short queue, which keeps everybody busy, and a long one.
_QUEUE = 2.0
_LONG_QUEUE = 4.0
_LEAST = 8
_LEAST_SHARE = 4  # of a highest bound that is itself small, the least is so small a part
_AIMD_STEP = 4.0
_DECREASE = 0.7
_STEEPEST = 0.5
_SMOOTHING = 0.6
# The shortest delay is forgotten slowly, so that a path that became longer is not taken for a queue for ever.
_FORGETTING = 1.003


class ConcurrencyPolicy(Protocol):
    """Decides the bound; told of everything it could depend on."""

    @property
    def limit(self) -> int:
        """Most attempts under way at once, at least 1."""
        ...

    def succeeded(self, delay_s: float, in_flight: int) -> None:
        """An attempt came to its end after ``delay_s`` seconds; ``in_flight`` were under way, itself included."""
        ...

    def failed(self, in_flight: int) -> None:
        """An attempt failed for want of an answer."""
        ...

    def lagged(self, lag_s: float) -> None:
        """The event loop came ``lag_s`` seconds late to a timer."""
        ...


class FixedConcurrency:
    """Always the same bound."""

    def __init__(self, limit: int) -> None:
        """Take ``limit``, at least 1.

        Raises:
            ValueError: it would let nothing happen.
        """
        if limit < 1:
            raise ValueError("concurrency must be at least 1")
        self.limit = limit

    def succeeded(self, delay_s: float, in_flight: int) -> None:
        """Changes nothing."""

    def failed(self, in_flight: int) -> None:
        """Changes nothing."""

    def lagged(self, lag_s: float) -> None:
        """Changes nothing."""


class _Window:
    """What was seen since the bound was last set."""

    def __init__(self) -> None:
        self.delays_s: list[float] = []
        self.failures = 0
        self.most_in_flight = 0
        self.lags = 0
        self.late = 0

    @property
    def full(self) -> bool:
        return len(self.delays_s) + self.failures >= max(_SAMPLES, self.most_in_flight // 2)

    @property
    def delay_s(self) -> float | None:
        """The median: one lost datagram costs an attempt half a second or more, and must not look like a queue."""
        return max(median(self.delays_s), 1e-6) if self.delays_s else None

    @property
    def overloaded(self) -> bool:
        """Whether this CPU is late, or too many attempts fail."""
        ended = len(self.delays_s) + self.failures
        return self.late > _LATE_LIMIT * self.lags or self.failures > _FAILURE_LIMIT * ended


class _Adaptive:
    """Gathers windows and sets the bound at the end of each."""

    def __init__(self, highest: int, initial: int) -> None:
        if not 1 <= initial <= highest:
            raise ValueError("the initial concurrency must be from 1 to the highest")
        self._highest = float(highest)
        self._least = float(max(1, min(_LEAST, highest // _LEAST_SHARE)))
        self._limit = float(initial)
        self._window = _Window()
        self._shortest_s: float | None = None
        self._early = True

    @property
    def limit(self) -> int:
        """See :class:`ConcurrencyPolicy`."""
        return int(self._limit)

    def succeeded(self, delay_s: float, in_flight: int) -> None:
        """See :class:`ConcurrencyPolicy`."""
        self._window.delays_s.append(delay_s)
        self._ended(in_flight)

    def failed(self, in_flight: int) -> None:
        """See :class:`ConcurrencyPolicy`."""
        self._window.failures += 1
        self._ended(in_flight)

    def lagged(self, lag_s: float) -> None:
        """See :class:`ConcurrencyPolicy`."""
        self._window.lags += 1
        self._window.late += lag_s > _LAG_LIMIT_S

    def _ended(self, in_flight: int) -> None:
        window = self._window
        window.most_in_flight = max(window.most_in_flight, in_flight)
        if window.full:
            self._window = _Window()
            wanted = self._next(window, window.most_in_flight >= _FULL_SHARE * self.limit)
            self._limit = min(self._highest, max(self._least, wanted))

    def _next(self, window: _Window, reached: bool) -> float:
        slowness = self._slowness(window.delay_s)
        if window.overloaded or slowness > _QUEUE:
            self._early = False
        if window.overloaded:
            return self._limit * _DECREASE
        if self._early and reached:
            return self._limit * _EARLY_GROWTH
        return self._wanted(slowness, reached)

    def _slowness(self, delay_s: float | None) -> float:
        """How many times the shortest delay this one is; 1 where nothing is known."""
        if delay_s is None:
            return 1.0
        self._shortest_s = delay_s if self._shortest_s is None else min(delay_s, self._shortest_s * _FORGETTING)
        return delay_s / self._shortest_s

    def _wanted(self, slowness: float, reached: bool) -> float:
        raise NotImplementedError


class AimdConcurrency(_Adaptive):
    """Additive increase while all is well, multiplicative decrease when it is not.

    That is when this CPU is late, attempts fail, or a queue has become long.
    """

    def __init__(self, highest: int, initial: int = 16) -> None:
        """Begin at ``initial``, and never pass ``highest``.

        Raises:
            ValueError: they do not fit together.
        """
        super().__init__(highest, min(initial, highest))

    def _wanted(self, slowness: float, reached: bool) -> float:
        if slowness > _LONG_QUEUE:
            return self._limit * _DECREASE
        return self._limit + (_AIMD_STEP if reached else 0.0)


class GradientConcurrency(_Adaptive):
    """Follows the ratio of the shortest delay to the present one; what it adds lets a short queue form."""

    def __init__(self, highest: int, initial: int = 16) -> None:
        """Begin at ``initial``, and never pass ``highest``.

        Raises:
            ValueError: they do not fit together.
        """
        super().__init__(highest, min(initial, highest))

    def _wanted(self, slowness: float, reached: bool) -> float:
        if not reached:
            return self._limit
        gradient = max(_STEEPEST, min(1.0, _QUEUE / slowness))
        target = self._limit * gradient + math.sqrt(self._limit)
        return (1 - _SMOOTHING) * self._limit + _SMOOTHING * target
