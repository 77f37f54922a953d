"""The rehearsal as a user runs it, small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.lab.laboratory import RUN_ROOT
from bench.lab.namespaces import existing_namespaces

pytestmark = pytest.mark.namespaces

NODES = 12


@pytest.mark.parametrize(
    "arguments", [("--auth", "cert", "--loss", "2"), ("--auth", "psk", "--new-home-address")], ids=["cert", "psk"]
)
def test_every_node_is_recovered_and_the_result_says_so(arguments: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "bench.failover", "--mobile-nodes", str(NODES), "--lease", "1.5"]
    command += ["--json", str(file), "--concurrency", "4", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as rehearsal:
        output, _ = rehearsal.communicate(timeout=200)
    assert rehearsal.returncode == 0, output[-4000:]
    name = f"ha-failover-{rehearsal.pid}-"
    assert existing_namespaces(name) == []
    assert list(RUN_ROOT.glob(f"{name}*")) == []
    result = json.loads(file.read_text())
    assert (result["mobile_nodes"], result["recovered"], result["given_up"]) == (NODES, NODES, 0)
    outage = result["outage_s"]
    assert 0 < outage["p50"] <= outage["p90"] <= outage["p99"] <= outage["max"]
    assert 0 < result["detection_s"] < result["duration_s"]
    assert 0 < result["peak_in_flight"] <= 4
    assert result["handshake_ms"]["p99"] >= result["handshake_ms"]["p50"] > 0
    assert result["ha_cpu_s"] > 0
    assert result["peak_rss_mb"] > 1
    assert result["retransmissions"] >= 0
    assert result["xdp_packets"]["forward-encapsulated"] >= NODES
    assert result["xdp_packets"]["forward-decapsulated"] >= NODES
