"""The state store in a thread of its own: a store that is slow, or gone, holds up no packet and no timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from control.cluster.store import StateStore

_Result = TypeVar("_Result")


class StoreThread:
    """Runs operations on one store, one after the other in the order they were asked for."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def run(self, operation: Callable[[StateStore], _Result]) -> _Result:
        """What ``operation`` returns.

        Raises:
            StoreError: as the store does.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, operation, self._store)

    def close(self) -> None:
        """Finish what was begun, drop what was not, and close the store."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._store.close()
