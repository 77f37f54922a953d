"""Signals as readable events of a selector loop."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType


class SignalPipe:
    """Turns SIGTERM, SIGINT and SIGUSR1 into bytes in a pipe; for the main thread."""

    def __init__(self) -> None:
        """Install the handlers."""
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stop = False
        self._report = False
        self._previous_descriptor = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._previous_handlers = {
            number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        }

    def fileno(self) -> int:
        """The descriptor, for the event loop."""
        return self._read

    def stop_asked_for(self) -> bool:
        """Whether SIGTERM or SIGINT ever came."""
        self._drain()
        return self._stop

    def report_asked_for(self) -> bool:
        """Whether SIGUSR1 came since the last call."""
        self._drain()
        asked, self._report = self._report, False
        return asked

    def close(self) -> None:
        """Put the previous handlers back."""
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_descriptor)
        os.close(self._read)
        os.close(self._write)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self._report = True
        else:
            self._stop = True

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._read, 64):
                pass
