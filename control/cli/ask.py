"""Commands that ask the running daemon, over its control socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from control.cli.failures import told
from control.cli.options import configuration_option, json_option
from control.cli.output import console, pairs, print_json, print_stream, show, table
from control.cli.sa_lines import sa_lines
from control.config import load_configuration
from control.control_socket import Answer, ask
from control.home_agent.events import line_of

Row = Mapping[str, Any]


@click.command()
@configuration_option
@json_option
def status(path: Path, as_json: bool) -> None:
    """How the home agent is, in one screen.

    Lease and peers, bindings, security associations, state store, takeover, data path.
    """
    with told():
        answer = ask_daemon(path, "status")
        list(answer)
        if as_json:
            print_json(answer.done)
        else:
            show(pairs(_status_lines(answer.done)))


@click.command()
@click.argument("nodes", nargs=-1)
@configuration_option
@json_option
def bindings(nodes: tuple[str, ...], path: Path, as_json: bool) -> None:
    """The bindings: addresses, node, lifetime.

    All, or those of NODES: identities, home addresses or care-of addresses. Also the networks behind mobile routers,
    where there are any. The exit status is 1 if one of NODES has none.
    """
    with told(), _each_found(nodes) as wanted:
        rows = [
            row for row in ask_daemon(path, "bindings") if wanted(row, "identity", "home_address", "care_of_address")
        ]
        if as_json:
            print_json(rows)
            return
        columns = ["HOME ADDRESS", "CARE-OF ADDRESS", "NODE", "LIFETIME LEFT", "SEQUENCE"]
        keys = ("home_address", "care_of_address", "identity", "lifetime_left_s", "sequence_number")
        lines = [[row[key] for key in keys] for row in rows]
        if any(row["mobile_network_prefixes"] for row in rows):
            columns.append("NETWORKS")
            for line, row in zip(lines, rows, strict=True):
                line.append(" ".join(row["mobile_network_prefixes"]))
        show(table(columns, lines))


@click.command()
@click.argument("nodes", nargs=-1)
@configuration_option
@json_option
def sas(nodes: tuple[str, ...], path: Path, as_json: bool) -> None:
    """The IKE SAs and their child SAs.

    All, or those of NODES, by identity; in the manner of `swanctl --list-sas`. The exit status is 1 if one of NODES has
    none.
    """
    with told(), _each_found(nodes) as wanted:
        rows = [row for row in ask_daemon(path, "sas") if wanted(row, "identity")]
        if as_json:
            print_json(rows)
            return
        for row in rows:
            for line in sa_lines(row):
                click.echo(line)


@click.command()
@click.argument("home_agent")
@configuration_option
@json_option
def takeover(home_agent: str, path: Path, as_json: bool) -> None:
    """Take the nodes of HOME_AGENT over now.

    Whether or not its lease has lapsed: it is fenced out at once. Shows progress until every node is back or given up;
    interrupting the command does not interrupt the takeover. The exit status is 1 if nodes were given up.
    """
    with told():
        answer = ask_daemon(path, "takeover", {"home_agent": home_agent}, timeout_s=60.0)
        if as_json:
            print_stream(answer)
        else:
            _show_progress(answer)
            _show_end_of_takeover(home_agent, answer.done)
    if answer.done["queued"] and answer.done["given_up"]:
        raise SystemExit(1)


def _show_end_of_takeover(home_agent: str, done: Row) -> None:
    if not done["queued"]:
        click.echo(f"{home_agent} has no nodes to take over; `homeagent status` names the home agents")
        return
    click.echo(f"{done['queued']} nodes claimed, {done['recovered']} back, {done['given_up']} given up")
    for reason, count in done["reasons"].items():
        click.echo(f"  failed attempts, {reason}: {count}")


@click.command()
@click.argument("nodes", nargs=-1)
@click.option("--follow/--no-follow", default=True, show_default=True, help="Go on as things happen.")
@configuration_option
@json_option
def events(nodes: tuple[str, ...], follow: bool, path: Path, as_json: bool) -> None:
    """The timeline: leases, claims, exchanges, refusals.

    Also registrations and how each node of a takeover fares. All, or those about NODES: identities, also those that
    were only claimed, or addresses they came from.
    """
    with told():
        for row in ask_daemon(path, "events", {"follow": follow}, timeout_s=None if follow else 10.0):
            if nodes and not any(row.get(key) in nodes for key in ("node", "claimed", "peer", "care_of_address")):
                continue
            if as_json:
                print_json(row, indent=False)
            else:
                click.echo(_event_line(row))


@contextmanager
def _each_found(names: tuple[str, ...]) -> Iterator[Callable[..., bool]]:
    """Gives a filter for rows, all of them without names; ends the command with a failure if a name fits none."""
    missing = set(names)

    def wanted(row: Row, *keys: str) -> bool:
        fitting = {name for name in names if name in [row[key] for key in keys]}
        missing.difference_update(fitting)
        return not names or bool(fitting)

    yield wanted
    for name in names:
        if name in missing:
            click.echo(f"homeagent: {name} has none here", err=True)
    if missing:
        raise SystemExit(1)


def ask_daemon(path: Path, command: str, arguments: Row | None = None, timeout_s: float | None = 10.0) -> Answer:
    """What the daemon of this configuration answers; see :func:`control.control_socket.ask`."""
    return ask(load_configuration(path).control.socket, command, arguments, timeout_s)


def _status_lines(status: Row) -> Iterator[tuple[str, object]]:
    agent = status["home_agent"]
    yield "home agent", f"{agent['name']} ({agent['identity']}) at {agent['address']}, version {status['version']}"
    yield "state", status["state"]
    yield "lease", _lease_text(status["lease"]) if status["lease"] else "none"
    for peer in status["peers"]:
        yield f"peer {peer['home_agent']}", f"{peer['address']}, {_lease_text(peer)}"
    networks = f", {prefixes} mobile network prefixes" if (prefixes := status["mobile_network_prefixes"]) else ""
    yield "nodes", f"{status['nodes']} authorised, {status['bindings']} bound{networks}"
    sas = ", ".join(f"{count} {state}" for state, count in status["ike_sas"].items())
    yield "IKE SAs", f"{sas}; {status['child_sas']} child SAs"
    workers = status["ike_workers"]
    if workers["running"] != 1 or workers["restarts"]:
        yield "IKE workers", f"{workers['running']} running, {workers['restarts']} started again"
    yield "IPsec", f"{status['ipsec']['back_end']}: {status['ipsec']['reason']}"
    yield "state store", _store_text(status["store"])
    takeover = status["takeover"]
    if takeover["total"] or takeover["paused"]:
        yield "takeover", _takeover_text(takeover)
    datapath = status["datapath"]
    maps = ", ".join(f"{name} {use['entries']} of {use['capacity']}" for name, use in datapath["maps"].items())
    modes = ", ".join(f"{interface} {mode}" for interface, mode in datapath["mode"].items())
    yield "data path", "; ".join(part for part in ("up" if datapath["up"] else "down", modes, maps) if part)
    for reason, count in datapath["packets"].items():
        yield f"  {reason}", count


def _lease_text(lease: Row) -> str:
    left = lease["expires_at"] - time.time()
    when = f"runs out in {left:.1f} s unless renewed" if left > 0 else f"lapsed {-left:.1f} s ago"
    return f"token {lease['token']}, {when}"


def _store_text(store: Row) -> str:
    waiting = f", {store['queue']} registrations wait for it" if store["queue"] else ""
    return f"{'up' if store['up'] else 'DOES NOT ANSWER, nothing is acknowledged'}{waiting}"


def _takeover_text(takeover: Row) -> str:
    left = takeover["in_flight"] + takeover["waiting"]
    text = f"{takeover['recovered']} of {takeover['total']} back, {takeover['given_up']} given up"
    if takeover["paused"]:
        text = f"PAUSED until `homeagent rebootstrap resume`: {text}"
    if not left:
        return text if takeover["paused"] else f"{text}, finished"
    eta = f", about {takeover['eta_s']:.0f} s to go" if takeover["eta_s"] is not None else ""
    return f"{text}, {takeover['in_flight']} in flight, {takeover['waiting']} waiting{eta}"


def _event_line(row: Row) -> str:
    when = datetime.fromtimestamp(row["time"]).astimezone().isoformat(sep=" ", timespec="milliseconds")
    detail = {key: value for key, value in row.items() if key not in ("time", "event", "node")}
    return f"{when} {line_of(row['event'], row.get('node'), detail)}"


def _show_progress(answer: Answer) -> None:
    screen = console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=screen, disable=not screen.is_terminal, transient=True) as progress:
        task = progress.add_task("bringing nodes back", total=None, detail="")
        told_of_pause = False
        for row in answer:
            if row["paused"] and not told_of_pause:
                click.echo("it is paused: `homeagent rebootstrap resume` goes on with it", err=True)
                told_of_pause = True
            held = ", paused" if row["paused"] else ""
            detail = f"{row['in_flight']} of {row['limit']} in flight, {row['given_up']} given up{held}"
            progress.update(task, total=row["total"], completed=row["recovered"] + row["given_up"], detail=detail)
