"""The rehearsal's options, progress and report, without namespaces."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bench.failover import parse_options
from bench.lab.processes import ProcessUsage
from bench.rehearsal.options import FailoverOptions
from bench.rehearsal.progress import make_reporter
from bench.rehearsal.report import Measurements, build_report, print_report

MEASURED = Measurements(
    outages_s=[3.0, 4.0, 5.0, None],
    probe_interval_s=0.1,
    takeover={
        "total": 4,
        "recovered": 3,
        "given_up": 1,
        "peak_in_flight": 2,
        "handshake_ms": {"p50": 7.12345, "p99": 9.0},
        "retransmissions": 5,
        "reasons": {"no-answer": 1},
    },
    detection_s=3.0,
    duration_s=6.5,
    usage_before=ProcessUsage(user_s=0.7, system_s=0.3, peak_rss_bytes=10_000_000),
    usage_after=ProcessUsage(user_s=1.1, system_s=0.5, peak_rss_bytes=50_000_000),
    packets={"forward-encapsulated": 9, "drop-no-route": 0},
    simulator={"registered": 3},
    calibration_ms=(5.0, 6.0),
)


def test_report_has_the_figures_by_their_stable_names() -> None:
    report = build_report(FailoverOptions(mobile_nodes=4), MEASURED)
    expected = {
        "mobile_nodes": 4,
        "recovered": 3,
        "given_up": 1,
        "duration_s": 6.5,
        "detection_s": 3.0,
        "outage_s": {"p50": 4.0, "p90": 5.0, "p99": 5.0, "max": 5.0},
        "handshake_ms": {"p50": 7.123, "p99": 9.0},
        "ha_cpu_s": 0.6,
        "ha_cpu_user_s": 0.4,
        "ha_cpu_system_s": 0.2,
        "ha_cpu_ms_per_node": 200.0,
        "retransmissions": 5,
        "peak_in_flight": 2,
        "peak_rss_mb": 50.0,
        "xdp_packets": {"forward-encapsulated": 9},
    }
    assert {name: report[name] for name in expected} == expected
    json.dumps(report)


def test_a_node_that_answers_no_ping_is_not_recovered() -> None:
    deaf = replace(MEASURED, outages_s=[3.0, None, None, None])
    assert build_report(FailoverOptions(mobile_nodes=4), deaf)["recovered"] == 1


def test_nothing_recovered_is_reported_too() -> None:
    takeover = {"recovered": 0, "given_up": 4, "handshake_ms": {"p50": None, "p99": None}}
    nothing = replace(MEASURED, outages_s=[None] * 4, takeover=takeover)
    report = build_report(FailoverOptions(mobile_nodes=4), nothing)
    assert report["outage_s"]["max"] is None
    screen = io.StringIO()
    print_report(report, Console(file=screen, width=100))
    assert "0 of 4" in screen.getvalue()


def test_table_for_people() -> None:
    screen = io.StringIO()
    print_report(build_report(FailoverOptions(mobile_nodes=4), MEASURED), Console(file=screen, width=100))
    assert "3 of 4" in screen.getvalue()
    assert "no-answer: 1" in screen.getvalue()


def test_progress_is_a_bar_on_a_terminal_and_json_lines_elsewhere() -> None:
    terminal, pipe = io.StringIO(), io.StringIO()
    for console in (Console(file=terminal, force_terminal=True), Console(file=pipe)):
        with make_reporter(console) as reporter:
            reporter.phase("recovering", 10)
            for done in range(11):
                reporter.advance(done)
    assert "recovering" in terminal.getvalue()
    rows = [json.loads(line) for line in pipe.getvalue().splitlines()]
    assert rows[0] == {"phase": "recovering", "done": 0, "total": 10}
    assert rows[-1] == {"phase": "recovering", "done": 10, "total": 10}
    assert len(rows) == 2, "what happened within one second is not told line by line"


def test_options() -> None:
    line = "--mobile-nodes 1000 --concurrency 32 --rate 50 --loss 1 --auth psk --new-home-address --json f --seed 7"
    assert parse_options(line.split()) == FailoverOptions(
        mobile_nodes=1000,
        concurrency=32,
        rate_per_s=50.0,
        loss_percent=1.0,
        authentication="psk",
        new_home_address=True,
        json_file=Path("f"),
        seed=7,
    )


@pytest.mark.parametrize(
    "line", ["--mobile-nodes 0", "--loss 100", "--rate 0", "--same-prefix --new-home-address", "--auth none"]
)
def test_impossible_options_are_refused(line: str) -> None:
    with pytest.raises(SystemExit):
        parse_options(line.split())
