"""Waiting for what other processes do: on a condition, for longer than a slow machine takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

PATIENCE_S = 120.0
_PAUSE_S = 0.05

_Found = TypeVar("_Found")


def wait_until(
    condition: Callable[[], _Found], otherwise: str | Callable[[], object], patience_s: float = PATIENCE_S
) -> _Found:
    """What the condition returns once that is true; ``otherwise`` says what is wrong if it never is."""
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline, otherwise() if callable(otherwise) else otherwise
        time.sleep(_PAUSE_S)
    return found


def take(receive: Callable[[], Iterable[_Found]], count: int) -> list[_Found]:
    """What ``receive``, which does not wait, has given once it is so much, and no more than came with that."""
    taken: list[_Found] = []

    def enough() -> bool:
        taken.extend(receive())
        return len(taken) >= count

    wait_until(enough, lambda: taken)
    return taken
