"""Nodes of a failed home agent come back through another: engines against engines, in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control.bootstrap.takeover import NodeToRecover
from control.home_agent.events import TimelineEvent
from control.mobility.extension_headers import parse_ipv6


@pytest.fixture
def make_scene(make_scene_of_any_workers):
    return make_scene_of_any_workers


def recovered(scene) -> bool:
    return all(node.home_agent == scene.ha2.address and node.registered for node in scene.nodes)


def test_a_node_registers_by_itself(make_scene):
    scene = make_scene()
    scene.register_all()
    [binding] = scene.ha1.registrations.rules.cache.bindings()
    assert binding.identity == "mn1@example.org"
    assert binding.care_of_address == scene.nodes[0].settings.care_of_address


@pytest.mark.parametrize("same_prefix", [True, False])
def test_the_nodes_of_a_failed_agent_come_back_without_doing_anything(make_scene, same_prefix):
    scene = make_scene(5, same_prefix=same_prefix)
    scene.register_all()
    old_addresses = [node.home_address for node in scene.nodes]
    scene.fail_first()
    scene.ha2.recover(scene.to_recover(), scene.network.now)
    assert scene.network.run(lambda: recovered(scene))
    assert ([node.home_address for node in scene.nodes] == old_addresses) is same_prefix
    assert all(node.home_address in scene.ha2.registrations.rules._prefixes[0].network for node in scene.nodes)
    assert not scene.ha2.takeover.active
    progress = scene.ha2.takeover.progress(scene.network.now)
    assert (progress.recovered, progress.given_up) == (5, 0)


def test_the_timeline_has_the_steps_in_the_order_of_the_draft(make_scene):
    scene = make_scene()
    scene.register_all()
    scene.network.happenings.clear()
    scene.fail_first()
    scene.ha2.recover(scene.to_recover(), scene.network.now)
    assert scene.network.run(lambda: recovered(scene))
    assert [happening.event for happening in scene.network.happenings] == [
        TimelineEvent.IKE_SA_INIT_SENT,
        TimelineEvent.IKE_ESTABLISHED,
        TimelineEvent.HOME_AGENT_SWITCH_SENT,
        TimelineEvent.BINDING_UPDATE,
        TimelineEvent.RECOVERED,
        TimelineEvent.TAKEOVER_FINISHED,
    ]


def test_nothing_of_the_signalling_is_in_clear(make_scene):
    scene = make_scene(2)
    scene.register_all()
    scene.fail_first()
    scene.ha2.recover(scene.to_recover(), scene.network.now)
    assert scene.network.run(lambda: recovered(scene))
    assert {parse_ipv6(packet).next_header for packet in scene.network.wire} == {50}


def test_one_packet_in_five_lost_still_brings_everyone_back(make_scene):
    scene = make_scene(20)
    scene.register_all()
    scene.fail_first()
    scene.network.loss = 0.2
    scene.ha2.recover(scene.to_recover(), scene.network.now)
    assert scene.network.run(lambda: recovered(scene), seconds=600)


def test_an_unreachable_node_is_given_up_with_a_reason(make_scene):
    scene = make_scene(2)
    scene.register_all()
    scene.fail_first()
    gone = scene.network.nodes.pop(scene.nodes[1].settings.care_of_address)
    scene.ha2.recover(scene.to_recover(), scene.network.now)
    assert scene.network.run(lambda: not scene.ha2.takeover.active, seconds=900)
    [given_up] = scene.network.happened(TimelineEvent.GIVEN_UP)
    assert (given_up.node, given_up.detail["reason"]) == (gone.identity, "timeout")
    assert scene.nodes[0].registered


def test_a_silent_node_soon_makes_room_for_the_others(make_scene):
    scene = make_scene(1)
    scene.register_all()
    scene.fail_first()
    scene.network.nodes.clear()
    begun = scene.network.now
    scene.ha2.recover(scene.to_recover(), begun)
    assert scene.network.run(lambda: scene.ha2.takeover.failures, seconds=30)
    retransmission = scene.ha2.endpoint.configuration.retransmission
    assert scene.network.now - begun <= replace(retransmission, tries=3).patience_s < retransmission.patience_s


def test_a_node_that_was_given_up_is_served_when_it_comes_by_itself(make_scene):
    scene = make_scene(1)
    scene.register_all()
    scene.fail_first()
    node = scene.nodes[0]
    del scene.network.nodes[node.settings.care_of_address]
    scene.ha2.recover(scene.to_recover(), scene.network.now)
    assert scene.network.run(lambda: not scene.ha2.takeover.active, seconds=900)
    scene.network.nodes[node.settings.care_of_address] = node
    node.register(scene.ha2.address, "ha2.example.org", scene.network.now)
    assert scene.network.run(lambda: recovered(scene))


def test_a_node_that_does_not_trust_this_agent_is_given_up_at_the_first_attempt(make_scene):
    scene = make_scene(2)
    scene.register_all()
    scene.fail_first()
    first, second = scene.to_recover()
    # Somebody else's care-of address: the node there has another identity and another key.
    wrong = NodeToRecover(first.identity, first.home_address, second.care_of_address)
    scene.ha2.recover([wrong], scene.network.now)
    assert scene.network.run(lambda: not scene.ha2.takeover.active, seconds=900)
    assert scene.ha2.takeover.failures == {"authentication-failed": 1}
    assert all(node.home_agent == scene.ha1.address for node in scene.nodes)


def test_nothing_is_acknowledged_while_the_store_does_not_work(make_scene):
    scene = make_scene(1)
    scene.network.store_works = False
    scene.nodes[0].register(scene.ha1.address, "ha1.example.org", 0.0)
    assert not scene.network.run(lambda: scene.nodes[0].registered, seconds=3)
    assert scene.ha1.registrations.messages["out", "binding-acknowledgement", "0"] == 0
    scene.network.store_works = True
    assert scene.network.run(lambda: scene.nodes[0].registered, seconds=120)


def test_security_associations_are_renewed_without_a_switch_after_a_restart(make_scene):
    scene = make_scene(1)
    scene.register_all()
    node = scene.nodes[0]
    older = scene.ha1.sessions.current(node.identity)
    renewed = NodeToRecover(node.identity, node.home_address, node.settings.care_of_address, switch=False)
    scene.network.happenings.clear()
    scene.ha1.recover([renewed], scene.network.now)
    assert scene.network.run(lambda: not scene.ha1.takeover.active)
    assert scene.ha1.sessions.current(node.identity) is not older
    assert not scene.network.happened(TimelineEvent.HOME_AGENT_SWITCH_SENT)
    assert node.registered
    before = scene.ha1.registrations.messages["in", "binding-update", ""]
    assert scene.network.run(lambda: scene.ha1.registrations.messages["in", "binding-update", ""] > before, 3600)
    assert node.registered
