"""Deadlines of many objects in a heap."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """Something that wants attention at some time.

    Attributes:
        looked_at: when the heap looks at it next, infinity for never; no later than it wants attention. Changed only by
            the heap.
    """

    looked_at: float


Item = TypeVar("Item", bound=Timed)


class TimerHeap(Generic[Item]):
    """Finds the next deadline in logarithmic time.

    It has to be told of deadlines that come sooner than the last one that it was told of. That others move later, as
    they do all the time, it finds out by itself when the time has come to look.

    Args:
        deadline_of: when an item wants attention, infinity for never.
    """

    def __init__(self, deadline_of: Callable[[Item], float]) -> None:
        self._deadline_of = deadline_of
        self._entries: list[tuple[float, int, Item]] = []
        self._order = count()
        self._stale = 0

    def __len__(self) -> int:
        return len(self._entries)

    def bring_forward(self, item: Item, deadline: float) -> None:
        """Note that ``item`` wants attention by then; without effect if it is looked at sooner."""
        if deadline >= item.looked_at:
            return
        if item.looked_at != math.inf:
            self.remove(item)
        item.looked_at = deadline
        heappush(self._entries, (deadline, next(self._order), item))

    def remove(self, item: Item) -> None:
        """Note that ``item`` wants no attention."""
        if item.looked_at == math.inf:
            return
        item.looked_at = math.inf
        self._stale += 1
        if self._stale > 64 and self._stale > len(self._entries) // 2:
            # Without this an SA's old deadlines would keep it in memory after it is gone.
            self._entries = sorted(entry for entry in self._entries if entry[2].looked_at == entry[0])
            self._stale = 0

    def next_deadline(self) -> float | None:
        """The earliest deadline of all, None if there is none."""
        self._look()
        return self._entries[0][0] if self._entries else None

    def pop_due(self, now: float) -> Item | None:
        """An item whose deadline has come, to be brought forward for its next one; None if there is none."""
        self._look()
        if not self._entries or self._entries[0][0] > now:
            return None
        item = heappop(self._entries)[2]
        item.looked_at = math.inf
        return item

    def _look(self) -> None:
        """Have the item with the earliest deadline on top, and that deadline right."""
        while self._entries:
            at, _, item = self._entries[0]
            is_current = item.looked_at == at
            deadline = self._deadline_of(item) if is_current else math.inf
            if deadline <= at:
                return
            heappop(self._entries)
            if is_current:
                item.looked_at = math.inf
                self.bring_forward(item, deadline)
            else:
                self._stale -= 1
