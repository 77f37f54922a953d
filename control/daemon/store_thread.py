"""The state store in a thread of its own: a store that is slow, or gone, holds up no packet and no timer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from control.cluster.store import StateStore

_Result = TypeVar("_Result")


class StoreThread:
    """Runs operations on one store, one after the other in the order they were asked for."""

    def __init__(self, store: StateStore, observe: Callable[[float], None] | None = None) -> None:
        """Begin.

        Args:
            store: used by no other thread.
            observe: told how many seconds each operation took, in the thread of the store.
        """
        self._store = store
        self._observe = observe
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def run(self, operation: Callable[[StateStore], _Result]) -> _Result:
        """What ``operation`` returns.

        Raises:
            StoreError: as the store does.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._timed, operation)

    @property
    def refused_records(self) -> Mapping[str, int]:
        """Records that were left out because they could not be understood, by kind."""
        return self._store.refused_records.copy()

    def close(self) -> None:
        """Finish what was begun, drop what was not, and close the store."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._store.close()

    def _timed(self, operation: Callable[[StateStore], _Result]) -> _Result:
        began = time.perf_counter()
        try:
            return operation(self._store)
        finally:
            if self._observe is not None:
                self._observe(time.perf_counter() - began)
