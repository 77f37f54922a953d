"""The simulator process behind its TUN device."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.namespaces

NODES = 25


def run(*command, inside, **options):
    options = {"check": True, "capture_output": True, "text": True, "timeout": PATIENCE_S, **options}
    return subprocess.run(("nsenter", f"--net=/run/netns/{inside}", "--", *command), **options)


@pytest.fixture
def simulator(link, tmp_path, follower):
    """A running simulator of nodes in a prefix of their own: (process, events, folder)."""
    nodes = [
        {
            "identity": f"mn{number}@mn.example.org",
            "home_address": f"2001:db8:100::{number + 0x1000:x}",
            "care_of_address": f"2001:db8:c1::{number + 0x1000:x}",
            "shared_key": "a key shared by the node and its home agents",
        }
        for number in range(NODES)
    ]
    settings = {
        "care_of_prefix": "2001:db8:c1::/64",
        "home_agent": "2001:db8:a1::1",
        "home_agent_identity": "ha1.example.org",
        "trusted_home_agents": ["*.example.org"],
        "summary_interval_s": 0.2,
        "report": "report.json",
    }
    configuration = tmp_path / "simulation.json"
    configuration.write_text(json.dumps({"simulator": settings, "nodes": nodes}))
    run("ip", "-6", "route", "add", "2001:db8:c1::/64", "via", "2001:db8:c0::11", inside=link.home)
    code = "import sys, pathlib; from control.mobile_daemon.simulator import run_simulator; "
    code += "sys.exit(run_simulator(pathlib.Path(sys.argv[1]), events=pathlib.Path(sys.argv[2])))"
    events = tmp_path / "events.jsonl"
    enter = ("nsenter", f"--net=/run/netns/{link.node}", "--")
    process = subprocess.Popen(
        (*enter, sys.executable, "-c", code, str(configuration), str(events)),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process, follower(events), tmp_path
    process.kill()
    process.communicate()


def test_nodes_register_answer_pings_and_are_reported(link, real_home_agents, simulator):
    process, events, folder = simulator
    agent = real_home_agents[0]
    assert agent.serve(PATIENCE_S, lambda: bool(events.rows("all-registered"))), (process.poll(), events.rows()[-3:])
    assert len(agent.agent.cache) == NODES
    run("ip", "-6", "route", "replace", "2001:db8:100::/64", "dev", "tun1", inside=link.home)
    enter = ("nsenter", f"--net=/run/netns/{link.home}", "--")
    ping = subprocess.Popen(
        (*enter, "ping", "-6", "-n", "-c", "3", "-i", "0.05", "-W", "20", "-I", "2001:db8:cc::1", "2001:db8:100::1007"),
        stdout=subprocess.PIPE,
        text=True,
    )
    agent.serve(PATIENCE_S, lambda: ping.poll() is not None)
    assert " 0% packet loss" in ping.communicate()[0]
    process.stdin.write("nonsense\nreport\n")
    process.stdin.flush()
    assert agent.serve(PATIENCE_S, lambda: bool(events.rows("report")))
    report = json.loads((folder / "report.json").read_text())
    assert {node["state"] for node in report["nodes"]} == {"registered"}
    assert report["counters"]["tunnel-received"] == 3
    assert events.rows("unknown-command")[0]["command"] == "nonsense"
    process.stdin.write("refresh 20\n")
    process.stdin.flush()
    assert agent.serve(PATIENCE_S, lambda: len([row for row in events.rows("registered") if row["refresh"]]) >= NODES)
    process.stdin.write("refresh 0\nvanish mn1@mn.example.org\n")
    process.stdin.flush()
    assert agent.serve(PATIENCE_S, lambda: any(row["nodes"] == NODES - 1 for row in events.rows("summary")))
    assert agent.serve(PATIENCE_S, lambda: any(row["registered"] == NODES - 1 for row in events.rows("summary")))
    process.send_signal(signal.SIGUSR1)
    assert agent.serve(PATIENCE_S, lambda: len(events.rows("report")) == 2)
    process.stdin.write("stop\n")
    process.stdin.flush()
    assert process.wait(PATIENCE_S) == 0
    assert events.rows()[-1]["event"] == "stopped"
    assert "sim0" not in run("ip", "link", inside=link.node).stdout


def test_a_second_simulator_is_told_that_the_device_is_taken(link, simulator, real_home_agents):
    process, events, _ = simulator
    assert real_home_agents[0].serve(PATIENCE_S, lambda: bool(events.rows("started")))
    again = subprocess.run(process.args, capture_output=True, text=True, timeout=PATIENCE_S)
    assert again.returncode == 1
    assert "sim0" in again.stderr
    assert "choose another name" in again.stderr
    assert len(again.stderr.splitlines()) == 1
