"""Schedulers for tests."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from control.bootstrap.concurrency import ConcurrencyPolicy, FixedConcurrency
from control.bootstrap.limits import Limits
from control.bootstrap.scheduler import Scheduler


def make_scheduler(
    *,
    concurrency: int | ConcurrencyPolicy = 4,
    random: Random | None = None,
    others_in_flight: Callable[[], int] = int,
    **limits: float,
) -> Scheduler:
    """One with small bounds, but for what is given."""
    small = Limits(rate_per_s=50.0, attempts=3, backoff_initial_s=1.0, backoff_max_s=8.0, give_up_after_s=100.0)
    return Scheduler(
        FixedConcurrency(concurrency) if isinstance(concurrency, int) else concurrency,
        replace(small, **limits),  # type: ignore[arg-type]
        random or Random(1),
        others_in_flight,
    )
