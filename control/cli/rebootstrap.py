"""Commands that hold and end the bringing back of nodes."""

from __future__ import annotations

from pathlib import Path

import click

from control.cli.ask import ask_daemon
from control.cli.failures import told
from control.cli.options import configuration_option, json_option
from control.cli.output import print_json


@click.group()
def rebootstrap() -> None:
    """Hold, continue or end the bringing back of nodes.

    `homeagent takeover NAME` begins one.
    """


@rebootstrap.command()
@configuration_option
@json_option
def pause(path: Path, as_json: bool) -> None:
    """Begin with no further node.

    What is under way goes on, and nodes that come by themselves are served. It holds for later takeovers too, until
    `homeagent rebootstrap resume`.
    """
    _act(path, "pause", (), as_json)


@rebootstrap.command()
@configuration_option
@json_option
def resume(path: Path, as_json: bool) -> None:
    """Go on after a pause."""
    _act(path, "resume", (), as_json)


@rebootstrap.command()
@click.argument("nodes", nargs=-1)
@configuration_option
@json_option
def cancel(nodes: tuple[str, ...], path: Path, as_json: bool) -> None:
    """Give NODES up, or all that are not back yet.

    NODES are identities. They can still come by themselves.
    """
    _act(path, "cancel", nodes, as_json)


def _act(path: Path, action: str, nodes: tuple[str, ...], as_json: bool) -> None:
    with told():
        answer = ask_daemon(path, "rebootstrap", {"action": action, "nodes": list(nodes)})
        list(answer)
        done = answer.done
        if as_json:
            print_json(done)
            return
        if action == "cancel":
            click.echo(f"{done['cancelled']} given up")
            if done["cancelled"] < len(nodes):
                click.echo(f"{len(nodes) - done['cancelled']} of those named are not being brought back", err=True)
        state = "paused" if done["paused"] else "not paused"
        click.echo(f"{state}: {done['recovered']} of {done['total']} back, {done['in_flight']} in flight")
