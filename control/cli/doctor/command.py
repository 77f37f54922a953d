"""The command: all checks, their table, and its exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from control.cli.doctor.finding import Finding, Level, ok, problem, told, warning
from control.cli.failures import told as failures_told
from control.cli.options import configuration_option, json_option
from control.cli.output import print_json, show
from control.config import ConfigurationError

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


@click.command()
@configuration_option
@json_option
def doctor(path: Path, as_json: bool) -> None:
    """Look this machine over, and say how to mend it.

    Tells what is as a home agent needs it and what is not. Changes nothing. The exit status is 1 if there are problems;
    warnings do not count.
    """
    with failures_told():
        findings = list(examine(path))
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if as_json:
        print_json({"ok": not problems, "findings": [finding.to_dict() for finding in findings]})
    else:
        _print(findings)
        click.echo(f"\nproblems: {problems}, warnings: {warnings}, checks: {len(findings)}")
    if problems:
        sys.exit(1)


def examine(path: Path) -> Iterator[Finding]:
    """All checks; those that need the configuration are left out if it has mistakes."""
    from control.cli.check import read_everything
    from control.cli.doctor.files import examine_files
    from control.cli.doctor.host import examine_host
    from control.cli.doctor.ipsec import examine_ipsec
    from control.cli.doctor.network import examine_network
    from datapath.layout import DEFAULT_PIN_PATH

    try:
        configuration, nodes = read_everything(path)
    except ConfigurationError as error:
        for mistake in error.problems:
            yield problem("configuration", str(mistake).rstrip("."), "Correct it; `homeagent config check` tells more.")
        yield from examine_host(DEFAULT_PIN_PATH)
        return
    yield ok("configuration", f"{path}: home agent {configuration.home_agent.name}, {len(nodes)} authorised nodes")
    yield from examine_host(configuration.datapath.pin_path)
    serving = _is_serving(configuration.control.socket)
    yield from _examine_datapath(configuration.datapath.pin_path)
    yield from examine_network(configuration, serving=serving)
    yield from examine_ipsec(configuration)
    yield from examine_files(configuration, nodes)
    if serving:
        yield ok("daemon", "it runs and answers")
    else:
        yield warning("daemon", "it does not run, or does not answer", "systemctl start homeagent")


def _examine_datapath(pin_path: Path) -> Iterator[Finding]:
    from datapath.errors import DatapathError, NotLoaded
    from datapath.show import show

    try:
        shown = show(pin_path)
    except NotLoaded:
        yield warning("data path", "not loaded", "Run `homeagent datapath load`, or start homeagent-datapath.service.")
    except DatapathError as error:
        yield told("data path", error)
    else:
        yield ok("data path", f"loaded, program {shown['program']['id']}")


def _is_serving(socket: Path) -> bool:
    from control.control_socket import CommandError, ask

    try:
        list(ask(socket, "status", timeout_s=5.0))
    except CommandError:
        return False
    return True


def _print(findings: list[Finding]) -> None:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("CHECK", "", "FOUND", "REMEDY"):
        made.add_column(column, overflow="fold")
    for each in findings:
        # Texts, not strings: what looks like markup, as [key_export] does, is none.
        level = Text(str(each.level), style=_STYLES[each.level])
        made.add_row(Text(each.check), level, Text(each.says), Text(each.remedy))
    show(made)
