"""Figures of a report as JSON has them: rounded, null where there is nothing to tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.lab.outages import percentile

_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def rounded(value: float | None, digits: int) -> float | None:
    """The value with so many digits behind the point."""
    return None if value is None else round(float(value), digits)


def distribution(values: list[float], digits: int) -> dict[str, float | None]:
    """Percentiles of the values, and the largest; None for what never came, which is infinite among the values."""
    found = {name: percentile(values, share) for name, share in _SHARES.items()}
    return {name: None if value == math.inf else rounded(value, digits) for name, value in found.items()}


def outages_of(answered: Sequence[float], reachable: int) -> dict[str, float | None]:
    """The distribution, in seconds, over all nodes that could be reached: those that are not back count as well."""
    return distribution([*answered, *[math.inf] * (reachable - len(answered))], 3)


def outage_text(seconds: float | None) -> str:
    """One of these for people."""
    return "never" if seconds is None else str(seconds)
