"""The demonstration's timeline, verdict and output directory, without namespaces."""

from __future__ import annotations

import io
import json
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.demo import parse_options
from bench.demonstration.artifacts import Artifacts
from bench.demonstration.display import make_display
from bench.demonstration.options import DemoOptions
from bench.demonstration.summary import Evidence, NodeEvidence, build_summary, print_summary
from bench.demonstration.timeline import Timeline
from bench.lab.credentials import Credentials, Subscriber
from bench.lab.errors import LabError

NODE = "mn1@mn.example.org"
HOME = "2001:db8:100::1001"


def recovered_timeline() -> Timeline:
    timeline = Timeline({NODE: HOME}, started_at=1000.0)
    timeline.node_event({"time": 1001.0, "event": "registered", "node": NODE, "home_agent": "2001:db8:a1::1"})
    timeline.failure(1005.0, "ha1", "power cut")
    for offset, event in enumerate(("ike-sa-init-sent", "ike-established", "home-agent-switch-sent", "binding-update")):
        timeline.home_agent_event("ha2", {"time": 1006.0 + offset / 10, "event": event, "node": NODE})
    timeline.home_agent_event("ha2", {"time": 1006.5, "event": "recovered", "node": NODE})
    timeline.answered(NODE, 1.6, 1006.6)
    return timeline


def evidence(timeline: Timeline, *, encapsulated: int = 5, outage_s: float | None = 1.6) -> Evidence:
    subscriber: Subscriber = Credentials("psk").subscriber(1, IPv6Address(HOME))
    history: dict[str, Any] = {"outage_s": outage_s, "sent": 100, "received": 70}
    before = {"counters": {"FORWARD_ENCAPSULATED": 3, "FORWARD_DECAPSULATED": 2}}
    after = {"counters": {"FORWARD_ENCAPSULATED": 3 + encapsulated, "FORWARD_DECAPSULATED": 6}}
    return Evidence(
        nodes=[NodeEvidence(subscriber, timeline.nodes[NODE], history)],
        status={"takeover": {"recovered": 1}},
        bulk={"before": {"bytes": 1000000, "seconds": 0.5}},
        datapath_before={"ha1": before, "ha2": before},
        datapath_after={"ha2": after},
    )


def test_progress_follows_the_events() -> None:
    timeline = Timeline({NODE: HOME}, started_at=1000.0)
    assert not timeline.all_registered
    timeline.node_event({"time": 1.0, "event": "registered", "node": NODE})
    assert timeline.all_registered
    assert timeline.nodes[NODE].state == "registered"
    timeline.failure(2.0, "ha1", "power cut")
    assert timeline.nodes[NODE].state == "cut off"
    timeline.home_agent_event("ha2", {"time": 3.0, "event": "recovered", "node": NODE})
    assert timeline.nodes[NODE].state == "recovered"
    assert not timeline.all_recovered, "no ping has been answered yet"
    timeline.answered(NODE, 1.0, 3.0)
    assert timeline.all_recovered


def test_a_new_home_address_is_taken_over() -> None:
    timeline = Timeline({NODE: HOME}, started_at=0.0)
    entry = timeline.node_event({"time": 1.0, "event": "home-address-assigned", "node": NODE, "home_address": "::9"})
    assert entry is not None
    assert "::9" in entry.text
    assert timeline.nodes[NODE].home_address == "::9"


def test_entries_are_in_the_order_of_their_times() -> None:
    timeline = Timeline({NODE: HOME}, started_at=0.0)
    for time in (3.0, 1.0, 2.0):
        timeline.note(time, "demo", "note", str(time))
    assert [entry.time for entry in timeline.entries] == [1.0, 2.0, 3.0]


def test_unknown_events_and_missing_details_do_no_harm() -> None:
    timeline = Timeline({NODE: HOME}, started_at=0.0)
    assert timeline.home_agent_event("ha2", {"time": 1.0, "event": "brand-new"}) is None
    assert timeline.node_event({"time": 1.0, "event": "registered", "node": "stranger"}) is None
    entry = timeline.home_agent_event("ha2", {"time": 1.0, "event": "lease-lapsed"})
    assert entry is not None
    assert entry.text == "the lease of … lapsed"


@pytest.mark.parametrize("terminal", [True, False])
def test_both_displays_leave_the_whole_timeline_behind(terminal: bool) -> None:
    timeline = Timeline({NODE: HOME}, started_at=1000.0)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100)
    with make_display(console, timeline) as display:
        for number in range(40):
            display.show(timeline.note(1000.0 + number, "demo", "note", f"entry {number}."))
    assert all(f"entry {number}." in screen.getvalue() for number in range(40))


def test_verdict_good(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "out")
    summary = build_summary(DemoOptions(nodes=1), evidence(recovered_timeline()), artifacts)
    assert summary["ok"], summary["problems"]
    assert summary["recovered"] == 1
    assert summary["nodes"][0]["exchanges"]["ike-sa-init-sent"] == 1
    assert summary["nodes"][0]["pings_lost"] == 30
    assert summary["packets"]["ha2_after_failure"] == {"forward-encapsulated": 5, "forward-decapsulated": 4}
    json.dumps(summary)
    screen = io.StringIO()
    print_summary(summary, Console(file=screen, width=120))
    assert "1 of 1 nodes recovered" in screen.getvalue()
    assert "1.600 s" in screen.getvalue()


def test_verdict_without_xdp_or_without_answer(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "out")
    slow_path = build_summary(DemoOptions(nodes=1), evidence(recovered_timeline(), encapsulated=0), artifacts)
    assert not slow_path["ok"]
    assert "encapsulated" in slow_path["problems"][0]
    silent = build_summary(DemoOptions(nodes=1), evidence(recovered_timeline(), outage_s=None), artifacts)
    assert not silent["ok"]
    assert silent["recovered"] == 0
    screen = io.StringIO()
    print_summary(silent, Console(file=screen, width=120))
    assert "0 of 1 nodes recovered." in screen.getvalue()


def test_output_directory_is_emptied_only_if_ours(tmp_path: Path) -> None:
    directory = tmp_path / "out"
    first = Artifacts(directory)
    (first.captures / "ha2.pcap").write_text("old")
    second = Artifacts(directory)
    assert list(second.captures.iterdir()) == []
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter1").touch()
    with pytest.raises(LabError, match="other files"):
        Artifacts(foreign)
    assert (foreign / "chapter1").exists()


def test_key_files_are_joined_for_wireshark(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "out")
    for agent in ("ha1", "ha2"):
        for table in ("ikev2_decryption_table", "esp_sa"):
            (artifacts.keys / f"{agent}-{table}").write_text(f"{agent} {table}\n")
    artifacts.write_wireshark_profile()
    table = artifacts.wireshark / "esp_sa"
    assert table.read_text() == "ha1 esp_sa\nha2 esp_sa\n"
    assert table.stat().st_mode & 0o777 == 0o600
    assert "WIRESHARK_CONFIG_DIR=" in artifacts.wireshark_command(artifacts.captures / "ha2.pcap")


def test_options() -> None:
    options = parse_options(["--nodes", "2", "--auth", "psk", "--new-home-address", "--output", "x"])
    assert options == DemoOptions(nodes=2, authentication="psk", new_home_address=True, output=Path("x"))
    with pytest.raises(SystemExit):
        parse_options(["--nodes", "0"])
