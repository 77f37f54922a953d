"""The result as a picture: who is back when, what is under way, what others notice, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

_COLOURS = {"fixed": "tab:gray", "aimd": "tab:blue", "gradient": "tab:green", "unlimited": "tab:red"}
_PERCENT = 100.0
_SHORT_WAIT_MS, _LONG_WAIT_MS = 10.0, 1000.0
# CPU time is counted in hundredths of a second: over less than this a rate is mostly rounding.
_SHORTEST_CPU_INTERVAL_S = 0.45


def draw(reports: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Writes the picture of one rehearsal, or of several laid over each other; the format follows the file's suffix."""
    figure, rows = pyplot.subplots(2, 2, figsize=(13, 8.5))
    recovered, flight, others, cpu = rows.flat
    for report in reports:
        colour = _COLOURS[report["parameters"]["policy"]]
        _draw_recovered(report, recovered, colour)
        _draw_flight(report, flight, colour)
        _draw_others(report, others, colour)
        _draw_cpu(report, cpu, colour)
    _finish(recovered, "Nodes that answer again", "nodes", "lower right")
    if all(report["parameters"]["policy"] == "unlimited" for report in reports):
        _finish(flight, "Nodes being brought back at once", "in flight", "best")
    else:
        flight.set_yscale("symlog", linthresh=10)
        _finish(flight, "Nodes being brought back at once (dashed: the bound)", "in flight", "best")
    if others.has_data():
        others.set_yscale("log")
        low, high = others.get_ylim()
        others.set_ylim(min(low, _SHORT_WAIT_MS), max(high, _LONG_WAIT_MS))
        _finish(
            others, "Binding Updates of nodes the failure does not concern", "ms to the acknowledgement", "upper right"
        )
    else:
        _draw_outages(reports, others)
    _finish(cpu, "CPU of the surviving home agents", "% of one core", "upper right")
    end = max(_end(report) for report in reports)
    for axes in (recovered, flight, cpu, *((others,) if others.get_yscale() == "log" else ())):
        axes.set_xlim(0, end)
        axes.set_xlabel("seconds since the failure")
    figure.suptitle(_title(reports[0]), fontsize=11)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def cpu_percent(at_s: Sequence[float], cpu_s: Sequence[float]) -> tuple[list[float], list[float]]:
    """CPU time so far, as a load over time: the middles of intervals, and per cent of a core in them."""
    kept = [(at_s[0], cpu_s[0])] if at_s else []
    for point in zip(at_s, cpu_s, strict=True):
        if point[0] - kept[-1][0] >= _SHORTEST_CPU_INTERVAL_S:
            kept.append(point)
    middles = [(before[0] + after[0]) / 2 for before, after in pairwise(kept)]
    loads = [(after[1] - before[1]) / (after[0] - before[0]) * _PERCENT for before, after in pairwise(kept)]
    return middles, loads


def _end(report: Mapping[str, Any]) -> float:
    return float(max(report["timeline"]["outages_s"], default=report["duration_s"])) * 1.05


def _title(report: Mapping[str, Any]) -> str:
    parameters = report["parameters"]
    cores = f"{report['machine']['cores']} cores for everything"
    if percent := parameters.get("survivor_cpu_percent"):
        cores += f", {percent:g} % of one for the survivors"
    unreachable = f", {report['unreachable']} of them gone" if report["unreachable"] else ""
    return (
        f"Failover of {report['mobile_nodes']} nodes{unreachable}: {parameters['auth']}, "
        f"{parameters['loss_percent']:g} % loss each way, {parameters['rtt_ms']:g} ms round trip, "
        f"{'a core for each survivor' if report.get('simulated') else cores}"
    )


def _draw_recovered(report: Mapping[str, Any], axes: Any, colour: str) -> None:
    outages = report["timeline"]["outages_s"]
    # Of very many nodes the timeline has only some.
    each = report["recovered"] / max(1, len(outages))
    counts = [each * number for number in range(1, len(outages) + 1)]
    label = f"{report['parameters']['policy']}: {report['recovered']} of {report['reachable']}, {_time_of_most(report)}"
    axes.step(
        [0, *outages, _end(report)],
        [0, *counts, *counts[-1:]] if counts else [0, 0],
        where="post",
        color=colour,
        label=label,
    )


def _time_of_most(report: Mapping[str, Any]) -> str:
    after_s = report["outage_s"]["p99"]
    return "99 % never" if after_s is None else f"99 % after {after_s:.1f} s"


def _draw_flight(report: Mapping[str, Any], axes: Any, colour: str) -> None:
    timeline, policy = report["timeline"], report["parameters"]["policy"]
    label = f"{policy}: {report['retransmissions']} retransmissions"
    axes.plot(timeline["at_s"], timeline["in_flight"], color=colour, label=label)
    if policy != "unlimited":
        axes.plot(timeline["at_s"], timeline["limit"], color=colour, linestyle="--", linewidth=1)


def _draw_others(report: Mapping[str, Any], axes: Any, colour: str) -> None:
    timeline, figures = report["timeline"], report["background_bu_ms"]
    if figures is None or not figures["count"]:
        return
    label = f"{report['parameters']['policy']}: p99 {figures['p99']:.0f} ms"
    axes.plot(
        timeline["background_bu_at_s"],
        timeline["background_bu_ms"],
        ".",
        color=colour,
        markersize=5,
        alpha=0.6,
        label=label,
    )


def _draw_outages(reports: Sequence[Mapping[str, Any]], axes: Any) -> None:
    """In the place of the other nodes, where there are none."""
    for report in reports:
        policy = report["parameters"]["policy"]
        label = f"{policy}: {_time_of_most(report)}"
        axes.hist(report["timeline"]["outages_s"], bins=40, histtype="step", color=_COLOURS[policy], label=label)
    axes.set_xlabel("seconds")
    _finish(axes, "Outages", "nodes", "upper right")


def _draw_cpu(report: Mapping[str, Any], axes: Any, colour: str) -> None:
    timeline = report["timeline"]
    label = f"{report['parameters']['policy']}: {report['ha_cpu_s']} s"
    axes.plot(*cpu_percent(timeline["at_s"], timeline["cpu_s"]), color=colour, label=label)


def _finish(axes: Any, title: str, unit: str, place: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_ylabel(unit)
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc=place)
