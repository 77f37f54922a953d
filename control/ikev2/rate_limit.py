"""A token bucket on the clock it is given."""

from __future__ import annotations


class TokenBucket:
    """Permits ``rate_per_s`` actions a second on average and as many at once.

    Args:
        rate_per_s: tokens gained per second; 0 permits nothing.
    """

    __slots__ = ("_rate", "_tokens", "_updated_at")

    def __init__(self, rate_per_s: float) -> None:
        self._rate = rate_per_s
        self._tokens = rate_per_s
        self._updated_at: float | None = None

    def take(self, now: float) -> bool:
        """Whether one more action is permitted at ``now``."""
        if self._updated_at is not None:
            self._tokens = min(self._rate, self._tokens + (now - self._updated_at) * self._rate)
        self._updated_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
