"""The result for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.packet_rates.report import DIRECTIONS


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Small tables: packets, other frames, veth, the control plane's side, changes under traffic, targets."""
    for table in (
        _packets(report),
        _left_alone(report),
        _veth(report),
        _others(report),
        _changes(report),
        _targets(report),
    ):
        console.print(table)


def _pair(figures: Mapping[str, float] | None) -> str:
    return "-" if figures is None else f"{figures['min']:g} / {figures['median']:g}"


def _packets(report: Mapping[str, Any]) -> Table:
    table = Table(title="ns per packet (BPF_PROG_TEST_RUN), min / median")
    for name in ("what", "bindings", "one key", "random", "dependent", "x floor"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    table.add_row("empty", "", _pair(report["floor_ns"]["empty"]), "", "", "")
    table.add_row("floor", "", _pair(report["floor_ns"]["adjust_write"]), "", "", "1")
    for direction in DIRECTIONS:
        driver = report["driver_ns"]
        independent, dependent = _pair(driver[direction]), _pair(driver[f"{direction}_dependent"])
        table.add_row(f"{direction} driver", "", "", independent, dependent, "")
        for number, figures in report[f"{direction}_ns"].items():
            if figures is not None:
                ratio = report["ratios"][f"{direction}_to_adjust_write"][number]
                styles = (_pair(figures["hot"]), _pair(figures), _pair(figures["dependent"]))
                table.add_row(direction, f"{int(number):,}", *styles, f"{ratio['median']:.1f}")
    return table


def _left_alone(report: Mapping[str, Any]) -> Table:
    table = Table(title="ns per frame that is refused, or passed as it is, min / median: the dearest of each reason")
    for name in ("frame", "reason", "ns"):
        table.add_column(name, justify="right" if name == "ns" else "left")
    by_cost = sorted(report["others_ns"].items(), key=lambda each: each[1]["min"])
    dearest = {figures["reason"]: (name, figures) for name, figures in by_cost}
    for name, figures in dearest.values():
        table.add_row(name.replace("-", " "), figures["reason"], _pair(figures))
    return table


def _veth(report: Mapping[str, Any]) -> Table:
    table = Table(title="Mpps of one core through veth, live frames")
    for name in ("what", "median", "best", "x kernel"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for name, value in report["veth_mpps"].items():
        if value is None:
            continue
        direction, _, number = name.partition("_")
        ratio = report["ratios"].get(f"{direction}_to_kernel_forward", {}).get(number)
        table.add_row(
            name.replace("_", " "),
            f"{value:.2f}",
            f"{report['veth_best_mpps'][name]:.2f}",
            "" if ratio is None else f"{ratio:g}",
        )
    return table


def _others(report: Mapping[str, Any]) -> Table:
    table = Table(title="Bindings from Python", show_header=False)
    table.add_column("what")
    table.add_column("value", justify="right")
    for number, seconds in report["install_s"].items():
        if seconds is not None:
            table.add_row(f"install {int(number):,}", f"{seconds:.3g} s")
            table.add_row(f"remove {int(number):,}", f"{report['remove_s'][number]:.3g} s")
    table.add_row("kernel memory per binding", f"{report['bytes_per_binding']:g} bytes")
    table.add_row("a change is seen after", f"{report['update_visible_us']:g} us")
    table.add_row("load: compile, verify, attach", f"{report['load_s']:g} s")
    table.add_row("load what was compiled before", f"{report['load_again_s']:g} s")
    return table


def _changes(report: Mapping[str, Any]) -> Table:
    table = Table(title="Bindings changed under traffic to all of them")
    for name in ("what", "bindings", "s", "per s", "Mpps", "before", "lost", "astray"):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=True)
    for figures in report["changes_under_traffic"].values():
        for name in ("install", "change", "remove"):
            if figures is not None:
                of_name, packets = figures[name], figures["packets"]
                table.add_row(
                    name,
                    f"{of_name['bindings']:,}",
                    f"{of_name['s']:.3g}",
                    f"{of_name['per_s']:,}",
                    f"{of_name['mpps']:.2f}",
                    f"{figures['mpps_before']:.2f}",
                    *(
                        f"{packets[each]} of {packets['in_all']:,}" if each == "lost" else str(packets[each])
                        for each in ("lost", "astray")
                    ),
                )
    return table


def _targets(report: Mapping[str, Any]) -> Table:
    table = Table(title="Targets")
    for name in ("figure", "limit", "measured", "met"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    words = {None: "not measured", True: "yes", False: "[red]no[/red]"}
    for target in report["targets"]:
        value = "-" if target["value"] is None else f"{target['value']:.3g}"
        sign = ">=" if target["at_least"] else "<="
        name = target["figure"].removeprefix("ratios.").removesuffix(".median")
        table.add_row(name, f"{sign} {target['limit']:g}", value, words[target["met"]])
    return table
