"""SQLite's errors as typed ones, each with a sentence that says what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from control.cluster.store import StoreError

_PRIMARY_CODE = 0xFF  # an extended result code carries the primary one in its low byte

_KNOWN = {
    sqlite3.SQLITE_BUSY: (
        "locked",
        "is locked by another process.",
        "If it stays so, look for a program that holds the file open in a transaction (fuser FILE) and stop it.",
    ),
    sqlite3.SQLITE_LOCKED: (
        "locked",
        "is locked within this process.",
        "Try again once the other operation has ended.",
    ),
    sqlite3.SQLITE_FULL: (
        "disk-full",
        "cannot grow: the disk is full.",
        "Free space on its file system; nodes repeat what was not acknowledged.",
    ),
    sqlite3.SQLITE_READONLY: (
        "read-only",
        "cannot be written.",
        "Give the user of this service write permission on the file and on its directory.",
    ),
    sqlite3.SQLITE_PERM: (
        "read-only",
        "may not be accessed.",
        "Give the user of this service write permission on the file and on its directory.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot-open",
        "cannot be opened.",
        "Create its directory, writable for the user of this service, or name another file in cluster.store.",
    ),
    sqlite3.SQLITE_NOTADB: (
        "not-a-database",
        "is not a database.",
        "Name another file in cluster.store, or move this one away to start with an empty store.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "corrupt",
        "is damaged.",
        "Restore it from a backup, or move it away to start empty: nodes are served again as they register.",
    ),
    sqlite3.SQLITE_IOERR: (
        "input-output",
        "cannot be read or written: the disk reports an error.",
        "Look at the kernel log for the disk's errors; network file systems do not suit a state store.",
    ),
}


def typed_error(error: sqlite3.Error, path: Path) -> StoreError:
    """What an error of SQLite means for the store at ``path``."""
    code = getattr(error, "sqlite_errorcode", None)
    known = _KNOWN.get(code & _PRIMARY_CODE) if isinstance(code, int) else None
    if known is None:
        reason, what = "database", f"failed: {error}."
        remedy = "Report this with the message; the store is as it was before."
    else:
        reason, what, remedy = known
    return StoreError(reason, f"The state store {path} {what}", remedy)
