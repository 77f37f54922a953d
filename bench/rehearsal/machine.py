"""What a figure depends on besides the product: the machine, its momentary speed, versions."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any

_ROUNDS = 7
_LOOP = 200_000


def machine() -> dict[str, Any]:
    """Processor, cores, memory and kernel."""
    return {
        "cpu": _first_value("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory": _first_value("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
    }


def versions() -> dict[str, str]:
    """The product, the commit it was run from where that is known, and what carries its weight."""
    found = {"python": platform.python_version(), "commit": _commit()}
    for name in ("homeagent", "cryptography"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def calibration_ms() -> float:
    """CPU milliseconds of a fixed loop, the least of several runs: how fast a core is just now.

    Shared cores change their speed within seconds; CPU figures of different runs compare only beside this one.
    """
    best = float("inf")
    for _ in range(_ROUNDS):
        started = time.process_time()
        total = 0
        for number in range(_LOOP):
            total += number
        best = min(best, time.process_time() - started)
    return best * 1000


def _first_value(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
