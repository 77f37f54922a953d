"""The result of a rehearsal: a JSON object with stable names, and a table for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.lab.probing import Delivery
from bench.rehearsal.background import Refresh
from bench.rehearsal.bare_bootstraps import BareBootstraps
from bench.rehearsal.figures import distribution, outage_text, outages_of, rounded
from bench.rehearsal.machine import machine, versions
from bench.rehearsal.options import FailoverOptions
from bench.rehearsal.samples import Sampler

_SURVIVORS_SHOWN = 16
# The whole home agent, store, sockets and data path included, to what `bench.ike` measures of an initiator.
_CPU_LIMIT = 1.5


@dataclass(frozen=True, slots=True)
class Measurements:
    """What one rehearsal measured.

    Attributes:
        outages_s: by node, seconds from ha1's failure to the first ping answered after it; None: never.
        probe_interval_s: time between two pings of one node, the resolution of the outages.
        sampler: what the survivors said of themselves, to the end of the takeover.
        detection_s: seconds from the failure until the first survivor began with nodes it has claimed; None: none did.
        failed_at: when the failure was (seconds since the epoch).
        duration_s: seconds from the failure until the last node was recovered or given up.
        packets: ha2's XDP counters since the failure, by reason.
        simulator: the simulator's last summary.
        refreshes: of nodes that the failure did not concern.
        background_bus: Binding Updates these sent, repetitions included.
        traffic: what became of packets of a node that the failure did not concern, by direction; empty: none.
        bare: bootstraps of the same kind without a daemon, before and after.
        calibration_ms: the calibration loop before and after.
    """

    outages_s: Sequence[float | None]
    probe_interval_s: float
    sampler: Sampler
    detection_s: float | None
    failed_at: float
    duration_s: float
    packets: Mapping[str, int]
    simulator: Mapping[str, Any]
    refreshes: Sequence[Refresh]
    background_bus: int
    traffic: Mapping[str, Delivery]
    bare: BareBootstraps
    calibration_ms: tuple[float, float]


def build_report(options: FailoverOptions, measured: Measurements) -> dict[str, Any]:
    """The result as a JSON object; every time in the unit its name ends with."""
    sampler = measured.sampler
    takeovers = sampler.takeovers
    unreachable = options.unreachable
    reachable = [outage for number, outage in enumerate(measured.outages_s, 1) if number not in unreachable]
    answered = sorted(outage for outage in reachable if outage is not None)
    recovered = min(sum(int(takeover["recovered"]) for takeover in takeovers.values()), len(answered))
    return {
        "mobile_nodes": options.mobile_nodes,
        "reachable": len(reachable),
        "unreachable": len(unreachable),
        "recovered": recovered,
        "given_up": sum(int(takeover["given_up"]) for takeover in takeovers.values()),
        "reasons": sampler.counted("given_up_reasons"),
        "failed_attempts": sampler.counted("reasons"),
        "duration_s": round(measured.duration_s, 3),
        "detection_s": rounded(measured.detection_s, 3),
        "outage_s": outages_of(answered, len(reachable)),
        "outage_resolution_s": round(measured.probe_interval_s, 3),
        "handshake_ms": _handshakes(takeovers.values()),
        "background_bu_ms": _background(measured, during=True),
        "background_bu_before_ms": _background(measured, during=False),
        "background_bu_sent": measured.background_bus,
        "traffic": _traffic(measured.traffic),
        **_cpu(measured, recovered),
        "retransmissions": sum(int(takeover.get("retransmissions") or 0) for takeover in takeovers.values()),
        "peak_in_flight": max(int(takeover.get("peak_in_flight") or 0) for takeover in takeovers.values()),
        "peak_rss_mb": round(max(usage.peak_rss_bytes for usage in sampler.usage.values()) / 1e6, 1),
        "survivors": _survivors(sampler),
        "xdp_packets": {name: count for name, count in measured.packets.items() if count},
        "simulator": dict(measured.simulator),
        "calibration_ms": {
            "before": round(measured.calibration_ms[0], 3),
            "after": round(measured.calibration_ms[1], 3),
        },
        "parameters": _parameters(options),
        "seed": options.seed,
        "timeline": _timeline(measured, answered),
        "machine": machine(),
        "versions": versions(),
    }


def _cpu(measured: Measurements, recovered: int) -> dict[str, float]:
    """What the survivors' processes took, all together, and how many times the bootstraps alone that is."""
    sampler, bare = measured.sampler, measured.bare
    usage = [(sampler.usage_before[name], after) for name, after in sampler.usage.items()]
    cpu_s = sum(after.cpu_s - before.cpu_s for before, after in usage)
    reference_s = min(sampler.fastest_loop_s, bare.fastest_loop_s)
    calibrated_s, bare_s = sampler.calibrated_cpu_s(reference_s) / max(1, recovered), bare.cpu_s(reference_s)
    return {
        "ha_cpu_s": round(cpu_s, 2),
        "ha_cpu_user_s": round(sum(after.user_s - before.user_s for before, after in usage), 2),
        "ha_cpu_system_s": round(sum(after.system_s - before.system_s for before, after in usage), 2),
        "ha_cpu_workers_s": round(sum(after.children_s - before.children_s for before, after in usage), 2),
        "ha_cpu_ms_per_node": round(cpu_s * 1000 / max(1, recovered), 3),
        "ha_cpu_calibrated_ms_per_node": round(calibrated_s * 1000, 3),
        "bare_bootstrap_ms": round(bare_s * 1000, 3),
        "ha_cpu_to_bare_bootstrap": round(calibrated_s / bare_s, 2),
    }


