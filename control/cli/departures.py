"""Commands that send nodes to other home agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from control.cli.ask import ask_daemon
from control.cli.failures import told
from control.cli.options import configuration_option, json_option
from control.cli.output import console, print_stream


@click.command()
@click.option("--to", metavar="HOME_AGENT", help="Where to; without it to any living one.")
@configuration_option
@json_option
def drain(to: str | None, path: Path, as_json: bool) -> None:
    """Send all nodes to other home agents, for maintenance.

    Each is told by a Home Agent Switch message, de-registers here and registers there by itself. Shows progress until
    all have left or did not obey; then the daemon can be stopped.
    """
    _send_away(path, "drain", {"to": to}, as_json)


@click.command()
@click.argument("home_agent")
@configuration_option
@json_option
def handback(home_agent: str, path: Path, as_json: bool) -> None:
    """Send the nodes taken over from HOME_AGENT back to it.

    Those brought back since this daemon was started; the others stay until `homeagent drain --to HOME_AGENT`.
    """
    _send_away(path, "handback", {"home_agent": home_agent}, as_json)


def _send_away(path: Path, command: str, arguments: dict[str, Any], as_json: bool) -> None:
    with told():
        answer = ask_daemon(path, command, arguments, timeout_s=60.0)
        if as_json:
            print_stream(answer)
            return
        screen = console()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress:
            task = progress.add_task("nodes leaving", total=None)
            for row in answer:
                progress.update(task, total=row["total"], completed=row["left"] + row["silent"])
        done = answer.done
        click.echo(f"{done['left']} of {done['total']} nodes have left, {done['silent']} did not obey")
