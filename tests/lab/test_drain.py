"""Planned maintenance: a home agent sends its nodes to the other one, and gets them back."""

from __future__ import annotations

import json

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


def wait_for_bindings(agent: HomeAgentUnderTest, held: set[str]) -> None:
    wait_until(lambda: {row["home_address"] for row in agent.bindings()} == held, agent.bindings)


def ask(agent: HomeAgentUnderTest, *command: str) -> dict:
    whole = homeagent_command(*command, "--config", str(agent.configuration), "--json")
    return json.loads(agent.host.namespace.run(whole).splitlines()[-1])


def test_nodes_leave_for_the_other_home_agent_and_come_back(laboratory: Laboratory) -> None:
    credentials = Credentials("cert")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in (1, 2)]
    scene = Scene(laboratory, credentials, subscribers, SceneOptions())
    nodes = [MobileNodeAgent(laboratory, scene.core, credentials, each, scene.failing) for each in subscribers]
    scene.register(nodes)
    first, second = scene.home_agents
    everyone = {str(each.home_address) for each in subscribers}

    assert ask(first, "drain") == {"queued": 2, "total": 2, "left": 2, "silent": 0, "waiting": 0}
    assert first.bindings() == []
    wait_for_bindings(second, everyone)
    assert "drain-finished" in [row["event"] for row in first.past_events()]

    # None of them was taken over from ha1, so none is handed back; drain --to does it.
    assert ask(second, "handback", "ha1")["queued"] == 0
    assert ask(second, "drain", "--to", "ha1")["left"] == 2
    wait_for_bindings(first, everyone)
    assert second.bindings() == []


def test_nodes_taken_over_are_handed_back(laboratory: Laboratory) -> None:
    credentials = Credentials("cert")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in (1, 2)]
    scene = Scene(laboratory, credentials, subscribers[:2], SceneOptions())
    first, second = scene.home_agents
    nodes = [
        MobileNodeAgent(laboratory, scene.core, credentials, each, agent)
        for each, agent in zip(subscribers, (first, second), strict=True)
    ]
    scene.register(nodes)

    token = first.status()["lease"]["token"]
    assert ask(second, "takeover", "ha1")["recovered"] == 1
    everyone = {str(each.home_address) for each in subscribers}
    wait_for_bindings(second, everyone)
    wait_until(
        lambda: any(peer["home_agent"] == "ha1" and peer["token"] > token for peer in second.status()["peers"]),
        "ha1 is no member again",
    )
    assert ask(second, "handback", "ha1")["left"] == 1
    wait_for_bindings(first, {str(subscribers[0].home_address)})
    wait_for_bindings(second, {str(subscribers[1].home_address)})
