"""The result of a flood: a JSON object with stable names, and a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.flooding.options import FloodOptions
from bench.flooding.run import Observed
from bench.lab.outages import percentile
from bench.rehearsal.machine import machine, versions


def build_report(
    options: FloodOptions,
    quiet: Observed,
    flooded: Observed,
    unlimited: Observed,
    calibration_ms: tuple[float, float],
) -> dict[str, Any]:
    """The result as a JSON object; every time and size in the unit its name ends with."""
    return {
        "mobile_nodes": options.mobile_nodes,
        "requested_rate_per_s": options.rate_per_s,
        "flood": {
            "sent": flooded.sent,
            "duration_s": round(flooded.sent_for_s, 1),
            "rate_per_s": round(flooded.sent / flooded.sent_for_s) if flooded.sent_for_s else 0,
        },
        "without_flood": _side(quiet),
        "with_flood": _side(flooded),
        "with_flood_unlimited": _side(unlimited),
        "cpu_ratio_unlimited_to_limited": _ratio(_cpu_share(unlimited), _cpu_share(flooded)),
        "calibration_ms": {"before": round(calibration_ms[0], 3), "after": round(calibration_ms[1], 3)},
        "parameters": {
            "duration_s": options.duration_s,
            "node_rate_per_s": options.node_rate_per_s,
            "auth": options.authentication,
        },
        "machine": machine(),
        "versions": versions(),
    }


def _cpu_share(observed: Observed) -> float:
    """Of one core: the daemon and the program."""
    if not observed.duration_s:
        return 0.0
    return (observed.usage.cpu_s + observed.program.run_time_ns / 1e9) / observed.duration_s


def _ratio(more: float, less: float) -> float | None:
    return round(more / less, 1) if less else None


def _side(observed: Observed) -> dict[str, Any]:
    counters, program = observed.counters, observed.program
    return {
        "registered": observed.registered,
        "failed_attempts": observed.failures,
        "handshake_ms": {
            name: _milliseconds(percentile(observed.handshakes_s, share))
            for name, share in (("p50", 0.5), ("p99", 0.99))
        },
        "requests_read": counters.get("received-ike-sa-init-request", 0),
        "cookies_sent": counters.get("cookies-sent", 0),
        "cookies_accepted": counters.get("cookies-accepted", 0),
        "lost_at_socket": observed.lost_at_socket,
        "ha_cpu_s": round(observed.usage.cpu_s, 2),
        "ha_cpu_percent": round(100 * observed.usage.cpu_s / observed.duration_s, 1) if observed.duration_s else 0.0,
        "xdp_ns_per_packet": round(program.run_time_ns / program.runs) if program.runs else None,
        "xdp_cpu_percent": round(program.run_time_ns / 1e7 / observed.duration_s, 1) if observed.duration_s else 0.0,
        "cookies_from_xdp": observed.packets.get("reply-ike-cookie", 0),
        "rss_mb": {
            "before": round(observed.rss_before / 1e6, 1),
            "registered": round(observed.rss_registered / 1e6, 1),
            "after": round(observed.rss_after / 1e6, 1),
        },
    }


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """The result for people."""
    flood = report["flood"]
    sides = [report[name] for name in ("without_flood", "with_flood", "with_flood_unlimited")]
    console.print(f"{flood['sent']} forged requests in {flood['duration_s']} s: {flood['rate_per_s']} a second")
    table = Table("what", "without flood", "with flood", "the same without limits", title="Flood of IKE_SA_INIT")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = {
        "honest nodes registered": "registered",
        "failed attempts": "failed_attempts",
        "requests read": "requests_read",
        "lost at the socket": "lost_at_socket",
        "cookies sent by XDP": "cookies_from_xdp",
        "cookies sent": "cookies_sent",
        "cookies accepted": "cookies_accepted",
        "daemon's CPU, % of one core": "ha_cpu_percent",
        "XDP's CPU, % of one core": "xdp_cpu_percent",
        "XDP, ns a packet": "xdp_ns_per_packet",
    }
    for what, key in rows.items():
        table.add_row(what, *(str(side[key]) for side in sides))
    table.add_row("handshake p50 / p99, ms", *(_joined(side["handshake_ms"]) for side in sides))
    table.add_row("memory before / registered / after, MB", *(_joined(side["rss_mb"]) for side in sides))
    console.print(table)
    console.print(f"CPU without limits to CPU with: {report['cpu_ratio_unlimited_to_limited']}")


def _joined(values: Mapping[str, Any]) -> str:
    return " / ".join(str(value) for value in values.values())


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
