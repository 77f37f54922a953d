"""The tools of iproute2."""

from __future__ import annotations

import json
import subprocess
from typing import Any


class NetworkError(Exception):
    """The network cannot be set up; the message says what to do."""


def run(*command: str) -> str:
    """Run a command and return what it prints.

    Raises:
        NetworkError: it is missing, or fails.
    """
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise NetworkError(f"`{command[0]}` is missing: install the package iproute2.") from None
    if done.returncode:
        reason = done.stderr.strip().replace("\n", "; ") or f"status {done.returncode}"
        raise NetworkError(f"`{' '.join(command)}` failed: {reason}. Run as root in the node's network namespace.")
    return done.stdout


def run_quietly(*command: str) -> None:
    """Run what may fail because there is nothing to undo."""
    subprocess.run(command, check=False, capture_output=True)


def query(*command: str) -> list[dict[str, Any]]:
    """Run a command that prints JSON and return the objects.

    Raises:
        NetworkError: it is missing, or fails.
    """
    output = run(*command)
    return list(json.loads(output)) if output.strip() else []


def routes_with_hops() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The IPv6 routes of the main table, each with where it leads: once for every next hop that it has.

    Raises:
        NetworkError: `ip` is missing, or fails.
    """
    routes = query("ip", "-json", "-6", "route", "show", "table", "main")
    return [(route, hop) for route in routes for hop in route.get("nexthops", (route,))]
