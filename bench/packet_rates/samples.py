"""Repeated measurements of one thing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Samples:
    """Figures of one case, each with the figure of the floor that was measured just before it.

    Cores change their speed by a factor within a second, so the ratio is taken pair by pair. What waits for memory
    changes less than the floor does, so that pairs on a slow core have the smaller ratio.
    """

    values: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)

    def add(self, value: float, floor: float) -> None:
        """One pair."""
        self.values.append(value)
        self.floors.append(floor)

    def summary(self) -> dict[str, float]:
        """Least and median."""
        return summary(self.values)

    def ratios(self) -> dict[str, float]:
        """How many times the floor: least by least, and the median of the pairs."""
        pairs = [value / floor for value, floor in zip(self.values, self.floors, strict=True)]
        return {
            "min": round(min(self.values) / min(self.floors), 2),
            "median": round(statistics.median(pairs), 2),
        }


def summary(values: Sequence[float], digits: int = 1) -> dict[str, float]:
    """Least and median of a series."""
    return {"min": round(min(values), digits), "median": round(statistics.median(values), digits)}
