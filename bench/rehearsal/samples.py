"""The survivors, looked at again and again while they bring nodes back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.key_exchange.meter import calibration_loop
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.processes import ProcessUsage

# Asking costs the home agents CPU, which is what is being measured.
_INTERVALS = ((30.0, 0.5), (float("inf"), 1.0))


@dataclass(frozen=True, slots=True)
class Sample:
    """All survivors together at one moment.

    Attributes:
        at: seconds since the failure.
        recovered, given_up, in_flight, retransmissions: sums.
        limit: how many nodes could be under way, summed.
        cpu_s: CPU seconds used since the failure, summed.
        loop_s: CPU seconds that the calibration loop has taken on average since the sample before.
    """

    at: float
    recovered: int
    given_up: int
    in_flight: int
    limit: int
    retransmissions: int
    cpu_s: float
    loop_s: float


class Sampler:
    """Asks every survivor how far it is.

    Attributes:
        samples: so far.
        takeovers: the members `takeover` of their statuses, by name, as last seen.
        usage: of their daemons, by name, as last seen.
        usage_before: the same at the failure.
    """

    def __init__(self, survivors: Sequence[HomeAgentUnderTest]) -> None:
        """Before the failure."""
        self.samples: list[Sample] = []
        self.takeovers: dict[str, Mapping[str, Any]] = {}
        self.usage_before = {agent.name: agent.daemon.usage() for agent in survivors}
        self.usage: dict[str, ProcessUsage] = dict(self.usage_before)
        self._survivors = survivors
        self._loops_s: list[float] = []
        self._failed_at = time.monotonic()
        self._next_at = 0.0

    def begin(self, failed_at: float) -> None:
        """The failure happened then (monotonic seconds)."""
        self._failed_at = failed_at

    @property
    def settled(self) -> int:
        """Nodes recovered or given up, as last seen."""
        return sum(int(each["recovered"]) + int(each["given_up"]) for each in self.takeovers.values())

    @property
    def begun(self) -> list[Mapping[str, Any]]:
        """The takeovers of those survivors that have claimed nodes, as last seen."""
        return [each for each in self.takeovers.values() if each.get("total")]

    def poll(self) -> bool:
        """Look, if it is time again; see how fast a core is in any case. Returns whether it was.

        Raises:
            LabError: a survivor does not answer.
        """
        now = time.monotonic()
        self._loops_s.append(calibration_loop())
        if now < self._next_at:
            return False
        for agent in self._survivors:
            agent.daemon.require_running()
            self.takeovers[agent.name] = agent.status().get("takeover") or {}
            self.usage[agent.name] = agent.daemon.usage()
        # Not when asking began: a survivor that is late with everything is late with this answer, too.
        now = time.monotonic()
        elapsed = now - self._failed_at
        self.samples.append(
            Sample(
                at=elapsed,
                loop_s=fmean(self._loops_s),
                cpu_s=sum(usage.cpu_s - self.usage_before[name].cpu_s for name, usage in self.usage.items()),
                **{
                    name: sum(int(takeover.get(name) or 0) for takeover in self.takeovers.values())
                    for name in ("recovered", "given_up", "in_flight", "limit", "retransmissions")
                },
            )
        )
        self._loops_s.clear()
        self._next_at = now + next(interval for end, interval in _INTERVALS if elapsed < end)
        return True

    @property
    def fastest_loop_s(self) -> float:
        """The calibration loop at its fastest, on average over one interval."""
        return min((sample.loop_s for sample in self.samples), default=0.0)

    def calibrated_cpu_s(self, reference_s: float) -> float:
        """CPU seconds used, each interval's divided by how much slower the cores were then.

        Args:
            reference_s: CPU seconds the calibration loop takes on a core that is not slowed down.
        """
        before_s = [0.0, *(sample.cpu_s for sample in self.samples)]
        return sum(
            (sample.cpu_s - before) * reference_s / sample.loop_s
            for before, sample in zip(before_s, self.samples, strict=False)
        )

    def counted(self, name: str) -> dict[str, int]:
        """A member of the takeovers that counts by reason, summed."""
        total: Counter[str] = Counter()
        for takeover in self.takeovers.values():
            total.update(takeover.get(name) or {})
        return dict(total)
