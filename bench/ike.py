"""`python -m bench.ike`: complete key exchanges per CPU-second of a home agent, beside their cryptography alone.

IKE_SA_INIT, IKE_AUTH and CREATE_CHILD_SA with everything the product does around them, as initiator and as responder,
by authentication method. Needs no privilege, but for strongSwan beside it: root.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import median
from typing import cast

from rich.console import Console

from bench.command_line import exit_status, keep, number, result_file
from bench.key_exchange import memory, strongswan
from bench.key_exchange.measure import measure
from bench.key_exchange.methods import METHODS, Method
from bench.key_exchange.options import Options
from bench.key_exchange.report import StrongSwan, build_report, print_report
from bench.lab.interrupts import interrupts_raised

_DEFAULTS = Options()
_MOST_NODES = 120
"""From 128 half-open exchanges of one network on the responder asks for cookies, which would be another measurement."""


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """The options of a command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.ike", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--method", action="append", choices=METHODS, help="authentication method; may be repeated, default all")
    add(
        "--nodes",
        type=number(int, 1, _MOST_NODES),
        default=_DEFAULTS.nodes,
        metavar="N",
        help="nodes in each run, under way together",
    )
    add("--rounds", type=number(int, 1), default=_DEFAULTS.rounds, metavar="R", help="how often everything is measured")
    add("--memory-nodes", type=number(int, 0), default=_DEFAULTS.memory_nodes, metavar="N", help="0: no memory figure")
    add("--without-strongswan", action="store_true", help="leave strongSwan out, where it could be measured")
    add("--json", type=result_file, metavar="FILE", help="write the result to this file")
    parsed = parser.parse_args(arguments)
    return Options(
        methods=tuple(dict.fromkeys(cast("list[Method]", parsed.method or METHODS))),
        nodes=parsed.nodes,
        rounds=parsed.rounds,
        memory_nodes=parsed.memory_nodes,
        strongswan=not parsed.without_strongswan,
        json_file=parsed.json,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure once; 0 if everything could be measured, whatever came out."""
    options = parse_options(arguments)
    console = Console(stderr=True)
    return exit_status("The bench", console, lambda: _measure(options, console))


def _measure(options: Options, console: Console) -> int:
    with interrupts_raised(), console.status("measuring") as status:

        def tell(what: str) -> None:
            """Who looks at a file instead of a screen gets a line for each step: it takes many minutes."""
            status.update(what)
            if not console.is_terminal:
                console.print(what, highlight=False, markup=False)

        measured = measure(options, tell)
        rounds = strongswan.measure(options, measured.reference_s, tell)
        bytes_per_node: dict[str, float] = {}
        if options.memory_nodes:
            tell("memory")
            bytes_per_node |= {method: memory.measure(method, options.memory_nodes) for method in options.methods}
    report = build_report(
        options,
        measured,
        bytes_per_node,
        StrongSwan(
            {
                extent: {method: median(values) for method, values in by_method.items()}
                for extent, by_method in rounds.items()
            },
            strongswan.note(options),
        ),
    )
    keep(report, options.json_file)
    print_report(report, Console())
    return 0


if __name__ == "__main__":
    sys.exit(main())
