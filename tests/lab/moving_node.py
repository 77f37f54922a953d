"""A registered node with two visited networks, and what has to hold when it moves; for whatever does ESP."""

from __future__ import annotations

import time
from typing import Any

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import EchoProbes
from bench.lab.scene import Scene, SceneOptions
from bench.lab.topology import Host
from tests.waiting import PATIENCE_S, wait_until


class MovingNode:
    """A registered node with two visited networks, pinged by the correspondent all the time."""

    def __init__(
        self, laboratory: Laboratory, scene: Scene, agent: MobileNodeAgent, *, ping_interval_s: float = 0.02
    ) -> None:
        self.scene, self.agent = scene, agent
        self.here = agent.host
        assert agent.further is not None
        self.there = agent.further
        self.probes = EchoProbes(laboratory, scene.correspondent, 1, "--interval", str(ping_interval_s))
        self.probes.set_target(0, agent.subscriber.home_address)
        wait_until(self.probes.reach_all, "no ping is answered")

    def pings_go_on(self) -> None:
        self.probes.mark(time.monotonic())
        wait_until(self.probes.are_answered, "pings are not answered any more")

    def binding(self, home_agent: HomeAgentUnderTest) -> str:
        home = str(self.agent.subscriber.home_address)
        rows = [row for row in home_agent.bindings() if row["home_address"] == home]
        return str(rows[0]["care_of_address"]) if rows else ""

    def wait_bound(self, to: Host, home_agent: HomeAgentUnderTest | None = None) -> None:
        agent = home_agent or self.scene.failing
        wait_until(lambda: self.binding(agent) == str(to.address), f"not bound to {to.address}")

    def sas(self, home_agent: HomeAgentUnderTest | None = None) -> list[dict[str, Any]]:
        rows = (home_agent or self.scene.failing).sas()
        identity = self.agent.subscriber.identity
        return [row for row in rows if (row["state"], row["identity"]) == ("established", identity)]


def alone(laboratory: Laboratory, ike: dict[str, Any] | None = None, node: dict[str, Any] | None = None) -> MovingNode:
    """One that is the only node of its home agents, which do ESP themselves."""
    credentials = Credentials("psk")
    subscriber = credentials.subscriber(1, home_address(1))
    scene = Scene(laboratory, credentials, [subscriber], SceneOptions(ike=ike or {}, back_end="userspace"))
    agent = MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.failing, moves=True, changes=node)
    scene.core.prime_neighbours(agent.host)
    scene.load()
    scene.serve(PATIENCE_S)
    agent.start()
    agent.events.wait_for("registered", PATIENCE_S)
    return MovingNode(laboratory, scene, agent)


def spis(rows: list[dict[str, Any]]) -> list[Any]:
    """The SPIs of both sides: those of the IKE SA, and of its children in both directions."""
    return [
        (row["initiator_spi"], row["responder_spi"], [(c["inbound_spi"], c["outbound_spi"]) for c in row["children"]])
        for row in rows
    ]


def check_movement(node: MovingNode, *, soft: bool) -> None:
    """It moves; keys and pings go on.

    Args:
        node: registered with ha1, which asks silent nodes for a sign of life after two seconds at most.
        soft: its new link comes before the old one goes.
    """
    before = node.sas()
    core = node.scene.core
    if soft:
        core.plug(node.there)
        core.cut(node.here)
    else:
        core.cut(node.here)
        row = node.agent.events.wait_for("care-of-address-changed", PATIENCE_S)
        assert row["care_of_address"] is None, "it waits"
        core.plug(node.there)
    node.wait_bound(node.there)
    node.pings_go_on()
    after = node.sas()
    assert spis(after) == spis(before)
    assert len(after) == 1
    assert after[0]["remote"].startswith(f"[{node.there.address}]:")
    wait_until(lambda: node.sas()[0]["silent_s"] >= 1.0, "the node says more than it has to")
    wait_until(lambda: node.sas()[0]["silent_s"] < 1.0, "the node does not answer when it is asked for a sign of life")
    assert spis(node.sas()) == spis(before)


def check_takeover(node: MovingNode) -> None:
    """ha1 dies, and ha2 finds the node where it has moved to."""
    moved = node.scene.fail()
    node.wait_bound(node.there, node.scene.surviving)
    node.probes.mark(moved)
    wait_until(node.probes.are_answered, "the node is not reachable through ha2")
    (row,) = node.sas(node.scene.surviving)
    assert row["remote"].startswith(f"[{node.there.address}]:")
    assert row["role"] == "initiator"
