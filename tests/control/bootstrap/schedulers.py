"""Schedulers for tests."""

from __future__ import annotations

import random

from control.bootstrap.concurrency import FixedConcurrency
from control.bootstrap.scheduler import Scheduler


def make_scheduler(**changes: object) -> Scheduler:
    """One with small bounds, but for what is given; ``concurrency`` may be a number or a policy."""
    values: dict[str, object] = {
        "concurrency": 4,
        "rate_per_s": 50.0,
        "attempts": 3,
        "backoff_initial_s": 1.0,
        "backoff_max_s": 8.0,
        "give_up_after_s": 100.0,
        "random": random.Random(1),
    }
    values |= changes
    if isinstance(values["concurrency"], int):
        values["concurrency"] = FixedConcurrency(values["concurrency"])
    return Scheduler(**values)  # type: ignore[arg-type]
