"""Interfaces for tests in the machine."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator


def run(command: str) -> str:
    """Runs one command, which must succeed."""
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@contextlib.contextmanager
def veth(name: str) -> Iterator[None]:
    """A veth pair for the length of the block, both ends up."""
    run(f"ip link add {name} type veth peer name {name}-peer")
    try:
        for end in (name, f"{name}-peer"):
            run(f"ip link set {end} up")
        yield
    finally:
        run(f"ip link del {name}")
