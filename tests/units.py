"""The restrictions of the systemd units in deploy/, for tests that run commands under them without systemd."""

from __future__ import annotations

import re
import sys
from pathlib import Path

DEPLOY = Path(__file__).parents[1] / "deploy"
UNITS = sorted(DEPLOY.rglob("*.service"))
DAEMON = DEPLOY / "homeagent.service"
DATA_PATH = DEPLOY / "homeagent-datapath.service"
WATCH_BFD = DEPLOY / "frr" / "homeagent-bfd.service"

# PR_SET_MDWE, since Linux 6.3: like systemd's filter, no memory that is written to is executed.
_WITHOUT_EXECUTABLE_MEMORY = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(65, 1, 0, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def settings(unit: Path) -> list[tuple[str, str]]:
    """Keys and values of a unit, in order; none of ours continues a line."""
    return [(key, value) for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", unit.read_text(), re.MULTILINE)]


def setting(unit: Path, key: str) -> str:
    return dict(settings(unit))[key]


def restricted(unit: Path) -> list[str]:
    """What to put in front of a command for the capabilities that the unit leaves it, and its rule on memory."""
    names = [name.removeprefix("CAP_").lower() for name in setting(unit, "CapabilityBoundingSet").split()]
    bounds = ",".join(["-all", *(f"+{name}" for name in names)])
    prefix = ["setpriv", "--bounding-set", bounds, "--inh-caps", "-all", "--no-new-privs"]
    if dict(settings(unit)).get("MemoryDenyWriteExecute") == "yes":
        prefix += [sys.executable, "-c", _WITHOUT_EXECUTABLE_MEMORY]
    return prefix
