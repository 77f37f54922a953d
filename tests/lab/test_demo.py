"""The demonstration as a user runs it, and its captures as Debian's tshark reads them with the key files."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.lab.laboratory import BPFFS, RUN_ROOT
from bench.lab.namespaces import existing_namespaces
from tests.lab.dissection import dissect
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.namespaces

NODES = 2
HA2 = "2001:db8:a2:0:1::"
MOBILITY_TYPES = {"binding update": "5", "binding acknowledgement": "6", "home agent switch": "12"}


@dataclass(frozen=True)
class Run:
    directory: Path
    summary: dict[str, Any]

    def tshark(self, capture: str, display_filter: str, *fields: str) -> list[list[str]]:
        """Values of the fields in the packets that match, with the demonstration's key files."""
        return dissect(self.directory / "captures" / capture, self.directory / "wireshark", display_filter, *fields)


def demo_command(directory: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "bench.demo", "--nodes", str(NODES), "--output", str(directory), *arguments]


def traces_of(process_id: int) -> list[str]:
    """What the demonstration of this process has made; its names carry the process id."""
    name = f"ha-demo-{process_id}-"
    return [*existing_namespaces(name), *map(str, RUN_ROOT.glob(f"{name}*")), *map(str, BPFFS.glob(f"*{name}*"))]


@pytest.fixture(scope="module", params=["same-prefix", "new-home-address"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("demo") / "out"
    arguments = ["--json", "--auth", "cert"]
    if request.param == "new-home-address":
        arguments.append("--new-home-address")
    command = demo_command(directory, *arguments)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        output, complaints = demo.communicate(timeout=280)
    assert demo.returncode == 0, complaints[-4000:]
    assert traces_of(demo.pid) == []
    return Run(directory, json.loads(output))


def test_every_node_comes_back_through_xdp(run: Run) -> None:
    assert run.summary["ok"], run.summary["problems"]
    assert run.summary["recovered"] == NODES
    assert all(0 < node["outage_s"] < 30 for node in run.summary["nodes"])
    after = run.summary["packets"]["ha2_after_failure"]
    assert after["forward-encapsulated"] > 0
    assert after["forward-decapsulated"] > 0
    assert run.summary["bulk"]["after"]["intact"]
    changed = [node["home_address"] != node["home_address_before"] for node in run.summary["nodes"]]
    assert changed == [run.summary["new_home_address"]] * NODES


def test_timeline_tells_the_story_in_order(run: Run) -> None:
    rows = [json.loads(line) for line in (run.directory / "timeline.jsonl").read_text().splitlines()]
    events = [row["event"] for row in rows]
    story = ["failure", "lease-lapsed", "ike-sa-init-sent", "home-agent-switch-sent", "binding-update", "first-packet"]
    positions = [events.index(event) for event in story]
    assert positions == sorted(positions)


def test_tshark_decrypts_the_key_exchange_that_the_home_agent_began(run: Run) -> None:
    exchange = f"isakmp.exchangetype == 35 && ipv6.src == {HA2} && isakmp.flag_i == 1 && isakmp.flag_r == 0"
    rows = run.tshark("ha2.pcap", exchange, "isakmp.id.data.fqdn", "isakmp.auth.method", "isakmp.cfg.type")
    assert len(rows) >= NODES
    for identities, method, configuration in rows:
        assert "ha2.example.org" in identities
        assert method == "14", "a digital signature (RFC 7427)"
        assert (configuration == "2") == run.summary["new_home_address"], "an unsolicited CFG_REPLY"


@pytest.mark.parametrize("name", MOBILITY_TYPES)
def test_tshark_dissects_the_mobility_messages_under_esp(run: Run, name: str) -> None:
    rows = run.tshark("ha2.pcap", f"esp && mip6.mhtype == {MOBILITY_TYPES[name]}")
    assert len(rows) >= NODES


def test_home_agent_switch_has_the_bootstrap_bit_and_the_new_home_agent(run: Run) -> None:
    rows = run.tshark("ha2.pcap", "mip6.mhtype == 12", "mip6.has.num_addrs", "mip6.has.reserved", "mip6.has.address")
    for number, reserved, address in rows:
        assert (number, int(reserved, 0), address) == ("1", 0x80, HA2)


def test_nothing_is_malformed(run: Run) -> None:
    wrong = "_ws.malformed || _ws.expert.severity == error || (mipv6 && _ws.expert.severity == warning)"
    for capture in ("ha1.pcap", "ha2.pcap", "mn1.pcap"):
        assert run.tshark(capture, f"(isakmp || mipv6 || esp) && ({wrong})", "frame.number", "_ws.expert.message") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    demo = subprocess.Popen(demo_command(tmp_path / "out"), stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "registered with" in line:
            break
    assert traces_of(demo.pid)
    demo.send_signal(number)
    assert "everything was removed" in demo.stdout.read()
    assert demo.wait(PATIENCE_S) == 128 + number
    assert traces_of(demo.pid) == []


def test_kept_until_interrupted_with_the_summary_shown_before(tmp_path: Path) -> None:
    command = demo_command(tmp_path / "out", "--keep", "--auth", "psk")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if "nsenter" in line:
                break
        assert any(f"{NODES} of {NODES} nodes recovered" in line for line in lines), "".join(lines)
        assert traces_of(demo.pid)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(PATIENCE_S) == 0
    assert traces_of(demo.pid) == []
