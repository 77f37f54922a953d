"""The rehearsal as a user runs it, small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.lab.laboratory import RUN_ROOT
from bench.lab.namespaces import existing_namespaces

pytestmark = [pytest.mark.namespaces, pytest.mark.timeout(900)]

NODES = 12
LONGEST_S = 800


@pytest.mark.parametrize(
    "arguments",
    [
        ("--auth", "cert", "--loss", "2", "--store", "redis", "--policy", "gradient"),
        ("--auth", "psk", "--new-home-address"),
    ],
    ids=["cert", "psk"],
)
def test_every_node_is_recovered_and_the_result_says_so(arguments: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "bench.failover", "--mobile-nodes", str(NODES), "--lease", "3"]
    command += ["--json", str(file), "--concurrency", "4", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as rehearsal:
        output, _ = rehearsal.communicate(timeout=LONGEST_S)
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


def test_nodes_that_vanish_are_given_up_while_others_are_served(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "bench.failover", "--mobile-nodes", str(NODES), "--lease", "3", "--auth", "psk"]
    command += ["--policy", "aimd", "--rtt", "20", "--jitter", "4", "--background-bu", "5", "--unreachable", "20"]
    command += ["--traffic", "100", "--survivor-cpu", "50", "--give-up-after", "1", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    result = json.loads(file.read_text())
    assert (result["reachable"], result["recovered"], result["given_up"]) == (10, 10, 2)
    assert sum(result["reasons"].values()) == 2
    assert result["background_bu_ms"]["p99"] >= result["background_bu_ms"]["p50"] >= 20
    assert result["ha_cpu_s"] <= 0.5 * result["timeline"]["at_s"][-1] + 0.1
    assert result["background_bu_before_ms"]["count"] > 0
    assert result["parameters"]["rtt_ms"] == 20
    assert (result["traffic"]["lost"], result["traffic"]["repeated"]) == (0, 0)
    assert result["traffic"]["sent"] > 200


def test_policies_are_compared_and_two_survivors_divide_the_nodes(tmp_path: Path) -> None:
    file, picture = tmp_path / "result.json", tmp_path / "result.png"
    command = [sys.executable, "-m", "bench.failover", "--mobile-nodes", "6", "--lease", "3", "--auth", "psk"]
    command += ["--survivors", "2", "--compare", "--json", str(file), "--plot", str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    results = json.loads(file.read_text())
    assert [result["parameters"]["policy"] for result in results] == ["fixed", "aimd", "gradient", "unlimited"]
    for result in results:
        assert result["recovered"] == 6
        assert [each["recovered"] for each in result["survivors"].values()] == [3, 3]
    assert picture.read_bytes().startswith(b"\x89PNG")
