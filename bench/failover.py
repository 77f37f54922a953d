"""`python -m bench.failover`: how long, and at what cost, a home agent brings back the nodes of a failed one.

Real processes in network namespaces: two home agents with real XDP, a simulator that plays the mobile nodes, a
correspondent that pings every home address. The first home agent loses power; the second one does the rest.
Needs root.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from bench.command_line import exit_status, keep
from bench.lab.errors import LabError
from bench.rehearsal.command_line import parse_options
from bench.rehearsal.comparison import print_comparison
from bench.rehearsal.cost_model import CostModel, calibrated
from bench.rehearsal.options import POLICIES, FailoverOptions
from bench.rehearsal.plot import draw
from bench.rehearsal.progress import make_reporter
from bench.rehearsal.report import build_report, print_report
from bench.rehearsal.run import Rehearsal
from bench.rehearsal.simulate import deviation, options_of, simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Rehearse; 0 only if every reachable node was recovered, when comparing by every policy but `unlimited`."""
    options = parse_options(arguments, __doc__)
    console = Console(stderr=True)
    reports: list[dict[str, Any]] = []
    status = exit_status("The rehearsal", console, lambda: _rehearse(options, console, reports))
    if reports:
        _show(reports, options)
    return status


def _rehearse(options: FailoverOptions, console: Console, reports: list[dict[str, Any]]) -> int:
    """Adds a report for each policy, and writes what there is so far: the last policy may not come to an end."""
    rehearse = _simulation(options) if options.simulate else _rehearsal(console)
    for policy in POLICIES if options.compare else (options.policy,):
        if options.compare:
            console.print(f"policy {policy}", highlight=False)
        reports.append(rehearse(replace(options, policy=policy)))
        keep(reports if options.compare else reports[0], options.json_file)
    expected = [report for report in reports if not options.compare or report["parameters"]["policy"] != "unlimited"]
    return 0 if all(report["recovered"] == report["reachable"] for report in expected) else 1


def _show(reports: list[dict[str, Any]], options: FailoverOptions) -> None:
    if options.plot_file is not None:
        draw(reports, options.plot_file)
    if options.compare:
        print_comparison(reports, Console())
    else:
        print_report(reports[0], Console())


def _rehearsal(console: Console) -> Callable[[FailoverOptions], dict[str, Any]]:
    def rehearse(options: FailoverOptions) -> dict[str, Any]:
        with make_reporter(console) as reporter:
            return build_report(options, Rehearsal(options, reporter).run())

    return rehearse


def _simulation(options: FailoverOptions) -> Callable[[FailoverOptions], dict[str, Any]]:
    """Simulates with the costs of a real run, and adds how well they explain that run itself.

    Raises:
        LabError: that run's file cannot be used.
    """
    file = options.calibrate_file
    if file is None:
        model = CostModel(detection_s=options.lease_s)
        return lambda each: simulate(each, model)
    try:
        real = json.loads(file.read_text())
        if isinstance(real, list):
            real = next((each for each in real if each["parameters"]["policy"] == options.policy), real[0])
        model = calibrated(real)
        repeated = deviation(real, simulate(options_of(real), model))
    except (LookupError, TypeError):
        raise LabError(f"{file}: this is not the JSON of a rehearsal") from None
    except (OSError, ValueError) as error:
        raise LabError(f"{file}: {error}") from None
    return lambda each: {**simulate(each, model), "calibration": {"file": str(file), "deviation": repeated}}


if __name__ == "__main__":
    sys.exit(main())
