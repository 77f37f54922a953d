"""The result of a rehearsal: a JSON object with stable names, and a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.lab.outages import percentile
from bench.lab.processes import ProcessUsage
from bench.rehearsal.machine import machine, versions
from bench.rehearsal.options import FailoverOptions


@dataclass(frozen=True, slots=True)
class Measurements:
    """What one rehearsal measured.

    Attributes:
        outages_s: by node, seconds from ha1's failure to the first ping answered after it; None: never.
        probe_interval_s: time between two pings of one node, the resolution of the outages.
        takeover: ha2's own account, the member `takeover` of its status.
        detection_s: seconds from the failure until ha2 had claimed ha1's nodes; None: it never did.
        duration_s: seconds from the failure until ha2 had recovered or given up the last node.
        usage_before, usage_after: ha2's daemon just before the failure and when the takeover had finished.
        packets: ha2's XDP counters since the failure, by reason.
        simulator: the simulator's last summary.
        calibration_ms: the calibration loop before and after.
    """

    outages_s: Sequence[float | None]
    probe_interval_s: float
    takeover: Mapping[str, Any]
    detection_s: float | None
    duration_s: float
    usage_before: ProcessUsage
    usage_after: ProcessUsage
    packets: Mapping[str, int]
    simulator: Mapping[str, Any]
    calibration_ms: tuple[float, float]


def build_report(options: FailoverOptions, measured: Measurements) -> dict[str, Any]:
    """The result as a JSON object; every time in the unit its name ends with."""
    takeover = measured.takeover
    answered = [outage for outage in measured.outages_s if outage is not None]
    recovered = min(int(takeover["recovered"]), len(answered))
    cpu_s = measured.usage_after.cpu_s - measured.usage_before.cpu_s
    handshake = takeover.get("handshake_ms") or {}
    return {
        "mobile_nodes": options.mobile_nodes,
        "recovered": recovered,
        "given_up": int(takeover["given_up"]),
        "reasons": takeover.get("reasons", {}),
        "duration_s": round(measured.duration_s, 3),
        "detection_s": _rounded(measured.detection_s, 3),
        "outage_s": {
            "p50": _rounded(percentile(answered, 0.5), 3),
            "p90": _rounded(percentile(answered, 0.9), 3),
            "p99": _rounded(percentile(answered, 0.99), 3),
            "max": _rounded(max(answered, default=None), 3),
        },
        "outage_resolution_s": round(measured.probe_interval_s, 3),
        "handshake_ms": {name: _rounded(handshake.get(name), 3) for name in ("p50", "p99")},
        "ha_cpu_s": round(cpu_s, 2),
        "ha_cpu_user_s": round(measured.usage_after.user_s - measured.usage_before.user_s, 2),
        "ha_cpu_system_s": round(measured.usage_after.system_s - measured.usage_before.system_s, 2),
        "ha_cpu_ms_per_node": round(cpu_s * 1000 / max(1, recovered), 3),
        "retransmissions": takeover.get("retransmissions"),
        "peak_in_flight": takeover.get("peak_in_flight"),
        "peak_rss_mb": round(measured.usage_after.peak_rss_bytes / 1e6, 1),
        "xdp_packets": {name: count for name, count in measured.packets.items() if count},
        "simulator": dict(measured.simulator),
        "calibration_ms": {
            "before": round(measured.calibration_ms[0], 3),
            "after": round(measured.calibration_ms[1], 3),
        },
        "parameters": {
            "concurrency": options.concurrency,
            "rate_per_s": options.rate_per_s,
            "workers": options.workers,
            "loss_percent": options.loss_percent,
            "auth": options.authentication,
            "new_home_address": options.new_home_address,
            "lease_s": options.lease_s,
            "probe_rate_per_s": options.probe_rate_per_s,
        },
        "seed": options.seed,
        "machine": machine(),
        "versions": versions(),
    }


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """The result for people."""
    table = Table(title="Failover rehearsal", show_header=False)
    table.add_column("what")
    table.add_column("value", justify="right")
    outage, handshake = report["outage_s"], report["handshake_ms"]
    rows = [
        ("recovered", f"{report['recovered']} of {report['mobile_nodes']}"),
        ("given up", str(report["given_up"])),
        ("takeover finished after", f"{report['duration_s']} s"),
        ("  of which detection", f"{report['detection_s']} s"),
        ("outage p50 / p90 / p99 / max", " / ".join(f"{outage[key]}" for key in ("p50", "p90", "p99", "max")) + " s"),
        ("handshake p50 / p99", f"{handshake['p50']} / {handshake['p99']} ms"),
        ("home agent CPU", f"{report['ha_cpu_s']} s, {report['ha_cpu_ms_per_node']} ms a node"),
        ("retransmissions", str(report["retransmissions"])),
        ("peak in flight", str(report["peak_in_flight"])),
        ("peak memory", f"{report['peak_rss_mb']} MB"),
    ]
    for what, value in rows:
        table.add_row(what, value)
    console.print(table)
    for reason, number in report["reasons"].items():
        console.print(f"given up because of {reason}: {number}", soft_wrap=True, markup=False)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
