"""Loads one data path in a process of its own, as `homeagent datapath load` does, and says how long it took.

Then once more, with what the compiler has left on disk.

Arguments: addresses of the home agent with commas between, pin path, bindings the maps hold, interfaces.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

from datapath.loader import LoaderOptions, LoadReport, load


def timed(options: LoaderOptions) -> tuple[LoadReport, float]:
    """Loads, and returns the seconds it took."""
    started = time.monotonic()
    report = load(options)
    return report, time.monotonic() - started


if __name__ == "__main__":
    agents, pin_path, max_bindings, *interfaces = sys.argv[1:]
    addresses = [IPv6Address(each) for each in agents.split(",")]
    options = LoaderOptions(interfaces, Path(pin_path), addresses, int(max_bindings))
    with tempfile.TemporaryDirectory(prefix="homeagent-programs-") as cache:
        report, seconds = timed(replace(options, program_cache=Path(cache)))
        _, seconds_again = timed(replace(options, program_cache=Path(cache)))
    modes = sorted({str(attachment.actual_mode) for attachment in report.interfaces})
    said = {"load_s": seconds, "load_again_s": seconds_again, "modes": modes}
    print(json.dumps({**said, "instructions": report.verified_instructions}))
