"""What Debian's tshark reads in a capture, with the key files of the home agents."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def dissect(capture: Path, profile: Path, display_filter: str, *fields: str) -> list[list[str]]:
    """Values of the fields in the packets that match.

    Args:
        capture: the file.
        profile: directory of Wireshark's configuration, with the key tables.
        display_filter: in Wireshark's language.
        fields: their names in it.
    """
    program = shutil.which("tshark")
    assert program, "tshark is not installed: make setup installs it"
    command = [program, "-r", str(capture), "-Y", display_filter, "-T", "fields"]
    for field in fields or ("frame.number",):
        command += ["-e", field]
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(profile)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]
