"""Nodes that move: their registration, their IKE SA and its children go along (RFC 6275 10.3.1, RFC 4877 7.4)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from msgspec import structs

from control.ikev2.exchanges.mobike import update_addresses
from control.ikev2.nat import NatTraversal
from control.ikev2.policy import LifetimePolicy
from control.mobile_node.events import BindingLost, CareOfAddressChanged, IkeStarted, RegistrationFailed
from control.mobile_node.registration import Registration
from control.mobility.extension_headers import build_ipv6, encapsulate, parse_ipv6
from control.mobility.messages import BindingUpdate

NEVER = LifetimePolicy(ike_s=0.0, child_s=0.0)
HERE = IPv6Address("2001:db8:c::1")
THERE = IPv6Address("2001:db8:d::1")
ELSEWHERE = IPv6Address("2001:db8:e::1")


@pytest.fixture
def scene(make_scene):
    scene = make_scene(agent_lifetimes=NEVER, node_lifetimes=NEVER)
    scene.register_all()
    return scene


def pass_time(scene, seconds=1.0):
    end = scene.network.now + seconds
    scene.network.run(lambda: scene.network.now >= end, seconds)


def binding(scene, agent=None):
    (found,) = (agent or scene.ha1).registrations.rules.cache.bindings()
    return found


def both_ends(scene, agent=None):
    agent, node = agent or scene.ha1, scene.nodes[0]
    mine = agent.sessions.current(node.identity)
    theirs = next(sa for sa in node.endpoint.sas() if sa.is_established and sa.local_spi == mine.remote_spi)
    assert {child.inbound_spi for child in mine.children.values()} == {
        child.outbound_spi for child in theirs.children.values()
    }
    return mine, theirs


def spis(sas):
    return [(sa.local_spi, sa.remote_spi, sorted(sa.children)) for sa in sas]


def forget_traffic(scene):
    scene.network.wire.clear()
    scene.network.node_events.clear()


def test_binding_ike_sa_and_children_go_along(scene):
    sas = both_ends(scene)
    before = spis(sas)
    forget_traffic(scene)
    scene.network.move(scene.nodes[0], THERE)
    pass_time(scene)
    assert binding(scene).care_of_address == THERE
    assert binding(scene).key_management
    assert both_ends(scene) == sas
    assert spis(sas) == before
    assert (sas[0].remote_address, sas[1].local_address) == (THERE, THERE)
    assert scene.nodes[0].registered
    update, acknowledgement = (parse_ipv6(packet) for packet in scene.network.wire)
    assert (update.source, acknowledgement.destination) == (THERE, THERE)
    assert not [event for event in scene.network.node_events if isinstance(event, IkeStarted | BindingLost)]
    assert CareOfAddressChanged(THERE, HERE) in scene.network.node_events
    assert scene.ha1.statistics["ike-sas-moved"] == 1


@pytest.mark.parametrize("by_agent", [True, False])
@pytest.mark.parametrize("what", ["liveness", "child", "ike"])
def test_after_a_movement_both_sides_can_go_on_with_ike(scene, by_agent, what):
    scene.network.move(scene.nodes[0], THERE)
    pass_time(scene)
    agent, node = both_ends(scene)
    sa, children = (agent, node)[not by_agent], set(agent.children)
    if what == "liveness":
        heard = sa.last_heard_at
        sa.probe_liveness(scene.network.now)
        pass_time(scene)
        assert sa.last_heard_at > heard
        return
    if what == "child":
        sa.rekey_child(next(iter(sa.children)), scene.network.now)
    else:
        sa.rekey(scene.network.now)
    pass_time(scene)
    new = both_ends(scene)
    assert (new[0] is agent) is (what == "child")
    assert (set(new[0].children) == children) is (what == "ike")
    assert (new[0].remote_address, new[1].local_address) == (THERE, THERE)
    assert scene.ha1.endpoint.statistics["retransmissions"] == 0
    scene.network.move(scene.nodes[0], ELSEWHERE)
    pass_time(scene)
    assert (new[0].remote_address, binding(scene).care_of_address) == (ELSEWHERE, ELSEWHERE)


@pytest.mark.parametrize("by_agent", [True, False])
def test_a_request_under_way_is_repeated_where_the_node_is_now(scene, by_agent):
    agent, node = both_ends(scene)
    (agent if by_agent else node).rekey(scene.network.now)
    scene.network.nodes.clear()
    if by_agent:
        scene.network._exchange()  # lost: the node has left
    else:
        scene.nodes[0].datagrams_to_send()
    scene.network.move(scene.nodes[0], THERE)
    before = scene.network.now
    assert scene.network.run(lambda: scene.ha1.endpoint.statistics["ike-rekeyed"] == 1, seconds=0.1)
    assert scene.network.now == before, "it waited for the retransmission timer"
    pass_time(scene)
    sas = both_ends(scene)
    assert (sas[0].remote_address, sas[1].local_address) == (THERE, THERE)


def test_an_acknowledgement_that_is_not_stored_moves_nothing(scene):
    agent, _ = both_ends(scene)
    scene.network.store_works = False
    scene.network.move(scene.nodes[0], THERE)
    pass_time(scene, 0.5)
    assert (agent.remote_address, binding(scene).care_of_address) == (HERE, HERE)
    scene.network.store_works = True
    pass_time(scene, 5.0)
    assert (agent.remote_address, binding(scene).care_of_address) == (THERE, THERE)


def test_without_the_capability_at_the_home_agent_the_node_makes_a_new_ike_sa(scene):
    scene.ha1.registrations.rules._key_management = False
    agent, node = both_ends(scene)
    scene.network.move(scene.nodes[0], THERE)
    pass_time(scene)
    new = both_ends(scene)
    assert new[0] is not agent
    assert new[1] is not node
    assert new[0].remote_address == THERE
    assert scene.nodes[0].registered
    assert scene.nodes[0].statistics["ike-left-behind"] == 1
    assert not [event for event in scene.network.node_events if isinstance(event, BindingLost | RegistrationFailed)]
    assert len(scene.nodes[0].endpoint.sas_with(scene.ha1.endpoint.configuration.local_identity)) == 1
    pass_time(scene, 60.0)
    assert both_ends(scene) == new, "it is not made over and over"
    assert list(scene.ha1.sessions) == [new[0]]


def test_a_node_without_the_capability_that_makes_no_new_ike_sa_loses_the_old_one(scene, monkeypatch):
    original = Registration.binding_update
    monkeypatch.setattr(
        Registration, "binding_update", lambda *arguments: structs.replace(original(*arguments), key_management=False)
    )
    monkeypatch.setattr(scene.nodes[0]._enrolment, "_follow_up", lambda *_: None)
    agent, _ = both_ends(scene)
    scene.network.move(scene.nodes[0], THERE)
    pass_time(scene, 10.0)
    assert agent.is_established, "repeated Binding Updates have to be acknowledged yet"
    assert not binding(scene).key_management
    pass_time(scene, 15.0)
    assert not agent.is_established
    assert len(scene.ha1.sessions) == 0
    assert binding(scene).care_of_address == THERE


def test_a_node_without_a_link_waits_and_goes_on(scene):
    node = scene.nodes[0]
    scene.network.move(node, None)
    assert node.next_timer() is None
    forget_traffic(scene)
    pass_time(scene, 100.0)
    assert not scene.network.wire
    scene.network.move(node, THERE)
    pass_time(scene)
    assert binding(scene).care_of_address == THERE
    assert node.registered
    assert scene.ha1.endpoint.statistics["established"] == 1


def test_the_same_link_again_needs_no_binding_update(scene):
    node = scene.nodes[0]
    scene.network.move(node, None)
    pass_time(scene, 5.0)
    forget_traffic(scene)
    scene.network.move(node, HERE)
    pass_time(scene)
    assert not scene.network.wire
    assert scene.network.node_events == [CareOfAddressChanged(None, HERE), CareOfAddressChanged(HERE, HERE)]


def test_packets_under_way_to_the_old_address_still_reach_the_node(scene):
    node = scene.nodes[0]
    inner = build_ipv6(IPv6Address("2001:db8:cc::1"), node.home_address, 59, b"")
    scene.network.move(node, THERE)
    for care_of_address in (HERE, THERE):
        outer = encapsulate(scene.ha1.address, care_of_address, inner)
        assert node.receive_packet(outer, scene.network.now) == inner
    assert (
        parse_ipv6(node.tunnel(build_ipv6(node.home_address, IPv6Address("2001:db8:cc::1"), 59, b""))).source == THERE
    )
    scene.network.move(node, ELSEWHERE)
    assert node.receive_packet(encapsulate(scene.ha1.address, HERE, inner), scene.network.now) is None


def test_a_node_that_moves_while_its_home_agent_fails_is_served_by_the_next_one_it_knows(make_scene):
    scene = make_scene(agent_lifetimes=NEVER, node_lifetimes=NEVER, other_home_agents=True)
    scene.register_all()
    node = scene.nodes[0]
    lost = scene.to_recover()
    scene.fail_first()
    scene.network.move(node, THERE)
    scene.ha2.recover(lost, scene.network.now)  # which looks for it where it was
    assert scene.network.run(lambda: node.home_agent == scene.ha2.address and node.registered, 300)
    assert binding(scene, scene.ha2).care_of_address == THERE
    assert both_ends(scene, scene.ha2)[0].remote_address == THERE


def test_binding_updates_ask_for_key_management_mobility(scene):
    message = scene.nodes[0]._registrar.registration.binding_update(HERE, scene.network.now)
    assert isinstance(message, BindingUpdate)
    assert message.key_management


def test_mobike_brings_the_ike_sa_along_where_the_k_bit_does_not(make_scene):
    scene = make_scene(agent_lifetimes=NEVER, node_lifetimes=NEVER)
    for party in (scene.ha1, scene.nodes[0]):
        environment = party.endpoint._environment
        environment.configuration = replace(environment.configuration, mobike=True, nat_traversal=NatTraversal.OFF)
    scene.ha1.registrations.rules._key_management = False
    scene.register_all()
    sas = both_ends(scene)
    before = spis(sas)
    scene.network.move(scene.nodes[0], THERE)
    pass_time(scene, 60.0)
    assert both_ends(scene) == sas
    assert spis(sas) == before
    assert (sas[0].remote_address, binding(scene).care_of_address) == (THERE, THERE)
    assert scene.ha1.endpoint.statistics["mobike-updates"] == 1
    assert scene.nodes[0].statistics["ike-left-behind"] == 0


def test_mobike_alone_does_not_change_the_binding(make_scene):
    scene = make_scene(agent_lifetimes=NEVER, node_lifetimes=NEVER)
    for party in (scene.ha1, scene.nodes[0]):
        environment = party.endpoint._environment
        environment.configuration = replace(environment.configuration, mobike=True, nat_traversal=NatTraversal.OFF)
    scene.register_all()
    agent, node = both_ends(scene)
    scene.network.nodes[THERE] = scene.nodes[0]
    update_addresses(node, scene.network.now, local=node.local._replace(address=THERE))
    pass_time(scene)
    assert (agent.remote_address, binding(scene).care_of_address) == (THERE, HERE)


def test_a_node_that_moves_all_the_time_sends_three_updates_a_second_at_most(scene):
    node = scene.nodes[0]
    pass_time(scene, 2.0)
    forget_traffic(scene)
    start = scene.network.now
    for number in range(50):
        scene.network.move(node, IPv6Address(f"2001:db8:d:1::{number + 1:x}"))
        pass_time(scene, 0.02)
    assert scene.network.now - start <= 1.001
    updates = [packet for packet in scene.network.wire if parse_ipv6(packet).home_address_option is not None]
    assert 1 <= len(updates) <= 4
    pass_time(scene, 2.0)
    assert binding(scene).care_of_address == node.care_of_address
