"""How the garbage collector, and the change between threads, are set up in a home agent's process."""

from __future__ import annotations

import gc
import sys

# A handshake makes some thousands of objects that die with it, and few cycles: the default of 700 walks them in vain,
# which takes 50 of 800 microseconds.
_COLLECT_AFTER_ALLOCATIONS = 50_000
_COLLECTIONS_BEFORE_OLDER = 10
_SMALL_PART = 15_000
_NEVER = 1_000_000
# The thread of the store gives the interpreter away at every step of a transaction and has to wait for it each time: by
# default for up to 5 ms while the event loop is busy.
_SWITCH_INTERVAL_S = 0.001


def settle() -> None:
    """What exists now lives as long as the process: leave it alone, and look at the rest less often than by default."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER_ALLOCATIONS)
    sys.setswitchinterval(_SWITCH_INTERVAL_S)


def allow_full_collections(allowed: bool) -> None:
    """Whether collections may look at everything, which halts the process for some time where there is much.

    A takeover makes more objects in a minute than a day of service, and nearly all of them stay. Until it is over they
    are looked at in small parts, twice, and then left alone.

    Args:
        allowed: by default they are.
    """
    if allowed:
        gc.set_threshold(_COLLECT_AFTER_ALLOCATIONS, _COLLECTIONS_BEFORE_OLDER, _COLLECTIONS_BEFORE_OLDER)
    else:
        gc.set_threshold(_SMALL_PART, 1, _NEVER)
