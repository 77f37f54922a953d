"""Has changes of the data path wait while an upgrade exchanges its maps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class WriteGate:
    """What every change of the maps goes through, but for what the program itself finds out again."""

    def __init__(self) -> None:
        """Open."""
        self._lock = asyncio.Lock()
        self._is_closed = False
        self._left: list[Callable[[], None]] = []

    @property
    def is_closed(self) -> bool:
        """Whether maps are being exchanged."""
        return self._is_closed

    def change(self, change: Callable[[], None]) -> None:
        """Makes a change that nobody waits for: now, or once the gate is open again."""
        if self._is_closed:
            self._left.append(change)
        else:
            change()

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Waits until changes can be made, and keeps the gate open for the length of the block."""
        async with self._lock:
            if self._is_closed:  # for good: the daemon is about to end
                await asyncio.get_running_loop().create_future()
            yield

    @asynccontextmanager
    async def closed(self, reopen: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Lets no change through for the length of the block.

        Args:
            reopen: finds the maps again that are in force then; if it fails, the gate stays closed.
        """
        async with self._lock:
            self._is_closed = True
            try:
                yield
            finally:
                await reopen()
                self._is_closed = False
                left, self._left = self._left, []
                for change in left:
                    change()
