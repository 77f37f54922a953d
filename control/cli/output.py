"""What commands print: JSON for programs, tables and sentences for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from control.control_socket import Answer

_AS_WIDE_AS_NEED_BE = 100_000


def print_json(value: Any, *, indent: bool = True) -> None:
    """One JSON document; on one line for streams."""
    encoded = msgspec.json.encode(value, enc_hook=str)
    click.echo(msgspec.json.format(encoded, indent=2 if indent else 0).decode())


def print_stream(answer: Answer) -> None:
    """The rows of an answer as they come, then how it ended: a line each."""
    for row in answer:
        print_json(row, indent=False)
    print_json(answer.done, indent=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table without frame, as `ip` and `swanctl` users are used to; numbers stand at the right."""
    # Texts, not strings: what looks like markup, as [ipsec] does, is none.
    made = Table(box=None, pad_edge=False, header_style="bold")
    cells = [[_cell(value) for value in row] for row in rows]
    for index, column in enumerate(columns):
        numeric = bool(cells) and all(row[index].replace(".", "", 1).lstrip("-").isdigit() for row in cells)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        made.add_row(*map(Text, row))
    return made


def pairs(values: Iterable[tuple[str, object]]) -> Table:
    """Names and values, one pair a line."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in values:
        made.add_row(Text(name), Text(_cell(value)))
    return made


def show(made: Table) -> None:
    """Print a table: within the width of a terminal; else a line for each row, without blanks at its end."""
    screen = Console(highlight=False)
    if screen.is_terminal:
        screen.print(made)
        return
    text = StringIO()
    Console(file=text, highlight=False, width=_AS_WIDE_AS_NEED_BE).print(made)
    for line in text.getvalue().splitlines():
        click.echo(line.rstrip())


def console() -> Console:
    """Standard output; as wide as the table where it is not a terminal, so that nothing is cut off in a pipe."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=240)


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
