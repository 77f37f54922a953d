"""A node that moves between two visited networks keeps its keys and its traffic, and is taken over where it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import EchoProbes
from bench.lab.scene import Scene, SceneOptions

pytestmark = pytest.mark.namespaces

PATIENCE_S = 60.0


def wait(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


class MovingNode:
    """A registered node with two visited networks, pinged by the correspondent all the time."""

    def __init__(self, laboratory: Laboratory, ike: dict[str, Any], node: dict[str, Any]) -> None:
        credentials = Credentials("psk")
        subscriber = credentials.subscriber(1, home_address(1))
        self.scene = Scene(laboratory, credentials, [subscriber], SceneOptions(ike=ike))
        self.agent = MobileNodeAgent(
            laboratory, self.scene.core, credentials, subscriber, self.scene.failing, moves=True, changes=node
        )
        self.here = self.agent.host
        assert self.agent.further is not None
        self.there = self.agent.further
        self.scene.core.prime_neighbours(self.here)
        self.scene.load()
        self.scene.serve()
        self.agent.start()
        self.agent.events.wait_for("registered", 30)
        self.probes = EchoProbes(laboratory, self.scene.correspondent, 1, "--interval", "0.02")
        self.probes.set_target(0, subscriber.home_address)
        wait(self.answered, "no ping is answered")

    def answered(self) -> bool:
        self.probes.poll()
        return self.probes.reached == 1

    def pings_go_on(self) -> None:
        self.probes.mark(time.monotonic())
        wait(lambda: self.probes.poll() and self.probes.outages, "pings are not answered any more")

    def binding(self, home_agent: HomeAgentUnderTest) -> str:
        rows = home_agent.bindings()
        return str(rows[0]["care_of_address"]) if rows else ""

    def wait_bound(self, to: Any, home_agent: HomeAgentUnderTest | None = None) -> None:
        agent = home_agent or self.scene.failing
        wait(lambda: self.binding(agent) == str(to.address), f"not bound to {to.address}")

    def sas(self, home_agent: HomeAgentUnderTest | None = None) -> list[dict[str, Any]]:
        return [row for row in (home_agent or self.scene.failing).sas() if row["state"] == "established"]


def spis(rows: list[dict[str, Any]]) -> list[Any]:
    """The SPIs of both sides: those of the IKE SA, and of its children in both directions."""
    return [
        (row["initiator_spi"], row["responder_spi"], [(c["inbound_spi"], c["outbound_spi"]) for c in row["children"]])
        for row in rows
    ]


@pytest.mark.parametrize("soft", [True, False], ids=["new link first", "old link lost first"])
def test_a_node_keeps_its_keys_and_its_traffic(laboratory: Laboratory, soft: bool) -> None:
    node = MovingNode(laboratory, {"liveness_interval_s": 1.0}, {})
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
    wait(lambda: node.sas()[0]["silent_s"] >= 1.0, "the node says more than it has to")
    wait(lambda: node.sas()[0]["silent_s"] < 1.0, "the node does not answer when it is asked for a sign of life")
    assert spis(node.sas()) == spis(before)

    moved = node.scene.fail()
    node.wait_bound(node.there, node.scene.surviving)
    node.probes.mark(moved)
    wait(lambda: node.probes.poll() and node.probes.outages, "the node is not reachable through ha2")
    (row,) = node.sas(node.scene.surviving)
    assert row["remote"].startswith(f"[{node.there.address}]:")
    assert row["role"] == "initiator"


@pytest.mark.parametrize("by_agent", [True, False], ids=["home agent", "node"])
def test_keys_are_renewed_after_a_movement(laboratory: Laboratory, by_agent: bool) -> None:
    often = {"child_lifetime_s": 5.0}
    node = MovingNode(laboratory, often if by_agent else {}, {} if by_agent else often)
    ike_spi = node.sas()[0]["initiator_spi"]
    node.scene.core.plug(node.there)
    node.scene.core.cut(node.here)
    node.wait_bound(node.there)
    at_arrival = {child["inbound_spi"] for child in node.sas()[0]["children"]}
    wait(
        lambda: not at_arrival & {child["inbound_spi"] for child in node.sas()[0]["children"]},
        "the child SA is not rekeyed",
    )
    (row,) = node.sas()
    assert row["initiator_spi"] == ike_spi
    assert row["remote"].startswith(f"[{node.there.address}]:")
    # Back again: the Binding Update goes under the new keys.
    node.scene.core.plug(node.here)
    node.scene.core.cut(node.there)
    node.wait_bound(node.here)
    node.pings_go_on()
    assert [row["initiator_spi"] for row in node.sas()] == [ike_spi]
