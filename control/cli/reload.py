"""`homeagent reload`: have the running daemon read its configuration again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from control.cli.ask import ask_daemon
from control.cli.failures import told
from control.cli.options import configuration_option, json_option
from control.cli.output import print_json


@click.command()
@click.option("--remove-most", is_flag=True, help="Do it even if more than half of the nodes are removed by it.")
@configuration_option
@json_option
def reload(remove_most: bool, path: Path, as_json: bool) -> None:
    """Have the daemon read nodes and certificates again.

    Nodes that are new can register, and those that are gone lose their bindings. Keys of nodes, certificate, private
    key and trust anchors count for new IKE SAs. A mistake in the files changes nothing, and is told; so does a file
    without most of the nodes, which may not be written to its end yet. What else has changed takes effect with a
    restart.
    """
    with told():
        answer = ask_daemon(path, "reload", {"remove_most": remove_most}, timeout_s=60.0)
        list(answer)
        done = answer.done
        if as_json:
            print_json(done)
            return
        click.echo(
            f"{done['nodes']} nodes: {done['added']} added, {done['removed']} removed, {done['changed']} changed"
        )
        if done["certificate_expires_at"] is not None:
            until = datetime.fromtimestamp(done["certificate_expires_at"]).astimezone()
            click.echo(f"another certificate is in force, until {until.isoformat(sep=' ', timespec='minutes')}")
        if done["trust_anchors"] is not None:
            click.echo(f"other trust anchors are in force, {done['trust_anchors']} of them")
        if done["bindings_ended"]:
            click.echo(f"{done['bindings_ended']} bindings ended")
        for what in done["needs_upgrade"]:
            click.echo(f"homeagent: {what}: changed, and takes effect with `homeagent datapath upgrade`", err=True)
        for what in done["needs_restart"]:
            click.echo(f"homeagent: {what}: changed, and takes effect with a restart of the daemon", err=True)
