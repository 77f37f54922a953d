"""Figures of a report as JSON has them: rounded, null where there is nothing to tell."""

from __future__ import annotations

from bench.lab.outages import percentile

_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def rounded(value: float | None, digits: int) -> float | None:
    """The value with so many digits behind the point."""
    return None if value is None else round(float(value), digits)


def distribution(values: list[float], digits: int) -> dict[str, float | None]:
    """Percentiles of the values, and the largest."""
    return {name: rounded(percentile(values, share), digits) for name, share in _SHARES.items()}
