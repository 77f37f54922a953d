"""CPU time on a machine that changes its speed: every segment of work stands between two runs of a fixed loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_LOOP = 12_000
_RUNS = 2


def calibration_loop() -> float:
    """CPU seconds of a fixed loop, the least of two runs of about half a millisecond."""
    best = float("inf")
    for _ in range(_RUNS):
        started = time.thread_time()
        total = 0
        for number in range(_LOOP):
            total += number
        best = min(best, time.thread_time() - started)
    return best


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of measured work.

    Attributes:
        cpu_s: CPU seconds it took this thread.
        loop_s: CPU seconds of the calibration loop, the mean of just before and just after.
    """

    cpu_s: float
    loop_s: float


@dataclass(slots=True)
class Meter:
    """Adds up the CPU time of the segments of one piece of work.

    Attributes:
        segments: so far.
        clock: CPU seconds. By default of this thread, not of the process: nothing that is measured starts another one.
    """

    segments: list[Segment] = field(default_factory=list)
    clock: Callable[[], float] = time.thread_time

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure what happens inside."""
        before = calibration_loop()
        started = self.clock()
        yield
        cpu_s = self.clock() - started
        self.segments.append(Segment(cpu_s, (before + calibration_loop()) / 2))

    @property
    def fastest_loop_s(self) -> float:
        """The calibration loop at its fastest."""
        return min(segment.loop_s for segment in self.segments)

    def cpu_s(self, reference_s: float) -> float:
        """CPU seconds of all segments, each divided by the machine's slow-down while it ran.

        Args:
            reference_s: CPU seconds the calibration loop takes on a core that is not slowed down.
        """
        return sum(segment.cpu_s * reference_s / segment.loop_s for segment in self.segments)

    def raw_cpu_s(self) -> float:
        """CPU seconds of all segments as the clock had them."""
        return sum(segment.cpu_s for segment in self.segments)
