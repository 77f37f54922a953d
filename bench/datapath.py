"""`python -m bench.datapath`: what a packet costs in the data path, beside the floors and kernel forwarding.

Times encapsulation and decapsulation at 1 to 1,000,000 bindings, sends live frames through veth pairs in a network
namespace of its own, and times what the control plane does to the maps. docs/benchmarks.md says what each figure
includes. Needs root.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from bench.command_line import exit_status, keep, result_file
from bench.packet_rates.options import RateOptions, quick
from bench.packet_rates.report import build_report
from bench.packet_rates.run import measure
from bench.packet_rates.table import print_report
from bench.rehearsal.progress import make_reporter


def parse_options(arguments: Sequence[str] | None = None) -> RateOptions:
    """The options of a command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.datapath", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=result_file, metavar="FILE", help="write the result to this file")
    parser.add_argument("--plot", type=result_file, metavar="FILE.png", help="draw the result into this file")
    parser.add_argument(
        "--quick", action="store_true", help="under half a minute: fewer rounds, no million of bindings"
    )
    parsed = parser.parse_args(arguments)
    if parsed.quick:
        return quick(parsed.json, parsed.plot)
    return RateOptions(json_file=parsed.json, plot_file=parsed.plot)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures once; 0 when everything was measured, whether or not the targets are met."""
    options = parse_options(arguments)
    console = Console(stderr=True)
    return exit_status("The bench", console, lambda: _measure(options, console))


def _measure(options: RateOptions, console: Console) -> int:
    with make_reporter(console) as reporter:
        measured = measure(options, reporter)
    report = build_report(options, measured)
    keep(report, options.json_file)
    print_report(report, Console())
    if options.plot_file is not None:
        # Only here: matplotlib takes a second to import, and no other part of the bench needs it.
        from bench.packet_rates.plot import draw

        draw(report, options.plot_file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
