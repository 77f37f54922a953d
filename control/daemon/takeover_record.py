"""When nodes were brought back and how it went: what a chart of the takeover is drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from control.bootstrap.scheduler import Progress
from control.home_agent.events import Happening, TimelineEvent
from control.metrics import TakeoverSample

_SAMPLES = 240
_FIRST_INTERVAL_S = 0.25


class TakeoverRecord:
    """The latest takeover, sampled: however long it lasts, so many samples at most.

    Attributes:
        started_at, finished_at: seconds since the epoch; 0 for never.
        given_up: nodes given up since the daemon started, by reason, those included that no attempt was made for.
    """

    def __init__(self, samples: int = _SAMPLES) -> None:
        self.started_at = 0.0
        self.finished_at = 0.0
        self.given_up: Counter[str] = Counter()
        self._limit = samples
        self._history: list[TakeoverSample] = []
        self._interval_s = _FIRST_INTERVAL_S

    @property
    def history(self) -> tuple[TakeoverSample, ...]:
        """Samples since the latest start, oldest first."""
        return tuple(self._history)

    def begin(self, wall: float) -> None:
        """Nodes are brought back from now on, and none were before."""
        self.started_at = wall
        self._history = [TakeoverSample(wall, 0, 0, 0)]
        self._interval_s = _FIRST_INTERVAL_S

    def sample(self, progress: Progress, wall: float) -> None:
        """This is how far it is; what comes soon after another sample is left out."""
        if self._history and wall - self._history[-1].at >= self._interval_s:
            self._add(progress, wall)

    def happened(self, happenings: Iterable[Happening], progress: Callable[[], Progress], wall: float) -> None:
        """Take note of what went into the timeline; ``progress`` is asked for at the end of a takeover."""
        for happening in happenings:
            if happening.event is TimelineEvent.GIVEN_UP:
                self.given_up[str(happening.detail.get("reason"))] += 1
            elif happening.event is TimelineEvent.TAKEOVER_FINISHED:
                self.finished_at = wall
                self._add(progress(), wall)

    def _add(self, progress: Progress, wall: float) -> None:
        self._history.append(TakeoverSample(wall, progress.recovered, progress.given_up, progress.in_flight))
        if len(self._history) >= self._limit:
            # Half as dense from now on, and so far.
            self._history = [*self._history[:-1:2], self._history[-1]]
            self._interval_s *= 2
