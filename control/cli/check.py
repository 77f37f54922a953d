"""`homeagent config`: look at a configuration before it is used."""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import click

from control.cli.failures import told
from control.cli.options import configuration_option, json_option
from control.cli.output import print_json
from control.config import Configuration, ConfigurationError, Node, load_configuration, load_nodes
from control.config.secret_files import secret_files


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@configuration_option
@json_option
def check(path: Path, as_json: bool) -> None:
    """Tell every mistake with its line and remedy.

    Reads the configuration and the files it names as the daemon would.
    """
    with told():
        try:
            configuration, nodes = read_everything(path)
        except ConfigurationError as error:
            if not as_json:
                raise
            print_json({"ok": False, "problems": list(error.problems)})
            raise SystemExit(1) from None
        warnings = list(_warnings(configuration, nodes))
        if as_json:
            name = configuration.home_agent.name
            print_json({"ok": True, "home_agent": name, "nodes": len(nodes), "warnings": warnings})
            return
        for warning in warnings:
            click.echo(f"homeagent: warning: {warning}", err=True)
        click.echo(f"{path}: good, home agent {configuration.home_agent.name} with {len(nodes)} authorised nodes")


def read_everything(path: Path) -> tuple[Configuration, list[Node]]:
    """The configuration with the nodes it authorises; all files it names are read.

    Raises:
        ConfigurationError: a mistake in any of them.
    """
    from control.config.credentials import load_certificates, own_credentials
    from control.config.revocation import read_revocation_lists

    configuration = load_configuration(path)
    nodes = load_nodes(configuration)
    own_credentials(configuration.ike)
    for anchor in configuration.ike.trust_anchors:
        load_certificates(anchor)
    read_revocation_lists(configuration.ike.crls)
    return configuration, nodes


def _warnings(configuration: Configuration, nodes: list[Node]) -> Iterator[str]:
    """What works, but should not stay so."""
    from control.config.own_certificate import flaw_of_own_certificate

    for file in secret_files(configuration, nodes):
        if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            yield f"{file} holds a secret and others can read it. Run: chmod 600 {file}"
    flaw = flaw_of_own_certificate(configuration, time.time())
    if flaw is not None:
        remedy = "Have one issued that is valid, is for signatures, and names [home_agent] identity."
        yield f"nodes will refuse {configuration.ike.certificate}: {flaw}. {remedy}"
    unencrypted = [str(node.identity) for node in nodes if any(pair.hides_nothing for pair in node.static)]
    if unencrypted:
        others = f" and {len(unencrypted) - 1} more nodes" if len(unencrypted) > 1 else ""
        yield f"the signalling of {unencrypted[0]}{others} can be read: null-sha256 hides nothing. Use aes128-sha256."
    here = {name for _, name in socket.if_nameindex()}
    for interface in configuration.datapath.interfaces:
        if interface not in here:
            yield f"there is no interface {interface} on this machine now. Correct datapath.interfaces, or make it."
    if configuration.key_export.ike or configuration.key_export.esp:
        yield "session keys are exported: whoever reads those files can read the traffic. Remove [key_export]."
