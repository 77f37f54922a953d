"""Several rehearsals of the same failure, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.rehearsal.figures import outage_text

Report = Mapping[str, Any]

_ROWS: tuple[tuple[str, Callable[[Report], str]], ...] = (
    ("recovered", lambda report: f"{report['recovered']} of {report['reachable']}"),
    ("given up", lambda report: str(report["given_up"])),
    ("failed attempts", lambda report: str(sum(report["failed_attempts"].values()))),
    ("retransmissions", lambda report: str(report["retransmissions"])),
    ("outage p50, s", lambda report: outage_text(report["outage_s"]["p50"])),
    ("outage p99, s", lambda report: outage_text(report["outage_s"]["p99"])),
    ("outage max, s", lambda report: outage_text(report["outage_s"]["max"])),
    ("handshake p99, ms", lambda report: str(report["handshake_ms"]["p99"])),
    ("peak in flight", lambda report: str(report["peak_in_flight"])),
    ("other nodes' updates p50, ms", lambda report: _background(report, "p50")),
    ("other nodes' updates p99, ms", lambda report: _background(report, "p99")),
    ("another node's packets lost", lambda report: _traffic(report)),
    ("home agent CPU, s", lambda report: str(report["ha_cpu_s"])),
    ("  to what bench.ike measures", lambda report: str(report.get("ha_cpu_to_bare_bootstrap", ""))),
)


def print_comparison(reports: Sequence[Report], console: Console) -> None:
    """A column for each policy, without what was measured under none."""
    table = Table(title="The same failure under each policy")
    table.add_column("")
    for report in reports:
        table.add_column(report["parameters"]["policy"], justify="right")
    for what, of in _ROWS:
        figures = [of(report) for report in reports]
        if any(figures):
            table.add_row(what, *figures)
    console.print(table)


def _traffic(report: Report) -> str:
    figures = report.get("traffic")
    return "" if figures is None else f"{figures['lost']} of {figures['sent']}"


def _background(report: Report, name: str) -> str:
    figures = report["background_bu_ms"]
    return "" if figures is None else str(figures[name])
