"""Compiled programs on disk: compiling takes seconds, and home agents load the same text again and again.

What is read there goes through the kernel's verifier like everything else, and is believed only if nobody but root or
this user could have written it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from datapath.object_code import ObjectCode

CACHE = Path("/var/cache/homeagent/programs")
_MOST_PROGRAMS = 256
_MOST_BYTES = 4 << 20


def cached(name: str, cache: Path = CACHE) -> ObjectCode | None:
    """The program of this name; None if there is none to be trusted."""
    try:
        if not _trusted(os.stat(cache, follow_symlinks=False)):
            return None
        descriptor = os.open(cache / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not _trusted(status) or not stat.S_ISREG(status.st_mode):
            return None
        code = ObjectCode.from_bytes(file.read(_MOST_BYTES))
        with contextlib.suppress(OSError):
            os.utime(descriptor)
        return code


def keep(name: str, code: ObjectCode, cache: Path = CACHE) -> None:
    """Keeps a program, and of all of them those used last; a disk that takes none costs time only."""
    being_written = cache / f".{name}.{os.getpid()}"
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True, mode=0o755)
        try:
            being_written.write_bytes(code.to_bytes())
            being_written.chmod(0o644)
            being_written.rename(cache / name)
        finally:
            being_written.unlink(missing_ok=True)
        by_age = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in by_age[_MOST_PROGRAMS:]:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(name: str, cache: Path = CACHE) -> Iterator[None]:
    """Has others who want to compile the same program wait, who will then find it; does without if it cannot."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True, mode=0o755)
            path = cache / f".{name}.lock"
            lock = held.enter_context(path.open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            held.callback(path.unlink, missing_ok=True)
        yield


def _trusted(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