def _survivors(sampler: Sampler) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "claimed": takeover.get("total"),
            "recovered": takeover.get("recovered"),
            "given_up": takeover.get("given_up"),
            "cpu_s": round(sampler.usage[name].cpu_s - sampler.usage_before[name].cpu_s, 2),
        }
        for name, takeover in sampler.takeovers.items()
    }


def _parameters(options: FailoverOptions) -> dict[str, Any]:
    return {
        "policy": options.policy,
        "concurrency": options.concurrency,
        "rate_per_s": options.rate_per_s,
        "workers": options.workers,
        "loss_percent": options.loss_percent,
        "rtt_ms": options.rtt_ms,
        "jitter_ms": options.jitter_ms,
        "unreachable_percent": options.unreachable_percent,
        "background_bu_rate_per_s": options.background_bu_rate_per_s,
        "survivor_cpu_percent": options.survivor_cpu_percent,
        "traffic_pps": options.traffic_pps,
        "survivors": options.survivors,
        "store": options.store,
        "auth": options.authentication,
        "new_home_address": options.new_home_address,
        "lease_s": options.lease_s,
        "probe_rate_per_s": options.probe_rate_per_s,
    }


def _handshakes(takeovers: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
    """With several survivors the figure of the slowest."""
    all_of_them = [takeover.get("handshake_ms") or {} for takeover in takeovers]
    return {
        name: rounded(max((each[name] for each in all_of_them if each.get(name) is not None), default=None), 3)
        for name in ("p50", "p99")
    }


def _background(measured: Measurements, *, during: bool) -> dict[str, Any] | None:
    """The time from Binding Update to acknowledgement, from the failure on or before it."""
    if not measured.refreshes:
        return None
    # What is left after the last answer is waiting for nodes that are not there: no storm any more.
    answered = [outage for outage in measured.outages_s if outage is not None]
    end = measured.failed_at + max(answered, default=measured.duration_s)
    values = [
        refresh.answered_after_s * 1000
        for refresh in measured.refreshes
        if (
            measured.failed_at <= refresh.at - refresh.answered_after_s <= end
            if during
            else refresh.at < measured.failed_at
        )
    ]
    return {**distribution(values, 1), "count": len(values)}


def _traffic(deliveries: Mapping[str, Delivery]) -> dict[str, int] | None:
    """Both directions together."""
    if not deliveries:
        return None
    return {
        "sent": sum(each.sent for each in deliveries.values()),
        "lost": sum(each.missing for each in deliveries.values()),
        "repeated": sum(each.repeated for each in deliveries.values()),
    }


def _timeline(measured: Measurements, answered: Sequence[float]) -> dict[str, list[float]]:
    """What a picture needs, in columns; times in seconds since the failure."""
    samples = [asdict(sample) for sample in measured.sampler.samples]
    during = [refresh for refresh in measured.refreshes if refresh.at >= measured.failed_at]
    return {
        "at_s": [round(sample["at"], 3) for sample in samples],
        **{name: [sample[name] for sample in samples] for name in ("recovered", "in_flight", "limit")},
        "cpu_s": [round(sample["cpu_s"], 2) for sample in samples],
        "outages_s": [round(outage, 3) for outage in answered],
        "background_bu_at_s": [round(refresh.at - measured.failed_at, 3) for refresh in during],
        "background_bu_ms": [round(refresh.answered_after_s * 1000, 1) for refresh in during],
    }


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """The result for people."""
    table = Table(title="Failover rehearsal", show_header=False)
    table.add_column("what")
    table.add_column("value", justify="right")
    outage, handshake = report["outage_s"], report["handshake_ms"]
    rows = [
        ("policy", report["parameters"]["policy"]),
        ("recovered", f"{report['recovered']} of {report['reachable']}"),
        *([("unreachable", str(report["unreachable"]))] if report["unreachable"] else []),
        ("given up", str(report["given_up"])),
        ("takeover finished after", f"{report['duration_s']} s"),
        ("  of which detection", f"{report['detection_s']} s"),
        ("outage p50 / p90 / p99 / max", " / ".join(map(outage_text, outage.values())) + " s"),
        ("handshake p50 / p99", f"{handshake['p50']} / {handshake['p99']} ms"),
        *_bound_rows(report),
        ("home agent CPU", f"{report['ha_cpu_s']} s, {report['ha_cpu_ms_per_node']} ms a node"),
        *_bare_rows(report),
        *_background_rows(report),
        *_traffic_rows(report),
        ("retransmissions", str(report["retransmissions"])),
        ("peak in flight", str(report["peak_in_flight"])),
        *([] if report["peak_rss_mb"] is None else [("peak memory", f"{report['peak_rss_mb']} MB")]),
    ]
    if 1 < len(report["survivors"]) <= _SURVIVORS_SHOWN:
        rows += [(name, f"{each['recovered']} of {each['claimed']}") for name, each in report["survivors"].items()]
    for what, value in rows:
        table.add_row(what, value)
    console.print(table)
    for figure, each in report.get("calibration", {}).get("deviation", {}).items():
        shown = f"simulated {each['simulated']:g}, really {each['real']:g} ({each['percent']:+g} %)"
        console.print(f"the run it is calibrated from, {figure}: {shown}", soft_wrap=True, markup=False)
    for reason, number in report["reasons"].items():
        console.print(f"given up because of {reason}: {number}", soft_wrap=True, markup=False)


def _bound_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    percent = report["parameters"].get("survivor_cpu_percent")
    return [("CPU that the survivors may have", f"{percent:g} % of a core")] if percent else []


def _bare_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    if (ratio := report.get("ha_cpu_to_bare_bootstrap")) is None:
        return []
    calibrated, bare = report["ha_cpu_calibrated_ms_per_node"], report["bare_bootstrap_ms"]
    return [("  to what bench.ike measures", f"{ratio} ({calibrated} / {bare} ms), limit {_CPU_LIMIT}")]


def _background_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, when in (("background_bu_before_ms", "before"), ("background_bu_ms", "meanwhile")):
        if (figures := report[name]) is not None:
            shown = " / ".join(f"{figures[key]}" for key in ("p50", "p99", "max"))
            rows.append((f"other nodes' updates {when} p50 / p99 / max", f"{shown} ms ({figures['count']})"))
    return rows


def _traffic_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    traffic = report.get("traffic")
    return [] if traffic is None else [("another node's packets lost", f"{traffic['lost']} of {traffic['sent']}")]
