"""Which kind of state store a place asks for."""

from __future__ import annotations

from pathlib import Path

from control.cluster.redis_address import RedisAddress
from control.cluster.sqlite_store import SqliteStore
from control.cluster.store import StateStore


def open_store(place: Path | RedisAddress) -> StateStore:
    """Open a store.

    Args:
        place: the path of an SQLite file, or where a Redis server is.

    Raises:
        StoreError: it cannot be opened.
    """
    if not isinstance(place, RedisAddress):
        return SqliteStore(place)
    # With the client library, which takes a fifth of the time that a daemon starts in.
    from control.cluster.redis_store import RedisStore

    return RedisStore(place)
