"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

DEFAULT_CONFIGURATION = Path("/etc/homeagent/homeagent.toml")

configuration_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIGURATION,
    show_default=True,
    envvar="HOMEAGENT_CONFIG",
    help="Configuration file.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON on standard output, for programs.")
events_option = click.option(
    "--events", type=click.Path(path_type=Path), help="Append events to this file instead of standard output."
)
