"""Nodes that ask for a home address over IKEv2 (RFC 4877 section 9): assigned, kept, given back."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from control.mobile_node.events import HomeAddressAssigned
from control.mobility.addresses import UNSPECIFIED

FIRST = IPv6Address("2001:db8:100::1:0")


@pytest.fixture
def make_scene(make_scene_of_any_workers):
    return make_scene_of_any_workers


@pytest.fixture
def scene(make_scene):
    return make_scene(2, pooled=True)


def test_a_node_gets_a_home_address_and_registers_it(scene):
    scene.register_all()
    assert [node.home_address for node in scene.nodes] == [FIRST, FIRST + 1]
    bindings = scene.ha1.registrations.rules.cache.bindings()
    assert {binding.identity: binding.home_address for binding in bindings} == {
        "mn1@example.org": FIRST,
        "mn2@example.org": FIRST + 1,
    }
    assigned = [event for event in scene.network.node_events if isinstance(event, HomeAddressAssigned)]
    assert [(event.home_address, event.previous) for event in assigned] == [
        (FIRST, UNSPECIFIED),
        (FIRST + 1, UNSPECIFIED),
    ]


def test_the_address_is_free_when_the_node_is_gone_and_its_own_when_it_comes_back(scene):
    scene.register_all()
    node, network = scene.nodes[0], scene.network
    node.deregister(network.now)
    assert network.run(lambda: not node.registered and not scene.ha1.registrations.rules.cache.get(FIRST))
    assert scene.ha1.directory.home_address(node.identity) == FIRST  # there is still an IKE SA
    node.close(network.now)
    assert network.run(lambda: scene.ha1.directory.home_address(node.identity) is None)
    node.register(scene.ha1.address, "ha1.example.org", network.now)
    assert network.run(lambda: node.registered)
    assert node.home_address == FIRST


@pytest.mark.parametrize("works", [True, False], ids=["stored", "not-stored"])
def test_the_address_stays_with_a_node_that_closes_while_its_registration_is_being_stored(scene, works):
    node, network, agent = scene.nodes[0], scene.network, scene.ha1
    network.store_hangs = True
    node.register(agent.address, "ha1.example.org", network.now)
    assert network.run(lambda: network.storing, seconds=1.0)
    node.close(network.now)
    assert network.run(lambda: not agent.sessions.of(node.identity), seconds=1.0)
    assert agent.directory.home_address(node.identity) == FIRST
    network.store_hangs, network.store_works = False, works
    network.run(lambda: not network.storing, seconds=1.0)
    assert (agent.registrations.rules.cache.get(FIRST) is not None) is works
    assert agent.directory.home_address(node.identity) == (FIRST if works else None)


def test_the_address_stays_with_a_node_that_says_that_it_has_started_again(scene):
    """INITIAL_CONTACT ends the older IKE SA, for which alone the address was kept, in favour of the newer one."""
    scene.register_all()
    node, network, agent = scene.nodes[0], scene.network, scene.ha1
    node.deregister(network.now)
    assert network.run(lambda: not node.registered and not agent.registrations.rules.cache.get(FIRST))
    for sa in list(node.endpoint.sas()):
        sa.abandon(network.now)
    node.handle_timer(network.now)
    node.endpoint.connect = partial(node.endpoint.connect, initial_contact=True)
    node.register(agent.address, "ha1.example.org", network.now)
    assert network.run(lambda: node.registered, seconds=1.0)
    assert node.home_address == FIRST == agent.directory.home_address(node.identity)
    assert len(agent.sessions.of(node.identity)) == 1


def test_a_child_sa_of_a_node_that_has_lost_its_address_is_closed(scene, monkeypatch):
    agent, node, network = scene.ha1, scene.nodes[0], scene.network
    # Between the answer of the IKE worker and this.
    monkeypatch.setattr(agent.sessions, "_directory", SimpleNamespace(home_address=lambda _identity: None))
    node.register(agent.address, "ha1.example.org", network.now)
    assert network.run(lambda: agent.statistics["child-no-home-address"] > 0, seconds=5.0)
    network.run(lambda: False, seconds=1.0)
    assert len(agent.sessions) == 1
    assert not agent.sessions.current(node.identity).children
    assert not any(sa.children for sa in node.endpoint.sas())


def test_a_binding_keeps_the_address_of_a_node_that_has_fallen_silent(scene):
    scene.register_all()
    for sa in list(scene.ha1.sessions):
        sa.abandon(scene.network.now)
    scene.ha1.handle_timer(scene.network.now)
    assert scene.ha1.directory.home_address("mn1@example.org") == FIRST
    scene.ha1.expire(scene.network.wall + 4000)
    assert scene.ha1.directory.home_address("mn1@example.org") is None


def test_the_address_survives_a_takeover(scene):
    scene.register_all()
    scene.fail_first()
    scene.ha2.recover(scene.to_recover(), scene.network.now)
    assert scene.network.run(
        lambda: all(node.home_agent == scene.ha2.address and node.registered for node in scene.nodes)
    )
    assert [node.home_address for node in scene.nodes] == [FIRST, FIRST + 1]


def test_the_address_of_a_node_that_was_brought_back_is_free_when_it_is_gone(scene):
    scene.register_all()
    scene.fail_first()
    scene.ha2.recover(scene.to_recover(), scene.network.now)
    assert scene.network.run(
        lambda: all(node.home_agent == scene.ha2.address and node.registered for node in scene.nodes)
    )
    node, network, agent = scene.nodes[0], scene.network, scene.ha2
    node.deregister(network.now)
    assert network.run(lambda: not node.registered and not agent.registrations.rules.cache.get(FIRST))
    assert agent.directory.home_address(node.identity) == FIRST
    node.close(network.now)
    assert network.run(lambda: agent.directory.home_address(node.identity) is None)


def test_the_address_is_kept_for_the_next_attempt_to_bring_a_node_back(scene):
    scene.register_all()
    scene.fail_first()
    agent, network = scene.ha2, scene.network
    agent.recover(scene.to_recover(), network.now)
    assert network.run(lambda: agent.sessions.current("mn1@example.org") is not None)
    agent.takeover.pause()
    agent.sessions.current("mn1@example.org").delete(network.now)
    agent.handle_timer(network.now)
    assert agent.directory.home_address("mn1@example.org") == FIRST
    agent.takeover.resume()
    assert network.run(lambda: all(node.home_agent == agent.address and node.registered for node in scene.nodes))


def test_a_node_whose_wish_is_taken_uses_what_it_is_given(scene):
    scene.register_all()
    node, network = scene.nodes[0], scene.network
    node.deregister(network.now)
    assert network.run(lambda: not node.registered and not scene.ha1.registrations.rules.cache.get(FIRST))
    node.close(network.now)
    assert network.run(lambda: scene.ha1.directory.home_address(node.identity) is None)
    scene.ha1.directory.claim("mn3@example.org", FIRST)
    node.register(scene.ha1.address, "ha1.example.org", network.now)
    assert network.run(lambda: node.registered)
    assert node.home_address == FIRST + 2


def test_a_full_pool_is_said_and_asked_again_later(make_scene):
    scene = make_scene(1, pooled=True)
    directory = scene.ha1.directory
    for pool in directory._assigning:
        pool._end = pool._first
    node = scene.nodes[0]
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    assert scene.network.run(lambda: scene.ha1.endpoint.statistics["internal-address-failures-answered"] > 0)
    scene.network.run(lambda: False, seconds=0.0)
    assert not node.registered
    assert any(getattr(event, "reason", "") == "no-home-address-assigned" for event in scene.network.node_events)
    for pool in directory._assigning:
        pool._end = 1 << 64
    assert scene.network.run(lambda: node.registered)


def test_what_the_store_knows_of_is_kept_and_nobody_loses_an_address_over_it(make_scene):
    directory = make_scene(3, pooled=True).ha1.directory
    assert directory.claim("mn1@example.org", FIRST + 5)
    directory.restore_assigned("mn1@example.org", FIRST + 6)
    directory.restore_assigned("mn2@example.org", FIRST + 5)
    directory.restore_assigned("mn3@example.org", FIRST + 1)
    directory.restore_assigned("stranger@example.org", FIRST + 2)
    known = [directory.home_address(f"mn{index}@example.org") for index in (1, 2, 3)]
    assert known == [FIRST + 5, None, FIRST + 1]
    assert directory.assign("mn2@example.org", None) == FIRST
    assert directory.assign("mn4@example.org", None) == FIRST + 2
