"""`homeagent doctor` where a home agent is about to run, where it runs, and where something was broken."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.product import homeagent_command
from bench.lab.scene import Scene, SceneOptions

pytestmark = pytest.mark.namespaces


def examine(agent: HomeAgentUnderTest) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and the findings by what was looked at."""
    command = homeagent_command("doctor", "--json", "--config", str(agent.configuration))
    done = subprocess.run(agent.host.namespace.enter_command(command), capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout)
    assert answer["ok"] == (done.returncode == 0)
    return done.returncode, {finding["check"]: finding for finding in answer["findings"]}


def test_from_an_empty_machine_to_one_that_serves(laboratory: Laboratory) -> None:
    credentials = Credentials("cert")
    scene = Scene(laboratory, credentials, [credentials.subscriber(1, home_address(1))], SceneOptions())
    agent = scene.failing

    status, before = examine(agent)
    assert status == 0, before
    assert before["data path"]["level"] == before["daemon"]["level"] == "warning"
    assert before["UDP port 500"]["level"] == before["UDP port 4500"]["level"] == "ok"
    assert "driver veth" in before["interface core0"]["says"]

    scene.load()
    scene.serve()
    status, after = examine(agent)
    assert status == 0, after
    assert after["data path"]["level"] == after["daemon"]["level"] == "ok"
    assert "native XDP" in after["interface core0"]["says"]
    assert after["IPsec"]["says"].startswith(f"{agent.status()['ipsec']['back_end']} back end")
    assert "1 home agents" not in after["state store"]["says"]

    agent.host.namespace.run(["ip", "link", "set", "core0", "xdp", "off"])
    agent.host.namespace.sysctl({"net.ipv6.conf.core0.forwarding": "0"})
    next(agent.configuration.parent.glob("*.key")).chmod(0o644)
    status, broken = examine(agent)
    assert status == 1
    problems = {check.split()[0] for check, finding in broken.items() if finding["level"] == "problem"}
    assert problems == {"interface", "forwarding", "secret"}
    assert all(finding["remedy"] for finding in broken.values() if finding["level"] != "ok")
