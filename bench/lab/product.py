"""The commands of the product, as an operator would call them."""

from __future__ import annotations

import sys
from pathlib import Path


def homeagent_command(*arguments: str) -> list[str]:
    """The command line of `homeagent ARGUMENTS`, from the environment this interpreter runs in.

    In a machine, where nothing is installed, it is the module of the source tree.
    """
    command = Path(sys.executable).with_name("homeagent")
    if not command.exists():
        return [sys.executable, "-m", "control", *arguments]
    return [str(command), *arguments]


def bench_command(module: str, *arguments: str) -> list[str]:
    """The command line of a helper program of this package, e.g. `bench_command("prober", "--targets", "4")`."""
    return [sys.executable, "-m", f"bench.lab.{module}", *arguments]
