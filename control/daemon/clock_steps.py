"""Lifetimes of bindings when the wall clock is set.

They end at a time by the wall clock, which survives restarts and is the same for all home agents. What a node was
promised is a length of time: a clock that is set forward must not end its binding before that is over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from control.cluster.store import Lease, StoreError
from control.mobility.binding_cache import BindingCache

_LOG = logging.getLogger(__name__)

_STEP_S = 1.0
"""Less than that from one look to the next is a clock that is being adjusted, or a busy machine."""


class ClockSteps:
    """Looks whether the clock was set, and has the bindings follow it: in the cache at once, in the store when it can.

    The store's are for the next start, and for those who take over.
    """

    def __init__(
        self,
        cache: BindingCache,
        republish: Callable[[Lease], Awaitable[None]],
        longest_s: float,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        """The clock is right as it is.

        Args:
            cache: the bindings.
            republish: writes them to the store again.
            longest_s: no binding lasts longer than that from now on.
            wall: seconds since the epoch.
            elapsed: seconds that only pass, also while the machine sleeps.
        """
        self._cache = cache
        self._republish = republish
        self._longest_s = longest_s
        self._wall = wall
        self._elapsed = elapsed
        self._offset = wall() - elapsed()
        self._is_untold = False

    def follow(self) -> float:
        """Look; returns the time (seconds since the epoch) by which the lifetimes are right now."""
        wall = self._wall()
        offset = wall - self._elapsed()
        step_s, self._offset = offset - self._offset, offset
        if abs(step_s) >= _STEP_S:
            self._cache.shift(step_s, wall + self._longest_s)
            self._is_untold = bool(len(self._cache))
            _LOG.warning("the clock was set by %+.1f s: the lifetimes of %d bindings follow", step_s, len(self._cache))
        return wall

    async def tell_store(self, lease: Lease | None) -> None:
        """Have the store know as well; a store that does not answer is told at one of the next calls."""
        if not self._is_untold or lease is None:
            return
        try:
            await self._republish(lease)
        except StoreError:
            return  # the membership tells of a store that does not answer
        self._is_untold = False
