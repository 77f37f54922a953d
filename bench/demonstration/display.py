"""Showing the timeline while it happens: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bench.demonstration.timeline import Entry, Timeline

_TIMELINE_LINES = 18
_STYLES = {
    "failure": "bold red",
    "lease-lapsed": "red",
    "nodes-claimed": "yellow",
    "ike-established": "cyan",
    "home-agent-switch-sent": "magenta",
    "binding-update": "blue",
    "first-packet": "bold green",
    "answered": "bold green",
    "recovered": "green",
    "given-up": "bold red",
    "attempt-failed": "red",
}


class Display(Protocol):
    """Where progress goes."""

    def __enter__(self) -> Display:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; what was shown stays on the screen."""

    def show(self, entry: Entry) -> None:
        """A new entry of the timeline."""

    def refresh(self) -> None:
        """Called some times a second: the nodes' states may have changed."""


def make_display(console: Console, timeline: Timeline) -> Display:
    """The display that suits the console."""
    return LiveDisplay(console, timeline) if console.is_terminal else PlainDisplay(console, timeline)


class PlainDisplay:
    """One line per entry."""

    def __init__(self, console: Console, timeline: Timeline) -> None:
        self._console = console
        self._timeline = timeline

    def __enter__(self) -> PlainDisplay:
        """Nothing to prepare."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to undo."""

    def show(self, entry: Entry) -> None:
        """Print it."""
        self._console.print(entry_line(entry, self._timeline), soft_wrap=True)

    def refresh(self) -> None:
        """Lines do not change."""


class LiveDisplay:
    """A table of the nodes above the latest entries; the whole timeline is printed when it ends."""

    def __init__(self, console: Console, timeline: Timeline) -> None:
        self._console = console
        self._timeline = timeline
        self._live = Live(console=console, refresh_per_second=10, transient=True)

    def __enter__(self) -> LiveDisplay:
        """Take over the lower part of the terminal."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back, with the timeline on it."""
        self._live.stop()
        for entry in self._timeline.entries:
            self._console.print(entry_line(entry, self._timeline), soft_wrap=True)

    def show(self, entry: Entry) -> None:
        """Have it on the next picture."""
        self.refresh()

    def refresh(self) -> None:
        """Redraw."""
        recent = self._timeline.entries[-_TIMELINE_LINES:]
        self._live.update(Group(nodes_table(self._timeline), *(entry_line(entry, self._timeline) for entry in recent)))


def nodes_table(timeline: Timeline) -> Table:
    """The nodes and how far each is."""
    table = Table(title=None, expand=False)
    for heading in ("node", "home address", "state", "outage"):
        table.add_column(heading)
    for node in timeline.nodes.values():
        outage = "" if node.outage_s is None else f"{node.outage_s:.3f} s"
        table.add_row(node.name, node.home_address, node.state, outage)
    return table


def entry_line(entry: Entry, timeline: Timeline) -> Text:
    """One entry: seconds since the start, seconds since the failure, where, which node, what."""
    since_start = f"{entry.time - timeline.started_at:7.3f}"
    since_failure = " " * 9
    if timeline.failed_at is not None and entry.time >= timeline.failed_at:
        since_failure = f"{entry.time - timeline.failed_at:+8.3f} "
    line = Text(f"{since_start} s {since_failure}", style="dim")
    line.append(f"{entry.where:<5}", style="bold")
    line.append(f"{entry.node or '':<6}")
    line.append(entry.text, style=_STYLES.get(entry.event, ""))
    return line
