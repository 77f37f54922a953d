"""Progress of a rehearsal: a bar per phase on a terminal, JSON lines anywhere else."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

_LINE_INTERVAL_S = 1.0


class Reporter(Protocol):
    """Where progress goes."""

    def __enter__(self) -> Reporter:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""

    def phase(self, name: str, total: int) -> None:
        """A new phase with so many steps (nodes) begins."""

    def advance(self, done: int) -> None:
        """So many of the phase's steps are done."""


def make_reporter(console: Console) -> Reporter:
    """The reporter that suits the console."""
    return BarReporter(console) if console.is_terminal else LineReporter(console)


class BarReporter:
    """rich's bars, one below the other."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description:<14}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console)
        self._task: TaskID | None = None

    def __enter__(self) -> BarReporter:
        """Take over the lower part of the terminal."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bars on the screen."""
        self._progress.stop()

    def phase(self, name: str, total: int) -> None:
        """Add a bar; the one before stops counting the time."""
        if self._task is not None:
            self._progress.stop_task(self._task)
        self._task = self._progress.add_task(name, total=total)

    def advance(self, done: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=done)


class LineReporter:
    """A JSON object per second and at the ends of the phases."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._name = ""
        self._total = 0
        self._done = -1
        self._next_at = 0.0

    def __enter__(self) -> LineReporter:
        """Nothing to prepare."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to undo."""

    def phase(self, name: str, total: int) -> None:
        """Announce it."""
        self._name, self._total, self._done, self._next_at = name, total, -1, 0.0
        self.advance(0)

    def advance(self, done: int) -> None:
        """Say so, unless it was said less than a second ago and more is to come."""
        now = time.monotonic()
        if done == self._done or (now < self._next_at and done < self._total):
            return
        self._done, self._next_at = done, now + _LINE_INTERVAL_S
        line = json.dumps({"phase": self._name, "done": done, "total": self._total})
        self._console.print(line, soft_wrap=True, highlight=False, markup=False)
