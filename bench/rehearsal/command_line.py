"""The options of `python -m bench.failover`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.command_line import number, percentage, positive, result_file
from bench.rehearsal.options import POLICIES, STORES, FailoverOptions
from control.ike_workers.steering import MAX_WORKERS

_MAX_NODES = 50_000
_MAX_SURVIVORS = 16
_MAX_SIMULATED_NODES = 1_000_000
_MAX_SIMULATED_SURVIVORS = 1_000
_MAX_DELAY_MS = 10_000
_MAX_BACKGROUND_RATE = 2_000
_LEAST_CPU_PERCENT = 10  # less is stopped for most of the time, and not slow
_MAX_TRAFFIC_PPS = 5_000  # the two ends are Python

_Group = argparse._ArgumentGroup


def _add_cluster(group: _Group) -> None:
    add = group.add_argument
    add("--mobile-nodes", type=int, metavar="N", help="simulated mobile nodes")
    add("--survivors", type=int, metavar="K", help="home agents beside the failing one")
    add("--store", choices=STORES, help="of the cluster's state")
    add("--auth", dest="authentication", choices=("psk", "cert"), help="shared keys or certificates")
    prefix = group.add_mutually_exclusive_group()
    prefix.add_argument("--same-prefix", action="store_true", help="both serve one home prefix (the default)")
    prefix.add_argument("--new-home-address", action="store_true", help="the second one has a prefix of its own")
    add("--lease", dest="lease_s", type=positive, metavar="S", help="silence that counts as a failure")


def _add_recovery(group: _Group) -> None:
    add = group.add_argument
    add("--policy", choices=POLICIES, help="how ha2 bounds what it does at once")
    add("--compare", action="store_true", help="every policy, one after the other, with the same seed")
    add("--concurrency", type=number(int, 1), metavar="C", help="nodes in recovery at once")
    add("--rate", dest="rate_per_s", type=positive, metavar="R", help="recoveries begun per second")
    add("--give-up-after", dest="give_up_after_s", type=positive, metavar="S", help="per node")
    add("--workers", type=number(int, 0, MAX_WORKERS), metavar="W", help="processes that do IKEv2")


def _add_conditions(group: _Group) -> None:
    add, delay = group.add_argument, number(float, 0, _MAX_DELAY_MS)
    add("--loss", dest="loss_percent", type=percentage, metavar="PCT", help="loss of packets, each direction")
    add("--rtt", dest="rtt_ms", type=delay, metavar="MS", help="to the nodes and back")
    add("--jitter", dest="jitter_ms", type=delay, metavar="MS", help="further time, at most, on that way")
    add("--unreachable", dest="unreachable_percent", type=percentage, metavar="PCT", help="nodes that vanish")
    add(
        "--background-bu",
        dest="background_bu_rate_per_s",
        type=number(float, 0, _MAX_BACKGROUND_RATE),
        metavar="RATE",
        help="Binding Updates per second of other nodes, registered at ha2 before",
    )
    add(
        "--traffic",
        dest="traffic_pps",
        type=number(float, 0, _MAX_TRAFFIC_PPS),
        metavar="PPS",
        help="each way, of a node served by ha2",
    )
    add(
        "--survivor-cpu",
        dest="survivor_cpu_percent",
        type=number(float, _LEAST_CPU_PERCENT, 100 * _MAX_SURVIVORS),
        metavar="PCT",
        help="of one core, for all survivors: appliances slower than this machine",
    )
    add("--probe-rate", dest="probe_rate_per_s", type=positive, metavar="R", help="pings per second, at most")
    add("--seed", type=int, metavar="S", help="of the loss and the nodes' timers")


def _add_simulation(group: _Group) -> None:
    add = group.add_argument
    add("--simulate", action="store_true", help="in virtual time: no processes, no root, up to a million nodes")
    add(
        "--calibrate",
        dest="calibrate_file",
        type=Path,
        metavar="FILE",
        help="costs for --simulate from the JSON of a real run; checks them",
    )


def _add_results(group: _Group) -> None:
    add = group.add_argument
    add("--json", dest="json_file", type=result_file, metavar="FILE", help="write the result to this file")
    add(
        "--plot",
        dest="plot_file",
        type=result_file,
        metavar="FILE",
        help="draw the result into this file (PNG, SVG, PDF)",
    )
    add("--output", type=Path, metavar="DIR", help="keep the processes' logs there")


_GROUPS: Mapping[str, Callable[[_Group], None]] = {
    "the cluster": _add_cluster,
    "the recovery": _add_recovery,
    "what happens meanwhile": _add_conditions,
    "simulation": _add_simulation,
    "results": _add_results,
}


def parse_options(arguments: Sequence[str] | None = None, description: str | None = None) -> FailoverOptions:
    """The options of a command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.failover",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for title, add_options in _GROUPS.items():
        add_options(parser.add_argument_group(title))
    parser.set_defaults(**asdict(FailoverOptions()))
    values = vars(parser.parse_args(arguments))
    same_prefix = values.pop("same_prefix")
    values["new_home_address"] |= values["survivors"] > 1
    options = FailoverOptions(**values)
    problem = _contradiction(options, same_prefix)
    if problem is not None:
        parser.error(problem)
    return options


def _contradiction(options: FailoverOptions, same_prefix: bool) -> str | None:
    """What does not go together."""
    most_nodes, most_survivors = (
        (_MAX_SIMULATED_NODES, _MAX_SIMULATED_SURVIVORS) if options.simulate else (_MAX_NODES, _MAX_SURVIVORS)
    )
    if not 1 <= options.mobile_nodes <= most_nodes:
        return f"--mobile-nodes takes 1 to {most_nodes}"
    if not 1 <= options.survivors <= most_survivors:
        return f"--survivors takes 1 to {most_survivors}"
    if same_prefix and options.survivors > 1:
        return "a home prefix is routed to one home agent: more --survivors have prefixes of their own"
    if options.calibrate_file is not None and not options.simulate:
        return "--calibrate goes with --simulate"
    if options.survivor_cpu_percent and options.simulate:
        return "--simulate takes its CPU costs from --calibrate: --survivor-cpu goes with real runs"
    if options.traffic_pps and options.simulate:
        return "--simulate knows no packets: --traffic goes with real runs"
    return None
