"""Signals that end a run are an exception in it, so that what it has made is removed on the way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bench.lab.errors import LabInterrupted

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def raise_interrupts() -> Mapping[int, Any]:
    """From now on such a signal raises LabInterrupted. What was done with them before, for :func:`restore`.

    Only the main thread may say so; in others it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.signal(number, _interrupt) for number in _INTERRUPTS}


def hold_interrupts() -> None:
    """From now on such a signal is ignored, as far as this is the main thread."""
    if threading.current_thread() is threading.main_thread():
        for number in _INTERRUPTS:
            signal.signal(number, signal.SIG_IGN)


def restore(handlers: Mapping[int, Any]) -> None:
    """Do with signals what was done before."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def interrupts_raised() -> Iterator[None]:
    """Such a signal raises LabInterrupted within the block."""
    handlers = raise_interrupts()
    try:
        yield
    finally:
        restore(handlers)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise LabInterrupted(number)
