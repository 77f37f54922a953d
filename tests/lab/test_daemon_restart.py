"""The data path needs no daemon: killing it loses no packet, and a new one still holds every binding."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bench.lab.addresses import home_address
from bench.lab.counters import counter_changes
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import EchoProbes
from bench.lab.scene import Scene, SceneOptions

pytestmark = pytest.mark.namespaces

NODES = 2


def essence(bindings: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["home_address"], row["care_of_address"]) for row in bindings}


def wait_registered(agents: list[MobileNodeAgent]) -> None:
    for agent in agents:
        agent.events.wait_for("registered", 30)


def wait_renewed(home_agent: HomeAgentUnderTest) -> None:
    """The keys died with the process: the new one makes new security associations with every node by itself."""
    deadline = time.monotonic() + 30
    while home_agent.status()["ike_sas"]["established"] < NODES:
        assert time.monotonic() < deadline, "the nodes have no new security associations"
        time.sleep(0.1)


def report_when_answered(probes: EchoProbes) -> list[dict[str, Any]]:
    """The histories once every ping is answered: at the latest after ten seconds, a lost one stays lost."""
    for _ in range(100):
        history = probes.report()
        if all(row["received"] == row["sent"] for row in history):
            break
        time.sleep(0.1)
    return history


def test_killing_the_daemon_loses_no_packet_and_its_successor_holds_every_binding(laboratory: Laboratory) -> None:
    credentials = Credentials("psk")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in range(1, NODES + 1)]
    # ha2 must not take over while ha1's daemon is away: this is a restart, not a failure.
    scene = Scene(laboratory, credentials, subscribers, SceneOptions(cluster={"take_over": False}))
    agents = [
        MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.failing) for subscriber in subscribers
    ]
    scene.core.prime_neighbours(*(agent.host for agent in agents))
    scene.load()
    scene.serve()
    for agent in agents:
        agent.start()
    wait_registered(agents)
    home_agent = scene.failing
    before = essence(home_agent.bindings())
    assert before == {(str(agent.subscriber.home_address), str(agent.host.address)) for agent in agents}

    probes = EchoProbes(laboratory, scene.correspondent, NODES, "--interval", "0.005")
    for index, subscriber in enumerate(subscribers):
        probes.set_target(index, subscriber.home_address)
    while probes.reached < NODES:
        probes.poll()
        time.sleep(0.02)
    shown = home_agent.show_datapath()
    assert home_agent.status()["datapath"]["mode"] == {"core0": "native"}
    home_agent.daemon.kill()
    time.sleep(1.0)
    home_agent.serve()
    home_agent.wait_ready()
    assert essence(home_agent.bindings()) == before
    wait_renewed(home_agent)
    time.sleep(0.5)
    probes.pause()
    history = report_when_answered(probes)
    assert [row["sent"] - row["received"] for row in history] == [0] * NODES
    assert all(row["sent"] > 100 for row in history)
    carried = counter_changes(shown, home_agent.show_datapath())
    assert carried["forward-encapsulated"] >= 200, "the pings went through XDP"
    assert carried["forward-decapsulated"] >= 200
