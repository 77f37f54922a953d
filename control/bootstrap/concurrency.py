"""How many attempts may be under way at once: a fixed number, or as many as this machine and the network bear.

Both adaptive policies look at windows: some tens of attempts that ended. Too many at once shows in three ways: attempts
take longer than they did when few were under way (a queue builds up here, on the way or at the peers), the event loop
comes late to its timers (this CPU is busy), or attempts fail. A window in which the bound was not reached says nothing
about a higher one, so the bound does not grow then.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Protocol

_SAMPLES = 16
_LAG_LIMIT_S = 0.05
_FAILURE_LIMIT = 0.2
_FULL_SHARE = 0.8
_AIMD_STEP = 4.0
_AIMD_DECREASE = 0.7
_GRADIENT_TOLERANCE = 2.0
_STEEPEST = 0.5
_SMOOTHING = 0.6
# The shortest delay is forgotten slowly, so that a path that became longer is not taken for a queue for ever.
_FORGETTING = 1.01


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
        self.worst_lag_s = 0.0

    @property
    def full(self) -> bool:
        return len(self.delays_s) + self.failures >= max(_SAMPLES, self.most_in_flight // 2)

    @property
    def overloaded(self) -> bool:
        """Whether this CPU is late, or too many attempts fail."""
        ended = len(self.delays_s) + self.failures
        return self.worst_lag_s > _LAG_LIMIT_S or self.failures > _FAILURE_LIMIT * ended


class _Adaptive:
    """Gathers windows and sets the bound at the end of each."""

    def __init__(self, highest: int, initial: int) -> None:
        if not 1 <= initial <= highest:
            raise ValueError("the initial concurrency must be from 1 to the highest")
        self._highest = highest
        self._limit = float(initial)
        self._window = _Window()

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
        self._window.worst_lag_s = max(self._window.worst_lag_s, lag_s)

    def _ended(self, in_flight: int) -> None:
        window = self._window
        window.most_in_flight = max(window.most_in_flight, in_flight)
        if window.full:
            self._window = _Window()
            wanted = self._wanted(window, window.most_in_flight >= _FULL_SHARE * self.limit)
            self._limit = min(float(self._highest), max(1.0, wanted))

    def _wanted(self, window: _Window, reached: bool) -> float:
        raise NotImplementedError


class AimdConcurrency(_Adaptive):
    """Additive increase while all is well, multiplicative decrease when this CPU is late or attempts fail."""

    def __init__(self, highest: int, initial: int = 16) -> None:
        """Begin at ``initial`` and never pass ``highest``.

        Raises:
            ValueError: they do not fit together.
        """
        super().__init__(highest, min(initial, highest))

    def _wanted(self, window: _Window, reached: bool) -> float:
        if window.overloaded:
            return self._limit * _AIMD_DECREASE
        return self._limit + (_AIMD_STEP if reached else 0.0)


class GradientConcurrency(_Adaptive):
    """Follows the ratio of the shortest delay to the present one; what it adds lets a short queue form.

    The delay of a window is its median: one lost datagram costs an attempt half a second or more, and must not look
    like a queue.
    """

    def __init__(self, highest: int, initial: int = 16) -> None:
        """Begin at ``initial`` and never pass ``highest``.

        Raises:
            ValueError: they do not fit together.
        """
        super().__init__(highest, min(initial, highest))
        self._shortest_s: float | None = None

    def _wanted(self, window: _Window, reached: bool) -> float:
        if window.overloaded:
            return self._limit * _AIMD_DECREASE
        if not reached or not window.delays_s:
            return self._limit
        delay_s = max(median(window.delays_s), 1e-6)
        shortest_s = delay_s if self._shortest_s is None else min(delay_s, self._shortest_s * _FORGETTING)
        self._shortest_s = shortest_s
        gradient = max(_STEEPEST, min(1.0, _GRADIENT_TOLERANCE * shortest_s / delay_s))
        target = self._limit * gradient + math.sqrt(self._limit)
        return (1 - _SMOOTHING) * self._limit + _SMOOTHING * target
