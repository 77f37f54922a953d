"""The result as a picture: nanoseconds by number of bindings, and rates through veth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from bench.packet_rates.report import DIRECTIONS

_NAMES = {"encap": "encapsulation", "decap": "decapsulation"}
_STYLES = {"hot": ("one key", ":"), "": ("random keys", "-"), "dependent": ("dependent keys", "--")}
_COLOURS = {"encap": "tab:blue", "decap": "tab:orange"}


def draw(report: Mapping[str, Any], file: Path) -> None:
    """Writes the picture; the format follows the file's suffix."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 5.2), width_ratios=(3, 2))
    _draw_packets(report, left)
    _draw_rates(report, right)
    machine = report["machine"]
    figure.suptitle(
        f"Data path, {machine['cpu']}, Linux {machine['kernel']}, {report['measured_at'][:10]}", fontsize=11
    )
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _draw_packets(report: Mapping[str, Any], axes: Any) -> None:
    floor = report["floor_ns"]["adjust_write"]["median"]
    axes.axhline(floor, color="black", linewidth=1, label=f"floor: adjust head and write, {floor:g} ns")
    for direction in DIRECTIONS:
        figures = {int(key): value for key, value in report[f"{direction}_ns"].items() if value is not None}
        for style, (name, line) in _STYLES.items():
            ours = {number: value[style] if style else value for number, value in figures.items()}
            medians = [value["median"] for value in ours.values()]
            label = f"{_NAMES[direction]}, {name}"
            axes.plot(list(ours), medians, line, marker="o", markersize=4, color=_COLOURS[direction], label=label)
        least = [value["min"] for value in figures.values()]
        median = [value["median"] for value in figures.values()]
        axes.fill_between(list(figures), least, median, color=_COLOURS[direction], alpha=0.15, linewidth=0)
    targets = [target for target in report["targets"] if target["figure"].startswith("ratios.encap_to_adjust_write")]
    numbers = [int(target["figure"].split(".")[2]) for target in targets]
    limits = [target["limit"] * floor for target in targets]
    axes.plot(numbers, limits, "v", color="tab:green", label="target")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda number, _: f"{number:,.0f}")
    axes.set_ylim(bottom=0, top=axes.get_ylim()[1] * 1.3)  # the legend's place
    axes.set_xlabel("bindings")
    axes.set_ylabel("ns per packet, median (shaded: down to the minimum)")
    axes.set_title("BPF_PROG_TEST_RUN", fontsize=10)
    axes.legend(fontsize=8, ncols=2, loc="upper left")
    axes.grid(alpha=0.3)


def _draw_rates(report: Mapping[str, Any], axes: Any) -> None:
    rates = {name: value for name, value in report["veth_mpps"].items() if value is not None}
    names = list(reversed(rates))
    values = [rates[name] for name in names]
    colours = [_COLOURS.get(name.partition("_")[0], "tab:gray") for name in names]
    bars = axes.barh([_label(name) for name in names], values, color=colours)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set_xlim(right=max(values) * 1.15)
    axes.set_xlabel("Mpps of one core, generator and sink included")
    axes.set_title("live frames through veth", fontsize=10)


def _label(name: str) -> str:
    direction, _, number = name.partition("_")
    if direction in _NAMES:
        return f"{_NAMES[direction]}, {int(number):,}"
    return {"kernel_forward": "kernel IPv6 forwarding", "generate_only": "generator alone"}[name]
