"""The verdict and the figures of a demonstration, as a JSON object and as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.demonstration.artifacts import KEY_TABLES, Artifacts
from bench.demonstration.options import DemoOptions
from bench.demonstration.timeline import NodeProgress
from bench.lab.counters import counter_changes, read_counters
from bench.lab.credentials import Subscriber

ENCAPSULATED, DECAPSULATED = "forward-encapsulated", "forward-decapsulated"
# Headings of what is counted for each node since the failure; spelled out below the table.
_HEADINGS = {
    "ike-sa-init-sent": "INIT",
    "ike-established": "SA",
    "home-agent-switch-sent": "HAS",
    "binding-update": "BU",
}
_CAPTION = "since the failure: INIT key exchanges begun, SA established, HAS Home Agent Switches, BU Binding Updates"


@dataclass(frozen=True, slots=True)
class NodeEvidence:
    """One node: who it is, what was reported of it, and its ping history."""

    subscriber: Subscriber
    progress: NodeProgress
    history: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything measured; the data paths' states by home agent, before the failure and at the end."""

    nodes: list[NodeEvidence]
    status: Mapping[str, Any]
    bulk: Mapping[str, Mapping[str, Any]]
    datapath_before: Mapping[str, Mapping[str, Any]]
    datapath_after: Mapping[str, Mapping[str, Any]]


def build_summary(options: DemoOptions, evidence: Evidence, artifacts: Artifacts) -> dict[str, Any]:
    """The summary; `ok` and `problems` are the verdict."""
    nodes = [_node_summary(node) for node in evidence.nodes]
    packets = {
        "ha1_before_failure": read_counters(evidence.datapath_before["ha1"]),
        "ha2_after_failure": counter_changes(evidence.datapath_before["ha2"], evidence.datapath_after["ha2"]),
    }
    problems = list(_problems(nodes, packets["ha2_after_failure"]))
    captures = sorted(artifacts.captures.glob("*.pcap"))
    signalling = artifacts.captures / "ha2.pcap"
    return {
        "ok": not problems,
        "problems": problems,
        "authentication": options.authentication,
        "new_home_address": options.new_home_address,
        "nodes": nodes,
        "recovered": sum(1 for node in nodes if node["recovered"]),
        "takeover": evidence.status.get("takeover"),
        "bulk": {name: dict(result) for name, result in evidence.bulk.items()},
        "packets": packets,
        "captures": [str(path) for path in captures],
        "keys": [str(artifacts.wireshark / table) for table in KEY_TABLES],
        "commands": {
            "wireshark": artifacts.wireshark_command(signalling),
            "tshark": artifacts.wireshark_command(signalling, "tshark"),
        },
        "timeline": str(artifacts.directory / "timeline.jsonl"),
        "logs": str(artifacts.logs),
    }


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """The summary for people."""
    console.print(_nodes_table(summary["nodes"]))
    console.print(_packets_table(summary["packets"]))
    for name, result in summary["bulk"].items():
        rate = result["bytes"] * 8 / result["seconds"] / 1e6
        _line(
            console,
            f"transfer {name}",
            f"{result['bytes'] / 1e6:.1f} MB in {result['seconds']:.2f} s, {rate:.0f} Mbit/s",
        )
    _line(console, "captures", " ".join(Path(path).name for path in summary["captures"]) + f" in {_parent(summary)}")
    _line(console, "key files", " ".join(summary["keys"]))
    _line(console, "timeline", f"{summary['timeline']}, logs in {summary['logs']}")
    _line(console, "to look", summary["commands"]["wireshark"])
    _line(console, "", summary["commands"]["tshark"])
    verdict = f"{summary['recovered']} of {len(summary['nodes'])} nodes recovered"
    if summary["ok"]:
        console.print(f"[bold green]{verdict}; ha2's XDP carried their traffic in both directions.")
    else:
        console.print(f"[bold red]{verdict}.")
        for problem in summary["problems"]:
            console.print(f"[red]{problem}", soft_wrap=True)


def _node_summary(node: NodeEvidence) -> dict[str, Any]:
    history, progress = node.history, node.progress
    return {
        "node": progress.name,
        "identity": node.subscriber.identity,
        "home_address_before": str(node.subscriber.home_address),
        "home_address": progress.home_address,
        "recovered": progress.recovered and history["outage_s"] is not None,
        "given_up": progress.given_up,
        "outage_s": history["outage_s"],
        "pings_sent": history["sent"],
        "pings_lost": history["sent"] - history["received"],
        "exchanges": {name: progress.events.get(name, 0) for name in _HEADINGS},
    }


def _problems(nodes: Iterable[Mapping[str, Any]], packets: Mapping[str, int]) -> Iterable[str]:
    for node in nodes:
        if not node["recovered"]:
            yield f"{node['node']} did not recover: {node['given_up'] or 'no ping was answered'}"
    for counter, what in ((ENCAPSULATED, "encapsulated"), (DECAPSULATED, "decapsulated")):
        if not packets.get(counter):
            yield f"ha2's XDP program has {what} no packet since the failure"


def _nodes_table(nodes: Iterable[Mapping[str, Any]]) -> Table:
    table = Table(title="Mobile nodes", caption=_CAPTION)
    for heading in ("node", "home address"):
        table.add_column(heading, overflow="fold")
    for heading in ("outage", "pings lost", *_HEADINGS.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for node in nodes:
        before, now = node["home_address_before"], node["home_address"]
        outage = "not back" if node["outage_s"] is None else f"{node['outage_s']:.3f} s"
        table.add_row(
            node["node"],
            now if now == before else f"{now}\n(was {before})",
            outage,
            f"{node['pings_lost']} of {node['pings_sent']}",
            *(str(node["exchanges"][name]) for name in _HEADINGS),
        )
    return table


def _packets_table(packets: Mapping[str, Mapping[str, int]]) -> Table:
    table = Table(title="Packets by path (XDP counters)")
    table.add_column("path")
    table.add_column("ha1, before the failure", justify="right")
    table.add_column("ha2, since the failure", justify="right")
    before, after = packets["ha1_before_failure"], packets["ha2_after_failure"]
    for name in sorted(set(before) | set(after)):
        if before.get(name) or after.get(name):
            table.add_row(name, str(before.get(name, 0)), str(after.get(name, 0)))
    return table


def _line(console: Console, name: str, text: str) -> None:
    # Long paths must not be broken: they are there to be copied.
    console.print(f"{name:<16} {text}", soft_wrap=True, highlight=False, markup=False)


def _parent(summary: Mapping[str, Any]) -> str:
    return str(Path(summary["captures"][0]).parent) if summary["captures"] else "-"
