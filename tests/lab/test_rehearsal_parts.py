"""The rehearsal's options, progress and report, without namespaces."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from bench.lab.probing import Delivery
from bench.lab.processes import ProcessUsage, read_usage, read_usage_of_family
from bench.rehearsal import progress
from bench.rehearsal.background import Refresh
from bench.rehearsal.bare_bootstraps import BareBootstraps
from bench.rehearsal.command_line import parse_options
from bench.rehearsal.comparison import print_comparison
from bench.rehearsal.options import POLICIES, FailoverOptions
from bench.rehearsal.plot import cpu_percent, draw
from bench.rehearsal.progress import make_reporter
from bench.rehearsal.report import Measurements, build_report, print_report
from bench.rehearsal.samples import Sampler
from tests.waiting import wait_until

START = ProcessUsage(user_s=0.7, system_s=0.3, peak_rss_bytes=10_000_000)
END = ProcessUsage(user_s=1.1, system_s=0.5, peak_rss_bytes=50_000_000)
TAKEOVER = {
    "total": 4,
    "recovered": 3,
    "given_up": 1,
    "in_flight": 0,
    "limit": 9,
    "peak_in_flight": 2,
    "handshake_ms": {"p50": 7.12345, "p99": 9.0},
    "retransmissions": 5,
    "reasons": {"timeout": 2},
    "given_up_reasons": {"timeout": 1},
}


class Survivor:
    """A home agent that has come so far."""

    def __init__(self, name: str, takeover: dict[str, object]) -> None:
        self.name = name
        self.daemon = self
        self._takeover = takeover
        self._usage = [END, START]

    def usage(self) -> ProcessUsage:
        return self._usage.pop()

    def require_running(self) -> None:
        pass

    def status(self) -> dict[str, object]:
        return {"takeover": self._takeover}


def sampled(*takeovers: dict[str, object]) -> Sampler:
    sampler = Sampler([Survivor(f"ha{number}", takeover) for number, takeover in enumerate(takeovers, 2)])  # type: ignore[misc]
    sampler.begin(time.monotonic() - 3)
    assert sampler.poll()
    return sampler


class BareBootstrapsOf(BareBootstraps):
    """So many seconds each, on a core that is not slowed down."""

    fastest_loop_s = math.inf

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def cpu_s(self, reference_s: float) -> float:
        return self._seconds


MEASURED = Measurements(
    outages_s=[3.0, 4.0, 5.0, None],
    probe_interval_s=0.1,
    sampler=sampled(TAKEOVER),
    detection_s=3.0,
    failed_at=1000.0,
    duration_s=6.5,
    packets={"forward-encapsulated": 9, "drop-no-route": 0},
    simulator={"registered": 3},
    refreshes=[Refresh(999.0, 0.02), Refresh(1000.1, 0.2), Refresh(1001.0, 0.03), Refresh(1002.0, 0.05)],
    background_bus=5,
    traffic={"encapsulated": Delivery(100, 2, 0), "decapsulated": Delivery(101, 0, 1)},
    bare=BareBootstrapsOf(0.08),
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
        "outage_s": {"p50": 4.0, "p90": None, "p99": None, "max": None},  # one of the four is not back
        "handshake_ms": {"p50": 7.123, "p99": 9.0},
        "ha_cpu_s": 0.6,
        "ha_cpu_user_s": 0.4,
        "ha_cpu_system_s": 0.2,
        "ha_cpu_ms_per_node": 200.0,
        "ha_cpu_calibrated_ms_per_node": 200.0,
        "bare_bootstrap_ms": 80.0,
        "ha_cpu_to_bare_bootstrap": 2.5,
        "traffic": {"sent": 201, "lost": 2, "repeated": 1},
        "retransmissions": 5,
        "peak_in_flight": 2,
        "peak_rss_mb": 50.0,
        "xdp_packets": {"forward-encapsulated": 9},
    }
    assert {name: report[name] for name in expected} == expected
    json.dumps(report)


def test_survivors_are_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("bench.rehearsal.samples.time.monotonic", lambda: now[0])
    survivor = Survivor("ha2", TAKEOVER)
    sampler = Sampler([survivor])  # type: ignore[list-item]
    sampler.begin(1000.0)
    asked = []
    for now[0] in (1000.0, 1000.1, 1000.4, 1000.6):
        survivor._usage = [END]
        asked.append(sampler.poll())
    assert asked == [True, False, False, True]


def test_cpu_time_counts_by_how_fast_the_cores_were() -> None:
    sampler = sampled(TAKEOVER)
    [first] = sampler.samples
    times = ((1.0, 0.001), (2.0, 0.001), (5.0, 0.002), (6.0, 0.002))
    sampler.samples = [replace(first, cpu_s=cpu_s, loop_s=loop_s) for cpu_s, loop_s in times]
    assert sampler.calibrated_cpu_s(sampler.fastest_loop_s) == pytest.approx(1.0 + 1.0 + 1.5 + 0.5)


def test_bootstraps_alone_are_measured_beside() -> None:
    bare = BareBootstraps("psk")
    bare.measure()
    rounds = len(bare.meters)
    bare.measure()
    assert len(bare.meters) == 2 * rounds > 2
    least, most = (of(meter.cpu_s(bare.fastest_loop_s) for meter in bare.meters) / 64 for of in (min, max))
    assert 0 < least <= bare.cpu_s(bare.fastest_loop_s) <= most


def test_a_node_that_answers_no_ping_is_not_recovered() -> None:
    deaf = replace(MEASURED, outages_s=[3.0, None, None, None])
    assert build_report(FailoverOptions(mobile_nodes=4), deaf)["recovered"] == 1


def test_nothing_recovered_is_reported_too() -> None:
    takeover = {"recovered": 0, "given_up": 4, "handshake_ms": None}
    nothing = replace(MEASURED, outages_s=[None] * 4, sampler=sampled(takeover), refreshes=())
    report = build_report(FailoverOptions(mobile_nodes=4), nothing)
    assert report["outage_s"]["max"] is None
    screen = io.StringIO()
    print_report(report, Console(file=screen, width=100))
    assert "0 of 4" in screen.getvalue()


def test_table_for_people() -> None:
    screen = io.StringIO()
    print_report(build_report(FailoverOptions(mobile_nodes=4), MEASURED), Console(file=screen, width=100))
    assert "3 of 4" in screen.getvalue()
    assert "4.0 / never / never / never s" in screen.getvalue()
    assert "timeout: 1" in screen.getvalue()
    assert "30.0 / 50.0 / 50.0 ms (2)" in screen.getvalue()


def test_other_nodes_updates_count_by_when_they_were_sent() -> None:
    report = build_report(FailoverOptions(mobile_nodes=4), MEASURED)
    assert report["background_bu_ms"] == {"p50": 30.0, "p90": 50.0, "p99": 50.0, "max": 50.0, "count": 2}
    assert report["background_bu_before_ms"]["max"] == 20.0
    assert report["timeline"]["background_bu_at_s"] == [0.1, 1.0, 2.0]


def test_nodes_that_vanished_are_not_asked_of_the_home_agent() -> None:
    options = FailoverOptions(mobile_nodes=4, unreachable_percent=25, seed=11)
    assert options.unreachable == {4}
    report = build_report(options, MEASURED)
    assert (report["reachable"], report["unreachable"], report["recovered"]) == (3, 1, 3)
    assert (report["given_up"], report["reasons"], report["failed_attempts"]) == (1, {"timeout": 1}, {"timeout": 2})
    screen = io.StringIO()
    print_report(report, Console(file=screen, width=100))
    assert "3 of 3" in screen.getvalue()


def test_what_several_survivors_did_is_added_up() -> None:
    second = {**TAKEOVER, "total": 6, "recovered": 6, "given_up": 0, "peak_in_flight": 7, "given_up_reasons": {}}
    several = replace(MEASURED, outages_s=[3.0] * 9 + [None], sampler=sampled(TAKEOVER, second))
    report = build_report(FailoverOptions(mobile_nodes=10, survivors=2), several)
    assert (report["recovered"], report["given_up"], report["retransmissions"]) == (9, 1, 10)
    assert report["peak_in_flight"] == 7
    assert report["ha_cpu_s"] == 1.2
    claimed = {"claimed": 6, "recovered": 6, "given_up": 0, "cpu_s": 0.6}
    assert report["survivors"]["ha3"] == claimed
    assert report["timeline"]["recovered"] == [9]
    screen = io.StringIO()
    print_report(report, Console(file=screen, width=100))
    assert "6 of 6" in screen.getvalue()


def test_unlimited_lets_everything_begin_at_once() -> None:
    table = FailoverOptions(mobile_nodes=4000, policy="unlimited").bootstrap
    assert (table["policy"], table["concurrency"], table["reserve"]) == ("fixed", 4000, 0.0)
    assert FailoverOptions(policy="gradient", concurrency=7).bootstrap["concurrency"] == 7


def test_several_survivors_have_prefixes_of_their_own() -> None:
    options = parse_options(["--survivors", "3"])
    assert (options.survivors, options.new_home_address) == (3, True)


def test_policies_side_by_side() -> None:
    reports = [build_report(FailoverOptions(mobile_nodes=4, policy=policy), MEASURED) for policy in POLICIES]
    screen = io.StringIO()
    print_comparison(reports, Console(file=screen, width=120))
    assert all(policy in screen.getvalue() for policy in POLICIES)
    assert screen.getvalue().count("3 of 4") == len(POLICIES)
    assert "other nodes' updates" in screen.getvalue()


def test_what_was_not_measured_is_left_out_of_a_comparison() -> None:
    screen = io.StringIO()
    quiet = build_report(FailoverOptions(mobile_nodes=4), replace(MEASURED, refreshes=(), traffic=None))
    print_comparison([quiet], Console(file=screen, width=120))
    assert "recovered" in screen.getvalue()
    assert "other nodes' updates" not in screen.getvalue()
    assert "packets lost" not in screen.getvalue()


@pytest.mark.parametrize("refreshes", [MEASURED.refreshes, ()], ids=["others", "alone"])
def test_pictures_of_one_and_of_several(refreshes: list[Refresh], tmp_path: Path) -> None:
    measured = replace(MEASURED, refreshes=refreshes)
    reports = [build_report(FailoverOptions(mobile_nodes=4, policy=policy), measured) for policy in POLICIES]
    for number, drawn in enumerate((reports[1:2], reports[-1:], reports)):
        file = tmp_path / f"{number}.png"
        draw(drawn, file)
        assert file.read_bytes().startswith(b"\x89PNG")


def test_processor_load_comes_from_intervals_long_enough_to_be_measured() -> None:
    middles, loads = cpu_percent([0.0, 0.1, 0.5, 0.6, 1.0], [0.0, 0.1, 0.25, 0.3, 0.75])
    assert (middles, loads) == ([0.25, 0.75], [50.0, 100.0])
    assert cpu_percent([], []) == ([], [])


def test_progress_is_a_bar_on_a_terminal_and_json_lines_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_LINE_INTERVAL_S", 3600.0)
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
    assert len(rows) == 2, "what happened within the interval is not told line by line"


def test_options() -> None:
    line = "--mobile-nodes 1000 --concurrency 32 --rate 50 --loss 1 --auth psk --new-home-address --json f --seed 7"
    line += " --policy gradient --rtt 40 --jitter 5 --unreachable 10 --background-bu 20 --store redis --workers 3"
    line += " --survivor-cpu 25"
    assert parse_options(line.split()) == FailoverOptions(
        mobile_nodes=1000,
        concurrency=32,
        rate_per_s=50.0,
        loss_percent=1.0,
        authentication="psk",
        new_home_address=True,
        policy="gradient",
        rtt_ms=40.0,
        jitter_ms=5.0,
        unreachable_percent=10.0,
        background_bu_rate_per_s=20.0,
        store="redis",
        workers=3,
        survivor_cpu_percent=25.0,
        json_file=Path("f"),
        seed=7,
    )


@pytest.mark.parametrize(
    "line",
    [
        "--mobile-nodes 0",
        "--loss 100",
        "--rate 0",
        "--same-prefix --new-home-address",
        "--auth none",
        "--unreachable 100",
        "--rtt -1",
        "--jitter 10001",
        "--background-bu -1",
        "--policy brave",
        "--store etcd",
        "--workers -1",
        "--workers 65",
        "--survivors 0",
        "--survivors 2 --same-prefix",
        "--survivors 17",
        "--mobile-nodes 50001",
        "--traffic 1 --simulate",
        "--survivor-cpu 9",
        "--survivor-cpu 50 --simulate",
        "--traffic nan",
        "--calibrate F",
        "--json nowhere/F",
    ],
)
def test_impossible_options_are_refused(line: str) -> None:
    with pytest.raises(SystemExit):
        parse_options(line.split())


def test_the_usage_of_a_process_has_that_of_its_children() -> None:
    script = "import subprocess, sys; child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True)"
    script += "; sys.stdin.read(); child.kill()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_for_command(child, "sleep")
        alone = read_usage(parent.pid).peak_rss_bytes
        wait_until(  # a program just started still grows
            lambda: read_usage_of_family(parent.pid).peak_rss_bytes == alone + read_usage(child).peak_rss_bytes,
            lambda: (alone, read_usage(child), read_usage_of_family(parent.pid)),
        )


def wait_for_command(pid: int, name: str) -> None:
    comm = Path(f"/proc/{pid}/comm")
    wait_until(lambda: comm.read_text().strip() == name, comm.read_text)
