"""What echo probes say about each target: losses, gaps, and the first answer after an event."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class TargetHistory:
    """Probes of one target; times in seconds on one monotonic clock."""

    sent: int = 0
    received: int = 0
    last_reply_at: float | None = None
    #: (last reply before, first reply after) for every silence longer than the tracker's threshold.
    gaps: list[tuple[float, float]] = field(default_factory=list)
    #: When the first probe sent after the mark was answered.
    answered_after_mark_at: float | None = None


class OutageTracker:
    """Keeps the histories of targets 0..n-1. Sans I/O: the caller sends, receives and tells the time."""

    def __init__(self, targets: int, gap_threshold_s: float) -> None:
        self.histories = [TargetHistory() for _ in range(targets)]
        self._gap_threshold_s = gap_threshold_s
        self._mark: float | None = None

    @property
    def marked_at(self) -> float | None:
        """Time of the event set by `mark`."""
        return self._mark

    def mark(self, now: float) -> None:
        """The event (the home agent's failure) happened now: outages are counted from here."""
        self._mark = now
        for history in self.histories:
            history.answered_after_mark_at = None

    def sent(self, target: int) -> None:
        """A probe went out."""
        self.histories[target].sent += 1

    def reply(self, target: int, sent_at: float, now: float) -> bool:
        """A probe sent at `sent_at` was answered; True if it is the target's first sent after the mark."""
        history = self.histories[target]
        history.received += 1
        if history.last_reply_at is not None and now - history.last_reply_at > self._gap_threshold_s:
            history.gaps.append((history.last_reply_at, now))
        history.last_reply_at = now
        first = self._mark is not None and sent_at > self._mark and history.answered_after_mark_at is None
        if first:
            history.answered_after_mark_at = now
        return first

    def outages(self) -> dict[int, float | None]:
        """Seconds from the mark to the first answered probe sent after it, per target; None: not yet."""
        if self._mark is None:
            return {}
        return {
            target: None if history.answered_after_mark_at is None else history.answered_after_mark_at - self._mark
            for target, history in enumerate(self.histories)
        }


def percentile(values: list[float], fraction: float) -> float | None:
    """Nearest-rank percentile of unsorted values (0 < fraction <= 1); None without values."""
    if not values:
        return None
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * fraction // 1))
    return ordered[int(rank) - 1]
