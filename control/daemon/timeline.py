"""The timeline: what happened, kept for late watchers and handed to those who follow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

from control.home_agent.events import Happening

_KEPT = 20_000
_FOLLOWER_QUEUE = 20_000

Row = dict[str, object]


class Timeline:
    """Events with the wall-clock time they happened at."""

    def __init__(self) -> None:
        self._kept: deque[Row] = deque(maxlen=_KEPT)
        self._followers: set[asyncio.Queue[Row]] = set()

    def add(self, happenings: Iterable[Happening], wall: float) -> None:
        """Record events; a follower that does not keep up loses the oldest it has not read."""
        for happening in happenings:
            row: Row = {"time": round(wall, 6), "event": happening.event.value}
            if happening.node is not None:
                row["node"] = happening.node
            row.update(happening.detail)
            self._kept.append(row)
            for queue in self._followers:
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(row)

    def recent(self) -> list[Row]:
        """The rows still kept, oldest first."""
        return list(self._kept)

    def follow(self) -> asyncio.Queue[Row]:
        """A queue that gets every further row until :meth:`unfollow`."""
        queue: asyncio.Queue[Row] = asyncio.Queue(_FOLLOWER_QUEUE)
        self._followers.add(queue)
        return queue

    def unfollow(self, queue: asyncio.Queue[Row]) -> None:
        """Stop following."""
        self._followers.discard(queue)
