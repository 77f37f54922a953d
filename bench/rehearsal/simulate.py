"""A rehearsal in virtual time: more nodes and survivors than a machine could play, with the same kind of report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from bench.lab.outages import percentile
from bench.rehearsal.cost_model import CostModel
from bench.rehearsal.figures import distribution, outages_of, rounded
from bench.rehearsal.machine import machine, versions
from bench.rehearsal.options import FailoverOptions
from bench.rehearsal.virtual import VirtualResult, VirtualSurvivor
from control.cluster.shares import share

_T = TypeVar("_T")
_POINTS = 2000
_CHECKED = (("duration_s",), ("outage_s", "p50"), ("outage_s", "p99"), ("retransmissions",), ("ha_cpu_s",))
_COMMON = (
    "policy",
    "concurrency",
    "rate_per_s",
    "loss_percent",
    "rtt_ms",
    "jitter_ms",
    "unreachable_percent",
    "background_bu_rate_per_s",
    "survivors",
    "lease_s",
)


def simulate(options: FailoverOptions, model: CostModel) -> dict[str, Any]:
    """Every survivor by itself, as each has a CPU of its own; the report has the members of a real one's that apply."""
    names = [f"ha{number}" for number in range(2, 2 + options.survivors)]
    capacities = dict.fromkeys(names, 1)
    results: dict[str, VirtualResult] = {}
    left, gone = options.mobile_nodes, len(options.unreachable)
    for index, name in enumerate(names):
        nodes = min(left, share(options.mobile_nodes, name, capacities))
        unreachable = round(gone * nodes / left) if left else 0
        results[name] = VirtualSurvivor(options, model, nodes, unreachable, options.seed + index).run()
        left, gone = left - nodes, gone - unreachable
    return _report(options, model, results)


def options_of(report: Mapping[str, Any]) -> FailoverOptions:
    """The options of the run that a report is of, as far as a simulation knows them."""
    parameters = {name: report["parameters"][name] for name in _COMMON}
    return replace(FailoverOptions(), mobile_nodes=report["mobile_nodes"], seed=report["seed"], **parameters)


def deviation(real: Mapping[str, Any], simulated: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """How far a simulation is from the run it repeats, by figure."""
    rows = {}
    for path in _CHECKED:
        values = [_member(report, path) for report in (real, simulated)]
        if all(values):
            percent = round((values[1] / values[0] - 1) * 100, 1)
            rows[".".join(path)] = {"real": values[0], "simulated": values[1], "percent": percent}
    return rows


def _member(report: Mapping[str, Any], path: Sequence[str]) -> float:
    value: Any = report
    for name in path:
        value = value[name]
    return float(value or 0)


def _report(options: FailoverOptions, model: CostModel, results: Mapping[str, VirtualResult]) -> dict[str, Any]:
    every = list(results.values())
    outages = sorted(model.detection_s + at + options.rtt_ms / 1000 for result in every for at in result.recovered_at)
    handshakes = [each * 1000 for result in every for each in result.handshakes_s]
    background = [answered_s * 1000 for result in every for _, answered_s in result.background]
    cpu_s = sum(result.cpu_s for result in every)
    unreachable = len(options.unreachable)
    reachable = options.mobile_nodes - unreachable
    given_up = [sum(result.reasons.values()) for result in every]
    return {
        "simulated": True,
        "mobile_nodes": options.mobile_nodes,
        "reachable": reachable,
        "unreachable": unreachable,
        "recovered": len(outages),
        "given_up": sum(given_up),
        "reasons": {"timeout": sum(given_up)} if sum(given_up) else {},
        "failed_attempts": {"timeout": sum(result.failed_attempts for result in every)},
        "duration_s": round(model.detection_s + max(result.settled_at for result in every), 3),
        "detection_s": round(model.detection_s, 3),
        "outage_s": outages_of(outages, reachable),
        "handshake_ms": {
            name: rounded(percentile(handshakes, part), 3) for name, part in (("p50", 0.5), ("p99", 0.99))
        },
        "background_bu_ms": {**distribution(background, 1), "count": len(background)} if background else None,
        "background_bu_before_ms": None,
        "ha_cpu_s": round(cpu_s, 2),
        "ha_cpu_ms_per_node": round(cpu_s * 1000 / max(1, len(outages)), 3),
        "retransmissions": sum(result.retransmissions for result in every),
        "peak_in_flight": max(result.peak_in_flight for result in every),
        "peak_rss_mb": None,
        "survivors": {
            name: {
                "claimed": result.nodes,
                "recovered": len(result.recovered_at),
                "given_up": lost,
                "cpu_s": round(result.cpu_s, 2),
            }
            for (name, result), lost in zip(results.items(), given_up, strict=True)
        },
        "parameters": {name: getattr(options, name) for name in _COMMON} | {"auth": "simulated"},
        "model": asdict(model),
        "seed": options.seed,
        "timeline": _timeline(model, every[0], outages),
        "machine": machine(),
        "versions": versions(),
    }


def _timeline(model: CostModel, first: VirtualResult, outages: Sequence[float]) -> dict[str, list[float]]:
    """The outages of all, the rest of the first survivor; not more points than a picture can show."""
    samples = _thinned(first.samples)
    background = _thinned(first.background)
    return {
        "at_s": [round(model.detection_s + sample.at, 3) for sample in samples],
        "recovered": [sample.recovered for sample in samples],
        "in_flight": [sample.in_flight for sample in samples],
        "limit": [sample.limit for sample in samples],
        "cpu_s": [round(sample.cpu_s, 3) for sample in samples],
        "outages_s": [round(outage, 3) for outage in _thinned(outages)],
        "background_bu_at_s": [round(model.detection_s + at, 3) for at, _ in background],
        "background_bu_ms": [round(answered_s * 1000, 1) for _, answered_s in background],
    }


def _thinned(values: Sequence[_T]) -> Sequence[_T]:
    return values[:: -(-len(values) // _POINTS) or 1]
