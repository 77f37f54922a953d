"""The command that watches other home agents by BFD, for `deploy/frr/homeagent-bfd.service`."""

from __future__ import annotations

import socket
import time
from ipaddress import IPv6Address
from pathlib import Path

import click

from control.cli.ask import ask_daemon
from control.cli.failures import told
from control.cli.options import configuration_option
from control.cluster.bfd import BfdProtocolError, BfdWatch
from control.config import load_configuration
from control.control_socket import CommandError

_RECONNECT_S = 1.0
_READ_SIZE = 1 << 16


@click.command("watch-bfd")
@click.option(
    "--socket",
    "bfdd",
    type=click.Path(path_type=Path),
    default=Path("/run/frr/bfdd.sock"),
    show_default=True,
    help="The control socket of FRR's bfdd.",
)
@configuration_option
def watch_bfd(bfdd: Path, path: Path) -> None:
    """Take over from home agents that FRR's BFD finds dead.

    As soon as the BFD session with its address does. Runs until it is stopped. Of peers that are no home agents of this
    cluster nothing is made; nor of those that say goodbye.
    """
    with told():
        load_configuration(path)
        trouble = ""
        while True:
            try:
                _watch(bfdd, path)
            except (OSError, BfdProtocolError) as error:
                why = (isinstance(error, OSError) and error.strerror) or str(error)
                text = (
                    f"homeagent: bfdd behind {bfdd} cannot be watched ({why}), so only leases tell who is dead until "
                    "it can. Look whether FRR runs with bfdd=yes, or name its socket with --socket."
                )
                if text != trouble:
                    click.echo(text, err=True)
                trouble = text
            else:
                trouble = ""
                click.echo(f"bfdd has closed {bfdd}", err=True)
            time.sleep(_RECONNECT_S)


def _watch(bfdd: Path, path: Path) -> None:
    """Until bfdd ends the connection."""
    watch = BfdWatch()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(bfdd))
        connection.sendall(watch.request())
        click.echo(f"watching the peers of {bfdd}")
        while data := connection.recv(_READ_SIZE):
            before = dict(watch.states)
            failed = watch.receive(data)
            for peer, state in watch.states.items():
                if before.get(peer) != state:
                    click.echo(f"{peer} is {state}")
            for peer in failed:
                _take_over(peer, path)


def _take_over(peer: IPv6Address, path: Path) -> None:
    """Begin a takeover from the home agent with that address; the daemon goes on with it by itself."""
    try:
        status = ask_daemon(path, "status")
        list(status)
        home_agent = next((each["home_agent"] for each in status.done["peers"] if each["address"] == str(peer)), None)
        if home_agent is None:
            click.echo(f"{peer} is gone; the cluster has no home agent of that address")
            return
        click.echo(f"{home_agent} is gone: taking its nodes over")
        with ask_daemon(path, "takeover", {"home_agent": home_agent}, timeout_s=60.0) as answer:
            next(iter(answer), None)
    except CommandError as error:
        click.echo(f"no takeover from {peer}: {error}", err=True)
