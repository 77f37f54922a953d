"""The result of the bench: a JSON object with stable names, and a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.key_exchange import floor
from bench.key_exchange.measure import Figure, Measured
from bench.key_exchange.options import Options
from bench.key_exchange.strongswan import Extent
from bench.rehearsal.machine import machine, versions

_TO_FLOOR = 2.5
_KB_PER_NODE = 16.0
_STRONGSWAN_TO_INITIATOR = {"psk": 1.7, "ecdsa": 3.0}

_INCLUDES = {
    "initiator": (
        "the home agent's engine bootstraps a node: job and scheduler, IKE_SA_INIT, IKE_AUTH with the first child SA, "
        "CREATE_CHILD_SA, policy, SA tables, timers, statistics, timeline; Home Agent Switch sent, Binding Update "
        "received, Binding Acknowledgement sent, all under ESP; binding cache. No store, no XDP map, no socket; key "
        "pairs are made and certificates verified within the figure"
    ),
    "initiator_prepared": "the same with a key pair for each node made before",
    "initiator_udp": "as initiator, IKE over UDP sockets on ::1, the daemon's own on this side; ESP in memory",
    "initiator_ike_sa": (
        "as initiator_udp, but only IKE_SA_INIT and IKE_AUTH, with a first child SA; no Mobile IPv6; the nodes' "
        "certificates were verified before, as strongSwan sees one and the same"
    ),
    "initiator_child_sas": "as initiator_ike_sa, and CREATE_CHILD_SA for a second child SA",
    "responder": (
        "the home agent's engine answers a node that registers by itself: IKE_SA_INIT, IKE_AUTH, Binding Update and "
        "Acknowledgement under ESP, binding cache; then a second child SA by CREATE_CHILD_SA, for equal work"
    ),
    "floor": " ".join((floor.__doc__ or "").split()),
}


@dataclass(frozen=True, slots=True)
class StrongSwan:
    """What strongSwan took as initiator.

    Attributes:
        initiator_us: calibrated CPU microseconds by extent and method; nothing for what could not be measured.
        note: what the figures include, or why there are none.
    """

    initiator_us: Mapping[Extent, Mapping[str, float]]
    note: str

    def by_method(self, extent: Extent, methods: Iterable[str]) -> dict[str, float | None]:
        """The figures of an extent, None for a method it could not be measured with."""
        figures = self.initiator_us.get(extent, {})
        return {method: _rounded(figures.get(method)) for method in methods}


def build_report(
    options: Options, measured: Measured, bytes_per_node: Mapping[str, float], strongswan: StrongSwan
) -> dict[str, Any]:
    """The result as a JSON object; every quantity in the unit its name ends with."""
    figures = {figure: {method: measured.figures_us(method, figure) for method in options.methods} for figure in Figure}
    memory = {method: round(value / 1000, 2) for method, value in bytes_per_node.items()}
    report: dict[str, Any] = {f"{figure}_us": _summary(figures[figure], median) for figure in Figure}
    report["strongswan_initiator_us"] = strongswan.by_method(Extent.CHILD_SAS, options.methods)
    report["strongswan_ike_sa_us"] = strongswan.by_method(Extent.IKE_SA, options.methods)
    report["kb_per_node"] = max(memory.values(), default=None)
    report["kb_per_node_by_method"] = memory
    report["exchanges_per_cpu_second"] = {
        figure: {method: round(1e6 / median(values)) for method, values in figures[figure].items()}
        for figure in (Figure.INITIATOR, Figure.INITIATOR_PREPARED, Figure.INITIATOR_UDP, Figure.RESPONDER)
    }
    report["ratios"] = {
        "initiator_to_floor": _ratios(figures[Figure.INITIATOR], figures[Figure.FLOOR]),
        "initiator_prepared_to_floor": _ratios(figures[Figure.INITIATOR_PREPARED], figures[Figure.FLOOR]),
        "initiator_udp_to_floor": _ratios(figures[Figure.INITIATOR_UDP], figures[Figure.FLOOR]),
        "responder_to_floor": _ratios(figures[Figure.RESPONDER], figures[Figure.RESPONDER_FLOOR]),
        "strongswan_to_initiator": _beside(report, "strongswan_initiator", "initiator_child_sas"),
        "strongswan_ike_sa_to_ours": _beside(report, "strongswan_ike_sa", "initiator_ike_sa"),
    }
    report["targets"] = {
        "initiator_to_floor": _TO_FLOOR,
        "kb_per_node": _KB_PER_NODE,
        "strongswan_to_initiator": _STRONGSWAN_TO_INITIATOR,
    }
    report["met"] = _met(report)
    report["least_us"] = {figure: _summary(figures[figure], min) for figure in Figure}
    report["uncalibrated_us"] = {
        figure: _summary({method: measured.raw_us(method, figure) for method in options.methods}, median)
        for figure in Figure
    }
    report["calibration"] = {
        "reference_us": round(measured.reference_s * 1e6, 1),
        "meaning": "every CPU figure is divided by the slow-down of a loop run before and after each measured segment, "
        "against that loop at its fastest in the run",
    }
    report["includes"] = {**_INCLUDES, "strongswan_initiator": strongswan.note}
    report["parameters"] = {
        "nodes": options.nodes,
        "rounds": options.rounds,
        "memory_nodes": options.memory_nodes,
    }
    report["machine"] = machine()
    report["versions"] = versions()
    return report


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """The result for people."""
    methods = list(report["initiator_us"])
    table = Table(title="Complete key exchanges: CPU microseconds of the home agent, median")
    table.add_column("what")
    for method in methods:
        table.add_column(method, justify="right")
    for figure in Figure:
        table.add_row(figure.replace("_", " "), *(f"{report[f'{figure}_us'][method]:.0f}" for method in methods))
    for name, member in (("strongSwan initiator", "initiator"), ("strongSwan initiator, IKE SA only", "ike_sa")):
        table.add_row(name, *(_cell(report[f"strongswan_{member}_us"][method]) for method in methods))
    table.add_section()
    for name, ratios in report["ratios"].items():
        table.add_row(f"{name.replace('_', ' ')} (ratio)", *(_cell(ratios.get(method)) for method in methods))
    memory = report["kb_per_node_by_method"]
    table.add_row("kB per established node", *(_cell(memory.get(method)) for method in methods))
    console.print(table)
    targets = report["targets"]
    console.print(
        f"Targets: initiator at most {targets['initiator_to_floor']} x the floor, "
        f"at most {targets['kb_per_node']:.0f} kB per node. "
        + ("All met." if all(report["met"].values()) else "Missed: " + ", ".join(_missed(report["met"])) + "."),
        soft_wrap=True,
    )
    console.print(f"strongSwan: {report['includes']['strongswan_initiator']}", soft_wrap=True, markup=False)


def _met(report: Mapping[str, Any]) -> dict[str, bool]:
    met = {
        f"initiator_to_floor_{method}": ratio <= _TO_FLOOR
        for method, ratio in report["ratios"]["initiator_to_floor"].items()
    }
    if report["kb_per_node"] is not None:
        met["kb_per_node"] = report["kb_per_node"] <= _KB_PER_NODE
    for name in ("strongswan_to_initiator", "strongswan_ike_sa_to_ours"):
        for method, ratio in report["ratios"][name].items():
            if method in _STRONGSWAN_TO_INITIATOR:
                met[f"{name}_{method}"] = ratio >= _STRONGSWAN_TO_INITIATOR[method]
    return met


def _missed(met: Mapping[str, bool]) -> list[str]:
    return [name.replace("_", " ") for name, reached in met.items() if not reached]


def _summary(by_method: Mapping[Any, list[float]], reduce: Any) -> dict[str, float]:
    return {method: round(reduce(values), 1) for method, values in by_method.items()}


def _ratios(above: Mapping[Any, list[float]], below: Mapping[Any, list[float]]) -> dict[str, float]:
    """The median of the ratios of each round: both sides of a ratio ran one after the other."""
    return {
        method: round(median(a / b for a, b in zip(values, below[method], strict=True)), 2)
        for method, values in above.items()
    }


def _beside(report: Mapping[str, Any], theirs: str, ours: str) -> dict[str, float]:
    """How many times as much CPU strongSwan takes, each over UDP."""
    measured = ((method, value) for method, value in report[f"{theirs}_us"].items() if value is not None)
    return {method: round(value / report[f"{ours}_us"][method], 2) for method, value in measured}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"
