"""Child SAs that have carried as much as they may, at a home agent and at a node, in memory."""

from __future__ import annotations

import pytest

from control.ikev2.policy import LifetimePolicy
from control.ipsec.usage_limits import UsageLimits
from tests.control.home_agent.test_rekeying import NEVER, nothing_was_lost, refresh, sas

THREE_AND_TEN = UsageLimits(3, 10, 2**40, 2**41)
LONG = LifetimePolicy(ike_s=36_000.0, child_s=36_000.0)


@pytest.mark.parametrize("lifetimes", [NEVER, LONG])
def test_a_child_near_its_limit_is_replaced_and_nothing_is_lost(make_scene, lifetimes):
    scene = make_scene(agent_lifetimes=lifetimes, node_lifetimes=lifetimes)
    scene.ha1.sessions._signalling._limits = THREE_AND_TEN
    scene.register_all()
    agent, _ = sas(scene)
    before = set(agent.children)
    for _ in range(8):
        refresh(scene)
    scene.network.run(lambda: False, seconds=1)
    agent, _ = sas(scene)
    assert len(agent.children) == len(before)
    assert len(set(agent.children) - before) == 1
    assert scene.ha1.statistics["child-soft-limit"] == 3
    assert scene.ha1.statistics["child-hard-limit"] == 0
    assert scene.ha1.endpoint.statistics["child-rekeyed"] == 3
    nothing_was_lost(scene)


def test_a_child_at_its_hard_limit_is_closed_and_the_node_comes_back(make_scene):
    scene = make_scene(agent_lifetimes=NEVER, node_lifetimes=NEVER)
    scene.register_all()
    agent, _ = sas(scene)
    ((inbound, outbound),) = scene.ha1.sessions._signalling._ipsec.list()
    outbound.usage.packets = 2**32 - 1
    node = scene.nodes[0]
    node._registrar.registration.update_now(scene.network.now)
    node._enrolment.run(scene.network.now)
    scene.network.run(lambda: inbound.spi not in agent.children, seconds=1)
    assert inbound.spi not in agent.children
    assert scene.ha1.statistics["child-hard-limit"] == 1
    assert scene.ha1.sessions._signalling._ipsec.statistics["usage-exceeded"] >= 1
    pairs = scene.ha1.sessions._signalling._ipsec.list()
    assert inbound.spi not in {one.spi for one, _ in pairs}


def test_a_child_that_is_gone_or_being_replaced_is_left_alone(make_scene):
    scene = make_scene(agent_lifetimes=LONG, node_lifetimes=NEVER)
    scene.register_all()
    agent, _ = sas(scene)
    child = next(iter(agent.children.values()))
    for _ in range(3):
        agent.replace_child(child, scene.network.now)
    scene.network.run(lambda: False, seconds=1)
    agent.replace_child(child, scene.network.now)
    scene.network.run(lambda: False, seconds=1)
    assert scene.ha1.endpoint.statistics["child-rekeyed"] == 1
    last = next(iter(agent.children.values()))
    agent.abandon(scene.network.now)
    agent.replace_child(last, scene.network.now)
    assert agent.children == {}
