"""Deadlines of many objects in a heap."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """Something with at most one deadline.

    Attributes:
        deadline: when it wants attention, None for never. Changed only by the heap it is in.
    """

    deadline: float | None


Item = TypeVar("Item", bound=Timed)


class TimerHeap(Generic[Item]):
    """Finds the next deadline in logarithmic time; a changed deadline leaves its old entry to be skipped later."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Item]] = []
        self._order = count()
        self._stale = 0

    def __len__(self) -> int:
        return len(self._entries)

    def set(self, item: Item, deadline: float | None) -> None:
        """Give ``item`` this deadline instead of the one it had."""
        if item.deadline == deadline:
            return
        if item.deadline is not None:
            self._stale += 1
        item.deadline = deadline
        if deadline is not None:
            heappush(self._entries, (deadline, next(self._order), item))
        if self._stale > 64 and self._stale > len(self._entries) // 2:
            self._rebuild()

    def next_deadline(self) -> float | None:
        """The earliest deadline of all, None if there is none."""
        self._drop_stale()
        return self._entries[0][0] if self._entries else None

    def pop_due(self, now: float) -> Item | None:
        """An item whose deadline has come, which loses it; None if there is none."""
        self._drop_stale()
        if not self._entries or self._entries[0][0] > now:
            return None
        item = heappop(self._entries)[2]
        item.deadline = None
        return item

    def _drop_stale(self) -> None:
        while self._entries and self._entries[0][2].deadline != self._entries[0][0]:
            heappop(self._entries)
            self._stale -= 1

    def _rebuild(self) -> None:
        # Without this an SA's old deadlines would keep it in memory after it is gone.
        self._entries = sorted(entry for entry in self._entries if entry[2].deadline == entry[0])
        self._stale = 0
