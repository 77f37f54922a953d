"""Loads one data path in a process of its own, as `homeagent datapath load` does, and says how long it took.

Arguments: pin path, bindings the maps hold, interfaces.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from bench.packet_rates.frames import HOME_AGENT
from datapath.loader import LoaderOptions, load

if __name__ == "__main__":
    pin_path, max_bindings, *interfaces = sys.argv[1:]
    started = time.monotonic()
    report = load(LoaderOptions(interfaces, Path(pin_path), [HOME_AGENT], int(max_bindings)))
    seconds = time.monotonic() - started
    modes = sorted({str(attachment.actual_mode) for attachment in report.interfaces})
    print(json.dumps({"load_s": seconds, "modes": modes, "instructions": report.verified_instructions}))
