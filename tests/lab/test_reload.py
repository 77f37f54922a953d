"""Nodes are added and removed while the home agent serves others."""

from __future__ import annotations

import json
import signal
import time

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.errors import LabError
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.product import homeagent_command
from bench.lab.scene import Scene, SceneOptions
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.namespaces


def wait_for_event(agent: HomeAgentUnderTest, event: str, **facts: str) -> None:
    wait_until(
        lambda: any(row["event"] == event and facts.items() <= row.items() for row in agent.past_events()),
        f"no {event}",
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_certificates_are_renewed_while_nodes_are_served(laboratory: Laboratory, workers: int) -> None:
    old, new = Credentials("cert"), Credentials("cert")
    subscribers = [each.subscriber(number, home_address(number)) for number, each in ((1, old), (2, new))]
    scene = Scene(laboratory, old, subscribers, SceneOptions(ike={"workers": workers}))
    agent = scene.failing
    folder = agent.configuration.parent
    nodes = [
        MobileNodeAgent(laboratory, scene.core, credentials, each, agent)
        for credentials, each in zip((old, new), subscribers, strict=True)
    ]
    scene.register(nodes[:1])
    command = homeagent_command("reload", "--json", "--config", str(agent.configuration))

    anchor = (folder / "ca.pem").read_text()
    (folder / f"{agent.name}.pem").write_text(anchor)
    with pytest.raises(LabError, match=rf"nothing was changed, .*{agent.name}\.key"):
        agent.host.namespace.run(command)
    new.issue(agent.identity, folder, agent.name)
    new.trust_anchors(folder)
    (folder / "ca.pem").write_text(anchor + (folder / "ca.pem").read_text())
    said = json.loads(agent.host.namespace.run(command))
    assert said["certificate_expires_at"] > time.time()
    assert (said["trust_anchors"], said["changed"], said["needs_restart"]) == (2, 0, [])

    # It accepts no certificate of the home agent but the new one, and has one that was no good before.
    nodes[1].start()
    nodes[1].events.wait_for("registered", PATIENCE_S)
    assert {row["identity"] for row in agent.bindings()} == {each.identity for each in subscribers}
    assert not [row for row in agent.past_events() if row["event"] in ("ike-refused", "ike-closed")]


@pytest.mark.parametrize("workers", [1, 2])
def test_nodes_come_and_go_by_the_nodes_file(laboratory: Laboratory, workers: int) -> None:
    credentials = Credentials("psk")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in (1, 2)]
    scene = Scene(laboratory, credentials, subscribers, SceneOptions(ike={"workers": workers}))
    agent = scene.failing
    nodes_file = agent.configuration.with_name("nodes.toml")
    both = nodes_file.read_text()
    first, second = (f"[[node]]\n{entry}" for entry in both.split("[[node]]\n")[1:])
    nodes_file.write_text(first)
    nodes = [MobileNodeAgent(laboratory, scene.core, credentials, each, agent) for each in subscribers]
    scene.register(nodes[:1])
    nodes[1].start()
    wait_for_event(agent, "ike-refused", claimed=subscribers[1].identity)

    nodes_file.write_text(both)
    command = homeagent_command("reload", "--json", "--config", str(agent.configuration))
    said = json.loads(agent.host.namespace.run(command))
    assert (said["nodes"], said["added"], said["removed"], said["bindings_ended"]) == (2, 1, 0, 0)
    nodes[1].events.wait_for("registered", PATIENCE_S)

    nodes_file.write_text("nonsense")
    with pytest.raises(LabError, match=r"nothing was changed, .*nodes\.toml:1"):
        agent.host.namespace.run(command)
    nodes_file.write_text(second)
    agent.daemon.signal(signal.SIGHUP)
    wait_until(lambda: len(agent.bindings()) <= 1, "the binding of the node that was removed is still there")
    assert [row["identity"] for row in agent.bindings()] == [subscribers[1].identity]
    wait_for_event(agent, "node-dismissed", node=subscribers[0].identity)
    assert next(each for each in agent.show_datapath()["maps"] if each["name"] == "bindings")["entries"] == 1
    assert agent.status()["state"] == "active"
