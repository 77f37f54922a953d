"""`homeagent config`: look at a configuration before it is used."""

from __future__ import annotations

from pathlib import Path

import click

from control.cli.failures import told
from control.cli.options import configuration_option, json_option
from control.cli.output import print_json
from control.config import ConfigurationError, load_configuration, load_nodes


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@configuration_option
@json_option
def check(path: Path, as_json: bool) -> None:
    """Read the configuration and the nodes it names, and tell every mistake with its line and remedy."""
    with told():
        try:
            configuration = load_configuration(path)
            nodes = load_nodes(configuration)
        except ConfigurationError as error:
            if not as_json:
                raise
            print_json({"ok": False, "problems": list(error.problems)})
            raise SystemExit(1) from None
        if as_json:
            print_json({"ok": True, "home_agent": configuration.home_agent.name, "nodes": len(nodes)})
            return
        click.echo(f"{path}: good, home agent {configuration.home_agent.name} with {len(nodes)} authorised nodes")
