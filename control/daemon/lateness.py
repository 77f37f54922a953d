"""Whether an event loop that is late has itself to blame."""

from __future__ import annotations

import time
from collections.abc import Callable

_BUSY_SHARE = 0.5


class OwnLateness:
    """Tells lateness by own work from lateness by others on the machine, or beside it on the same host.

    To do less helps against the first. Against the second it only leaves nodes without service for longer.
    """

    def __init__(self, clock: Callable[[], float], cpu_clock: Callable[[], float] = time.process_time) -> None:
        """Begin.

        Args:
            clock: monotonic seconds.
            cpu_clock: seconds for which this process has had a processor.
        """
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._asked_at, self._cpu_s = clock(), cpu_clock()

    def of(self, late_s: float) -> float:
        """``late_s`` if this process has worked for at least half of the time since the last question, else 0."""
        now, cpu_s = self._clock(), self._cpu_clock()
        worked_s, passed_s = cpu_s - self._cpu_s, now - self._asked_at
        self._asked_at, self._cpu_s = now, cpu_s
        return late_s if worked_s >= _BUSY_SHARE * passed_s else 0.0
