"""Commands that stay: the daemon, a mobile node, a simulation of many."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from control.cli.failures import told
from control.cli.options import configuration_option, events_option
from control.config import load_configuration
from control.daemon.ike_worker_start import LOG_FORMAT


def _log_to_standard_error(level: str) -> None:
    logging.basicConfig(level=level.upper(), format=LOG_FORMAT)


log_level_option = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="What is written to standard error.",
)


@click.command()
@configuration_option
@log_level_option
def serve(path: Path, log_level: str) -> None:
    """Run the home agent in the foreground.

    Until SIGTERM or SIGINT; SIGHUP is as `homeagent reload`. The data path has to be loaded before: `homeagent datapath
    load`. It goes on forwarding when the daemon stops.
    """
    from control.daemon.service import serve as run_daemon

    _log_to_standard_error(log_level)
    with told():
        run_daemon(load_configuration(path))


@click.command("mobile-node")
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The node's file.")
@events_option
@log_level_option
def mobile_node(path: Path, events: Path | None, log_level: str) -> None:
    """Be a mobile node: carry its home address on a TUN device."""
    from control.mobile_daemon.agent import run_agent

    _log_to_standard_error(log_level)
    with told():
        sys.exit(run_agent(path, events=events))


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The simulation's file.")
@click.option("--loss", type=click.FloatRange(0, 100), help="Percent of packets lost each way, instead of the file's.")
@click.option(
    "--moving", type=click.FloatRange(0), help="Nodes that move to another address per second, instead of the file's."
)
@events_option
@log_level_option
def simulate(path: Path, loss: float | None, moving: float | None, events: Path | None, log_level: str) -> None:
    """Be thousands of mobile nodes in one process."""
    from control.mobile_daemon.simulator import run_simulator

    _log_to_standard_error(log_level)
    with told():
        sys.exit(run_simulator(path, loss_percent=loss, moves_per_s=moving, events=events))
