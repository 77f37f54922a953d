"""So many times a second, whatever the loop around it does."""

from __future__ import annotations

_LARGEST_BACKLOG_S = 0.1
"""After a hold-up not more than this much is made up for at once."""


class Pace:
    """Something that is due ``rate_per_s`` times a second, the first time at once.

    Attributes:
        next_at: when it is due next (monotonic seconds).
    """

    __slots__ = ("_interval_s", "next_at")

    def __init__(self, rate_per_s: float, now: float) -> None:
        """Begin.

        Args:
            rate_per_s: more than 0.
            now: monotonic seconds.
        """
        self.next_at = now
        self._interval_s = 1 / rate_per_s

    def catch_up(self, now: float) -> None:
        """Forget what has been due for too long."""
        self.next_at = max(self.next_at, now - _LARGEST_BACKLOG_S)

    def take(self, now: float) -> bool:
        """Whether it is due; if so, it counts as done."""
        if self.next_at > now:
            return False
        self.next_at += self._interval_s
        return True
