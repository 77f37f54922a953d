"""The operator takes a living home agent's nodes over: it is fenced out, stands down, and the other serves them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.product import homeagent_command
from bench.lab.scene import Scene, SceneOptions
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces


def wait_until_stood_down(agent: HomeAgentUnderTest) -> None:
    wait_until(lambda: not agent.bindings(), "the fenced home agent still holds bindings")


def start_in_vain(agent: HomeAgentUnderTest, laboratory: Laboratory, configuration: Path) -> str:
    """What a daemon says that cannot be started beside ``agent``."""
    command = homeagent_command("serve", "--config", str(configuration))
    daemon = laboratory.spawn(agent.host.namespace, f"second-{configuration.stem}", command)
    assert daemon.wait(60.0) == 1
    return daemon.complaint()


def test_what_cannot_serve_takes_nothing_from_those_that_do(laboratory: Laboratory) -> None:
    credentials = Credentials("psk")
    subscriber = credentials.subscriber(1, home_address(1))
    scene = Scene(laboratory, credentials, [subscriber], SceneOptions())
    scene.register([MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.failing)])
    agent, other = scene.failing, scene.surviving
    before = agent.status()

    said = start_in_vain(agent, laboratory, agent.configuration)
    assert re.search(r"another daemon listens on .*control\.sock\. Stop it", said)
    elsewhere = agent.configuration.with_name("elsewhere.toml")
    elsewhere.write_text(agent.configuration.read_text().replace("control.sock", "other.sock"))
    said = start_in_vain(agent, laboratory, elsewhere)
    assert f"in use: UDP port 500 of {agent.host.address}. Another program" in said
    same_name = other.configuration.with_name("same-name.toml")
    text = other.configuration.read_text().replace('name = "ha2"', 'name = "ha1"').replace("control.sock", "other.sock")
    same_name.write_text(text)
    other.daemon.stop()
    said = start_in_vain(other, laboratory, same_name)
    assert f"The home agent at {agent.host.address} has the name ha1 in the state store" in said

    after = agent.status()
    assert (after["lease"]["token"], after["bindings"]) == (before["lease"]["token"], 1)
    assert "lease-lost" not in [row["event"] for row in agent.past_events()]


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
    wait_until(
        lambda: (lease := before.status()["lease"]) is not None and lease["token"] >= 3,
        "the fenced home agent did not come back into the cluster",
    )
    assert before.bindings() == []
