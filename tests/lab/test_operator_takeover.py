"""The operator takes a living home agent's nodes over: it is fenced out, stands down, and the other serves them."""

from __future__ import annotations

import json
import time

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.product import homeagent_command
from bench.lab.scene import Scene, SceneOptions

pytestmark = pytest.mark.namespaces


def wait_until_stood_down(agent: HomeAgentUnderTest) -> None:
    deadline = time.monotonic() + 30
    while agent.bindings():
        assert time.monotonic() < deadline, "the fenced home agent still holds bindings"
        time.sleep(0.1)


def test_a_living_home_agent_stands_down_for_the_one_that_takes_over(laboratory: Laboratory) -> None:
    credentials = Credentials("psk")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in (1, 2)]
    scene = Scene(laboratory, credentials, subscribers, SceneOptions())
    nodes = [MobileNodeAgent(laboratory, scene.core, credentials, each, scene.failing) for each in subscribers]
    scene.register(nodes)
    before, after = scene.failing, scene.surviving
    held = {row["home_address"] for row in before.bindings()}
    assert held == {str(each.home_address) for each in subscribers}

    command = homeagent_command("takeover", "ha1", "--config", str(after.configuration), "--json")
    lines = [json.loads(line) for line in after.host.namespace.run(command).splitlines()]
    assert (lines[-1]["queued"], lines[-1]["recovered"], lines[-1]["given_up"]) == (2, 2, 0)
    assert {row["home_address"] for row in after.bindings()} == held
    wait_until_stood_down(before)
    assert next(each for each in before.show_datapath()["maps"] if each["name"] == "bindings")["entries"] == 0
    assert "lease-lost" in [row["event"] for row in before.past_events()]
    # It is a member again under a new token, without nodes.
    deadline = time.monotonic() + 30
    while before.status()["lease"] is None or before.status()["lease"]["token"] < 3:
        assert time.monotonic() < deadline, "the fenced home agent did not come back into the cluster"
        time.sleep(0.1)
    assert before.bindings() == []
