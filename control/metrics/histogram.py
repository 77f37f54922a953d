"""Durations counted by upper bound, as Prometheus' histograms are."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

_EXCHANGE_BOUNDS_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_SHORT_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_LONG_BOUNDS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class DurationHistogram:
    """Counts durations by upper bound."""

    def __init__(self, bounds_s: tuple[float, ...] = _EXCHANGE_BOUNDS_S) -> None:
        self._bounds = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one duration."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum_s += seconds

    def snapshot(self) -> DurationSnapshot:
        """What was counted up to now."""
        return DurationSnapshot(self._bounds, tuple(self._counts), self._sum_s)


@dataclass(frozen=True, slots=True)
class DurationSnapshot:
    """A histogram at one moment.

    Attributes:
        bounds_s: upper bounds, ascending, in seconds.
        counts: durations above the bound before and up to this one; the last is for those above all bounds.
        sum_s: sum of all durations.
    """

    bounds_s: tuple[float, ...] = _EXCHANGE_BOUNDS_S
    counts: tuple[int, ...] = (0,) * (len(_EXCHANGE_BOUNDS_S) + 1)
    sum_s: float = 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus wants them."""
        total, buckets = 0, []
        for bound, count in zip((*self.bounds_s, float("inf")), self.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), float(total)))
        return buckets


def _short() -> DurationHistogram:
    return DurationHistogram(_SHORT_BOUNDS_S)


def _long() -> DurationHistogram:
    return DurationHistogram(_LONG_BOUNDS_S)


@dataclass(frozen=True, slots=True)
class Instruments:
    """The histograms of a daemon, by name of the metric.

    Attributes:
        handshake: from IKE_SA_INIT to the security associations for the Mobility Header, towards nodes brought back.
        bootstrap: from the moment a node was queued to be brought back until its registration was acknowledged.
        binding_update: from the arrival of an accepted Binding Update until its acknowledgement was sent.
        event_loop_lag: how late the event loop comes to a timer.
        store_operation: time the state store takes for an operation, without waiting for its turn.
    """

    handshake: DurationHistogram = field(default_factory=DurationHistogram)
    bootstrap: DurationHistogram = field(default_factory=_long)
    binding_update: DurationHistogram = field(default_factory=_short)
    event_loop_lag: DurationHistogram = field(default_factory=_short)
    store_operation: DurationHistogram = field(default_factory=_short)

    def snapshot(self) -> dict[str, DurationSnapshot]:
        """All of them at one moment."""
        return {
            "handshake": self.handshake.snapshot(),
            "bootstrap": self.bootstrap.snapshot(),
            "binding_update": self.binding_update.snapshot(),
            "event_loop_lag": self.event_loop_lag.snapshot(),
            "store_operation": self.store_operation.snapshot(),
        }
