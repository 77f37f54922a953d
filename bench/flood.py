"""`python -m bench.flood`: what honest mobile nodes notice when strangers flood their home agent with IKE_SA_INIT.

A real home agent in a network namespace, a simulator with honest nodes, and a stranger that sends requests from random
addresses of a /32. For comparison, the same registrations are made without a flood before, and afterwards with a flood
but without the limits of the data path. Needs root.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from bench.command_line import exit_status, keep, number, positive, result_file
from bench.flooding.options import FloodOptions
from bench.flooding.report import build_report, print_report
from bench.flooding.run import observe
from bench.rehearsal.machine import calibration_ms
from bench.rehearsal.progress import make_reporter

_DEFAULTS = FloodOptions()


def parse_options(arguments: Sequence[str] | None = None) -> FloodOptions:
    """The options of a command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.flood", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--rate", type=positive, default=_DEFAULTS.rate_per_s, metavar="R", help="forged requests per second")
    add("--duration", type=positive, default=_DEFAULTS.duration_s, metavar="S", help="of the flood, at least")
    add("--mobile-nodes", type=number(int, 1, 4096), default=_DEFAULTS.mobile_nodes, metavar="N", help="honest nodes")
    add("--node-rate", type=positive, default=_DEFAULTS.node_rate_per_s, metavar="R", help="honest nodes per second")
    add("--auth", choices=("psk", "cert"), default=_DEFAULTS.authentication, help="of the honest nodes")
    add("--json", type=result_file, metavar="FILE", help="write the result to this file")
    parsed = parser.parse_args(arguments)
    return FloodOptions(
        rate_per_s=parsed.rate,
        duration_s=parsed.duration,
        mobile_nodes=parsed.mobile_nodes,
        node_rate_per_s=parsed.node_rate,
        authentication=parsed.auth,
        json_file=parsed.json,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure once; 0 only if every honest node registered in spite of the flood."""
    options = parse_options(arguments)
    console = Console(stderr=True)
    return exit_status("The bench", console, lambda: _measure(options, console))


def _measure(options: FloodOptions, console: Console) -> int:
    with make_reporter(console) as reporter:
        before = calibration_ms()
        quiet = observe(options, reporter, flooded=False)
        flooded = observe(options, reporter, flooded=True)
        unlimited = observe(options, reporter, flooded=True, limited=False)
        calibration = (before, calibration_ms())
    report = build_report(options, quiet, flooded, unlimited, calibration)
    keep(report, options.json_file)
    print_report(report, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
