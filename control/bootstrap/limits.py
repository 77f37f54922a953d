"""What a scheduler keeps to, whatever its bound on attempts under way."""

from __future__ import annotations

from control.records import Record


class Limits(Record, frozen=True):
    """Bounds on the pace, on retries and on patience.

    Attributes:
        rate_per_s: most attempts begun per second; a tenth of a second's worth may come at once, but no more than
            ``largest_burst``.
        attempts: most attempts per key.
        backoff_initial_s: upper end of the first random wait; it doubles with each attempt. The wait is drawn from all
            of zero to the upper end ("full jitter"), so that keys which failed together do not come back together.
        backoff_max_s: upper end of any wait.
        give_up_after_s: no attempt begins when a key has spent this long in attempts and waits between them. Time spent
            waiting for a turn, because others are under way, does not count.
        total_give_up_after_s: whatever is left this long after the scheduler was last idle is given up; 0: never.
        reserve: share of the concurrency, from 0 to below 1, that is left to exchanges the nodes begin.
        largest_burst: most attempts begun at once: to begin with a node takes a fraction of a millisecond, in which
            nothing else happens.

    Raises:
        ValueError: a bound that would let nothing happen.
    """

    rate_per_s: float
    attempts: int
    backoff_initial_s: float
    backoff_max_s: float
    give_up_after_s: float
    total_give_up_after_s: float = 0.0
    reserve: float = 0.0
    largest_burst: int = 16

    def __post_init__(self) -> None:
        """Refuse what lets nothing happen."""
        if self.attempts < 1 or self.rate_per_s <= 0 or not 0 <= self.reserve < 1:
            raise ValueError("attempts must be at least 1, the rate above 0, the reserve from 0 to below 1")
