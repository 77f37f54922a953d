"""Changing the network namespace of this thread: what it opens and starts there stays there."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.lab.errors import LabError

NETNS_DIRECTORY = Path("/run/netns")

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """In the namespace that `ip netns` knows by this name, until the end of the block."""
    with _returning(), (NETNS_DIRECTORY / namespace).open() as there:
        _require(_libc.setns(there.fileno(), _CLONE_NEWNET), f"{namespace} cannot be entered")
        yield


@contextmanager
def own_network() -> Iterator[None]:
    """In a namespace that nobody else is in, its loopback up, until the end of the block; nothing of it remains."""
    with _returning():
        _require(_libc.unshare(_CLONE_NEWNET), "a network namespace cannot be made")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        yield


@contextmanager
def _returning() -> Iterator[None]:
    with Path("/proc/thread-self/ns/net").open() as here:
        try:
            yield
        finally:
            _require(_libc.setns(here.fileno(), _CLONE_NEWNET), "the way back is barred")


def _require(result: int, otherwise: str) -> None:
    if result != 0:
        raise LabError(f"{otherwise}: {os.strerror(ctypes.get_errno())}")
