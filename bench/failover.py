"""`python -m bench.failover`: how long, and at what cost, a home agent brings back the nodes of a failed one.

Real processes in network namespaces: two home agents with real XDP, a simulator that plays the mobile nodes, a
correspondent that pings every home address. The first home agent loses power; the second one does the rest.
Needs root.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.lab.errors import LabError, LabInterrupted
from bench.rehearsal.comparison import print_comparison
from bench.rehearsal.cost_model import CostModel, calibrated
from bench.rehearsal.options import POLICIES, STORES, FailoverOptions
from bench.rehearsal.plot import draw
from bench.rehearsal.progress import make_reporter
from bench.rehearsal.report import build_report, print_report
from bench.rehearsal.run import Rehearsal
from bench.rehearsal.simulate import deviation, options_of, simulate

_DEFAULTS = FailoverOptions()
_MAX_NODES = 50_000
_MAX_SURVIVORS = 16
_MAX_SIMULATED_NODES = 1_000_000
_MAX_SIMULATED_SURVIVORS = 1_000
_MAX_DELAY_MS = 10_000
_MAX_BACKGROUND_RATE = 2_000
_MAX_TRAFFIC_PPS = 5_000  # the two ends are Python
_MAX_WORKERS = 64


def parse_options(arguments: Sequence[str] | None = None) -> FailoverOptions:
    """The options of a command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.failover", description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--mobile-nodes", type=int, default=_DEFAULTS.mobile_nodes, metavar="N", help="simulated mobile nodes")
    add("--policy", choices=POLICIES, default=_DEFAULTS.policy, help="how ha2 bounds what it does at once")
    add("--simulate", action="store_true", help="in virtual time: no processes, no root, up to a million nodes")
    add("--calibrate", type=Path, metavar="FILE", help="costs for --simulate from the JSON of a real run; checks them")
    add("--compare", action="store_true", help="every policy, one after the other, with the same seed")
    add("--concurrency", type=int, default=_DEFAULTS.concurrency, metavar="C", help="nodes in recovery at once")
    add("--rate", type=float, default=_DEFAULTS.rate_per_s, metavar="R", help="recoveries begun per second")
    add("--loss", type=float, default=_DEFAULTS.loss_percent, metavar="PCT", help="loss of packets, each direction")
    add("--rtt", type=float, default=_DEFAULTS.rtt_ms, metavar="MS", help="to the nodes and back")
    add("--jitter", type=float, default=_DEFAULTS.jitter_ms, metavar="MS", help="further time, at most, on that way")
    add("--unreachable", type=float, default=_DEFAULTS.unreachable_percent, metavar="PCT", help="nodes that vanish")
    add(
        "--background-bu",
        type=float,
        default=_DEFAULTS.background_bu_rate_per_s,
        metavar="RATE",
        help="Binding Updates per second of other nodes, registered at ha2 before",
    )
    add("--traffic", type=float, default=_DEFAULTS.traffic_pps, metavar="PPS", help="each way, of a node served by ha2")
    add("--survivors", type=int, default=_DEFAULTS.survivors, metavar="K", help="home agents beside the failing one")
    add("--store", choices=STORES, default=_DEFAULTS.store, help="of the cluster's state")
    add("--auth", choices=("psk", "cert"), default=_DEFAULTS.authentication, help="shared keys or certificates")
    prefix = parser.add_mutually_exclusive_group()
    prefix.add_argument("--same-prefix", action="store_true", help="both serve one home prefix (the default)")
    prefix.add_argument("--new-home-address", action="store_true", help="the second one has a prefix of its own")
    add(
        "--workers",
        type=int,
        default=_DEFAULTS.workers,
        metavar="W",
        help="processes that do IKEv2",
    )
    add("--seed", type=int, default=_DEFAULTS.seed, metavar="S", help="of the loss and the nodes' timers")
    add("--lease", type=float, default=_DEFAULTS.lease_s, metavar="S", help="silence that counts as a failure")
    add("--probe-rate", type=float, default=_DEFAULTS.probe_rate_per_s, metavar="R", help="pings per second, at most")
    add("--give-up-after", type=float, default=_DEFAULTS.give_up_after_s, metavar="S", help="per node")
    add("--json", type=Path, metavar="FILE", help="write the result to this file")
    add("--plot", type=Path, metavar="FILE", help="draw the result into this file (PNG, SVG, PDF)")
    add("--output", type=Path, metavar="DIR", help="keep the processes' logs there")
    parsed = parser.parse_args(arguments)
    max_nodes, max_survivors = (
        (_MAX_SIMULATED_NODES, _MAX_SIMULATED_SURVIVORS) if parsed.simulate else (_MAX_NODES, _MAX_SURVIVORS)
    )
    if not 1 <= parsed.mobile_nodes <= max_nodes:
        parser.error(f"--mobile-nodes takes 1 to {max_nodes}")
    if parsed.calibrate is not None and not parsed.simulate:
        parser.error("--calibrate goes with --simulate")
    if not 0 <= parsed.loss < 100:
        parser.error("--loss takes 0 to less than 100 percent")
    if not 1 <= parsed.survivors <= max_survivors:
        parser.error(f"--survivors takes 1 to {max_survivors}")
    if parsed.same_prefix and parsed.survivors > 1:
        parser.error("a home prefix is routed to one home agent: more --survivors have prefixes of their own")
    if not 0 <= parsed.unreachable < 100:
        parser.error("--unreachable takes 0 to less than 100 percent")
    if min(parsed.rtt, parsed.jitter) < 0 or max(parsed.rtt, parsed.jitter) > _MAX_DELAY_MS:
        parser.error(f"--rtt and --jitter take 0 to {_MAX_DELAY_MS} ms")
    if not 0 <= parsed.background_bu <= _MAX_BACKGROUND_RATE:
        parser.error(f"--background-bu takes 0 to {_MAX_BACKGROUND_RATE}")
    if not 0 <= parsed.traffic <= _MAX_TRAFFIC_PPS:
        parser.error(f"--traffic takes 0 to {_MAX_TRAFFIC_PPS}")
    if parsed.traffic and parsed.simulate:
        parser.error("--simulate knows no packets: --traffic goes with real runs")
    if min(parsed.concurrency, parsed.rate, parsed.lease, parsed.probe_rate, parsed.give_up_after) <= 0:
        parser.error("--concurrency, --rate, --lease, --probe-rate and --give-up-after take positive numbers")
    if not 0 <= parsed.workers <= _MAX_WORKERS:
        parser.error(f"--workers takes 0 to {_MAX_WORKERS}")
    return FailoverOptions(
        mobile_nodes=parsed.mobile_nodes,
        policy=parsed.policy,
        concurrency=parsed.concurrency,
        rate_per_s=parsed.rate,
        loss_percent=parsed.loss,
        rtt_ms=parsed.rtt,
        jitter_ms=parsed.jitter,
        unreachable_percent=parsed.unreachable,
        background_bu_rate_per_s=parsed.background_bu,
        traffic_pps=parsed.traffic,
        survivors=parsed.survivors,
        store=parsed.store,
        authentication=parsed.auth,
        new_home_address=parsed.new_home_address or parsed.survivors > 1,
        workers=parsed.workers,
        seed=parsed.seed,
        lease_s=parsed.lease,
        probe_rate_per_s=parsed.probe_rate,
        give_up_after_s=parsed.give_up_after,
        simulate=parsed.simulate,
        calibrate_file=parsed.calibrate,
        compare=parsed.compare,
        json_file=parsed.json,
        plot_file=parsed.plot,
        output=parsed.output,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Rehearse; 0 only if every reachable node was recovered, when comparing by every policy but `unlimited`."""
    options = parse_options(arguments)
    console = Console(stderr=True)
    reports: list[dict[str, Any]] = []
    failed: int | None = None
    try:
        rehearse = _simulation(options) if options.simulate else _rehearsal(console)
        for policy in POLICIES if options.compare else (options.policy,):
            if options.compare:
                console.print(f"policy {policy}", highlight=False)
            reports.append(rehearse(replace(options, policy=policy)))
            _keep(reports, options)
    except LabInterrupted as interrupt:
        console.print("Interrupted; everything was removed.")
        failed = 128 + interrupt.signal_number
    except LabError as error:
        console.print(f"The rehearsal could not be completed: {error}", style="red", markup=False, soft_wrap=True)
        failed = 1
    if reports:
        _show(reports, options)
    if failed is not None:
        return failed
    expected = [report for report in reports if not options.compare or report["parameters"]["policy"] != "unlimited"]
    return 0 if all(report["recovered"] == report["reachable"] for report in expected) else 1


def _keep(reports: list[dict[str, Any]], options: FailoverOptions) -> None:
    """Writes what there is so far: a comparison takes long, and its last policy may not come to an end."""
    if options.json_file is not None:
        options.json_file.write_text(json.dumps(reports if options.compare else reports[0], indent=2) + "\n")


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
