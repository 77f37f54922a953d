"""`python -m bench.demo`: watch a failed home agent's mobile nodes come back through another one.

Builds network namespaces for a correspondent, two home agents and several mobile nodes with a routed core between,
runs the real product in them with real XDP, takes the first home agent's power away, shows what happens, and removes
everything again. Needs root.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.command_line import exit_status
from bench.demonstration.options import DemoOptions
from bench.demonstration.run import Demonstration
from bench.demonstration.summary import print_summary

_MAX_NODES = 16


def parse_options(arguments: Sequence[str] | None = None) -> DemoOptions:
    """The options of a command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.demo", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4, metavar="N", help="mobile nodes, 1 to 16 (default 4)")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), metavar="DIR", help="where captures go")
    parser.add_argument("--keep", action="store_true", help="keep everything running at the end, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument(
        "--new-home-address", action="store_true", help="the second home agent has a home prefix of its own"
    )
    parser.add_argument("--auth", choices=("psk", "cert"), default="cert", help="shared keys or certificates")
    parser.add_argument(
        "--ipsec", choices=("auto", "kernel", "userspace"), default="auto", help="who does ESP at the home agents"
    )
    parsed = parser.parse_args(arguments)
    if not 1 <= parsed.nodes <= _MAX_NODES:
        parser.error(f"--nodes takes 1 to {_MAX_NODES}; for more, see python -m bench.failover")
    return DemoOptions(
        nodes=parsed.nodes,
        output=parsed.output,
        keep=parsed.keep,
        as_json=parsed.json,
        new_home_address=parsed.new_home_address,
        authentication=parsed.auth,
        back_end=parsed.ipsec,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; 0 only if every node came back through ha2's XDP."""
    options = parse_options(arguments)
    console = Console(stderr=options.as_json)

    def present(summary: dict[str, Any]) -> None:
        if options.as_json:
            print(json.dumps(summary, indent=2), flush=True)
        else:
            print_summary(summary, console)

    def demonstrate() -> int:
        summary = Demonstration(options, console, present).run()
        return 0 if summary["ok"] else 1

    return exit_status("The demonstration", console, demonstrate)


if __name__ == "__main__":
    sys.exit(main())
