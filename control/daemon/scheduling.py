"""The scheduler of recoveries as the configuration has it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from control.bootstrap.concurrency import (
    AimdConcurrency,
    ConcurrencyPolicy,
    FixedConcurrency,
    GradientConcurrency,
)
from control.bootstrap.limits import Limits
from control.bootstrap.scheduler import Scheduler
from control.config.bootstrap_settings import BootstrapSettings

_CONCURRENCY: Mapping[str, Callable[[int], ConcurrencyPolicy]] = {
    "fixed": FixedConcurrency,
    "aimd": AimdConcurrency,
    "gradient": GradientConcurrency,
}


def scheduler_of(
    settings: BootstrapSettings, dice: random.Random, others_in_flight: Callable[[], int] = int
) -> Scheduler:
    """A scheduler; ``others_in_flight`` counts exchanges that nodes have begun."""
    return Scheduler(
        _CONCURRENCY[settings.policy](settings.concurrency),
        Limits(
            rate_per_s=settings.rate_per_s,
            attempts=settings.attempts,
            backoff_initial_s=settings.backoff_initial_s,
            backoff_max_s=settings.backoff_max_s,
            give_up_after_s=settings.give_up_after_s,
            total_give_up_after_s=settings.total_give_up_after_s,
            reserve=settings.reserve,
        ),
        dice,
        others_in_flight,
    )
