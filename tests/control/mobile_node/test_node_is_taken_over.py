"""A home agent that comes to the node: draft-li-mip6-ha-init-bootstrap-00 and RFC 5142."""

from __future__ import annotations

from ipaddress import IPv6Address
from random import Random

import pytest

from control.ikev2.address import SocketAddress
from control.ikev2.child import ChildRequest
from control.ikev2.events import ChildFailed
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector
from control.mobile_node.events import (
    BindingUpdateSent,
    Deregistered,
    HomeAddressAssigned,
    HomeAgentSwitched,
    IkeEstablished,
    Registered,
    RegistrationFailed,
)
from control.mobility.extension_headers import build_ipv6
from control.mobility.messages import BindingAcknowledgement, HomeAgentSwitch

HA1 = IPv6Address("2001:db8:a1::1")
HA2 = IPv6Address("2001:db8:a2::1")
HA3 = IPv6Address("2001:db8:a3::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::11")
OTHER_HOME_ADDRESS = IPv6Address("2001:db8:200::11")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c0::11")
CORRESPONDENT = IPv6Address("2001:db8:cc::1")


def node_of(world):
    return world.nodes[CARE_OF_ADDRESS]


def fail_over(world, **arguments):
    """HA1 dies, HA2 takes its node over."""
    world.dead.add(HA1)
    world.events.clear()
    world.home_agents[HA2].bootstrap(world.now, **arguments)
    world.settle()


def test_it_moves_to_the_home_agent_that_came(registered):
    node = node_of(registered)
    fail_over(registered)
    assert [type(event) for event in registered.events] == [
        IkeEstablished,
        HomeAgentSwitched,
        BindingUpdateSent,
        Registered,
    ]
    assert not registered.of(IkeEstablished)[0].initiated_here
    assert registered.of(HomeAgentSwitched) == [HomeAgentSwitched(HA1, HA2, bootstrap=True)]
    assert registered.of(Registered)[0].refresh is False
    assert node.home_agent == HA2
    assert node.registered
    assert registered.home_agents[HA2].cache.get(HOME_ADDRESS).care_of_address == CARE_OF_ADDRESS


def test_the_old_home_agent_hears_nothing(registered):
    old = registered.home_agents[HA1]
    updates, associations = len(old.received), len(old.ipsec)
    registered.home_agents[HA2].bootstrap(registered.now)
    registered.settle()
    assert node_of(registered).home_agent == HA2
    assert len(old.received) == updates, "no de-registration"
    assert len(old.ipsec) == associations, "no deletion"


def test_the_old_security_associations_are_gone(registered):
    node = node_of(registered)
    fail_over(registered)
    assert {pair[0].source for pair in node.ipsec.list()} == {HA2}
    assert len(node.endpoint.sas()) == 1


def test_the_old_tunnel_is_shut_and_the_new_one_open(registered):
    node = node_of(registered)
    fail_over(registered)
    inner = build_ipv6(CORRESPONDENT, HOME_ADDRESS, 59, b"")
    assert node.receive_tunnelled(HA1, inner) is None
    assert node.receive_tunnelled(HA2, inner) == inner


def test_it_takes_a_new_home_address(registered):
    home_agent = registered.add_home_agent(HA2, "ha2.example.org", "2001:db8:200::/64")
    node = node_of(registered)
    fail_over(registered, home_address=OTHER_HOME_ADDRESS, assign=True)
    assert registered.of(HomeAddressAssigned) == [HomeAddressAssigned(OTHER_HOME_ADDRESS, HOME_ADDRESS, HA2)]
    assert node.home_address == OTHER_HOME_ADDRESS
    assert node.registered
    assert home_agent.cache.get(OTHER_HOME_ADDRESS).care_of_address == CARE_OF_ADDRESS
    old, new = (build_ipv6(CORRESPONDENT, address, 59, b"") for address in (HOME_ADDRESS, OTHER_HOME_ADDRESS))
    assert node.receive_tunnelled(HA2, old) is None
    assert node.receive_tunnelled(HA2, new) == new
    assert node.tunnel(build_ipv6(HOME_ADDRESS, CORRESPONDENT, 59, b"")) is None


def test_a_new_home_address_is_not_used_before_the_switch(registered):
    home_agent = registered.add_home_agent(HA2, "ha2.example.org", "2001:db8:200::/64")
    home_agent.send_switch = lambda *_: None
    fail_over(registered, home_address=OTHER_HOME_ADDRESS, assign=True)
    assert len(registered.of(IkeEstablished)) == 1
    assert node_of(registered).home_address == HOME_ADDRESS
    assert node_of(registered).home_agent == HA1


def test_it_moves_again_and_back(registered):
    node = node_of(registered)
    fail_over(registered)
    registered.dead.clear()
    registered.home_agents[HA1].bootstrap(registered.now)
    registered.settle()
    assert (node.home_agent, node.registered) == (HA1, True)
    registered.home_agents[HA2].bootstrap(registered.now)
    registered.settle()
    assert (node.home_agent, node.registered) == (HA2, True)
    assert len(node.endpoint.sas()) == 1


def test_an_unregistered_node_can_be_taken_over(world):
    node = world.add_node()
    world.add_home_agent().bootstrap(world.now)
    world.settle()
    assert node.registered
    assert world.of(HomeAgentSwitched) == [HomeAgentSwitched(None, HA1, bootstrap=True)]


def test_a_takeover_ends_the_nodes_own_attempt(world):
    node = world.add_node()
    world.add_home_agent()
    world.add_home_agent(HA2, "ha2.example.org")
    world.dead.add(HA1)
    node.register(HA1, "ha1.example.org", world.now)
    world.run(2)
    world.home_agents[HA2].bootstrap(world.now)
    world.run(100)
    assert (node.home_agent, node.registered) == (HA2, True)
    assert not world.of(RegistrationFailed)


@pytest.mark.parametrize("seed", range(12))
def test_loss_only_delays_it(registered, seed):
    random = Random(seed)
    registered.dead.add(HA1)
    registered.lose = lambda: random.random() < 0.2
    home_agent = registered.home_agents[HA2]
    for _ in range(6):
        home_agent.bootstrap(registered.now)
        registered.run(30)
        if home_agent.cache.get(HOME_ADDRESS):
            break
    registered.run(60)
    assert (node_of(registered).home_agent, node_of(registered).registered) == (HA2, True)


def test_a_repeated_switch_brings_another_binding_update(registered):
    fail_over(registered)
    home_agent = registered.home_agents[HA2]
    home_agent.send_switch(registered.now)
    registered.settle()
    assert len(home_agent.binding_updates) == 2
    assert len(registered.of(HomeAgentSwitched)) == 1
    assert node_of(registered).registered


def test_a_lost_binding_update_is_repeated_after_the_switch(registered):
    home_agent = registered.home_agents[HA2]
    home_agent.silent = True
    fail_over(registered)
    home_agent.silent = False
    registered.run(2)
    assert node_of(registered).registered


def test_renewed_security_associations_of_the_same_home_agent_are_used(registered):
    """A home agent that lost its security associations makes new ones, without a switch."""
    node = node_of(registered)
    restarted = registered.add_home_agent(seed=1)
    restarted.send_switch = lambda *_: None
    restarted.bootstrap(registered.now)
    registered.settle()
    assert not registered.of(HomeAgentSwitched)
    node._registrar.registration.update_now(registered.now)
    registered.run(1)
    assert len(restarted.binding_updates) == 1
    assert restarted.cache.get(HOME_ADDRESS)
    assert node.registered


# What must not move it


def unmoved(world):
    node = node_of(world)
    assert (node.home_agent, node.registered, node.home_address) == (HA1, True, HOME_ADDRESS)
    assert not world.of(HomeAgentSwitched)
    assert not world.of(HomeAddressAssigned)


def test_an_unprotected_switch_is_ignored(registered):
    for agent in registered.home_agents.values():
        switch = HomeAgentSwitch((agent.address,), bootstrap=True)
        agent.send(switch, registered.now, protect=False)
    registered.settle()
    unmoved(registered)
    assert node_of(registered).statistics["unprotected-mobility-message"] == 2


def test_an_unprotected_acknowledgement_is_ignored(world):
    node = world.add_node()
    home_agent = world.add_home_agent()
    home_agent.silent = True
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    number = home_agent.binding_updates[0].sequence_number
    home_agent.send(BindingAcknowledgement(0, number, 150), world.now, protect=False)
    world.settle()
    assert not node.registered
    home_agent.send(BindingAcknowledgement(0, number, 150), world.now)
    world.settle()
    assert node.registered


@pytest.mark.parametrize(
    ("identity", "key"),
    [
        ("ha2.example.net", None),
        ("mn2@mn.example.org", None),
        ("mn2.mn.example.org", None),
        ("ha2.example.org", b"guessed"),
    ],
)
def test_a_stranger_does_not_get_through(registered, identity, key):
    arguments = {"key": key} if key else {}
    stranger = registered.add_home_agent(HA2, identity, **arguments)
    stranger.bootstrap(registered.now)
    registered.run(60)
    assert not stranger.established
    assert len(registered.of(IkeEstablished)) == 1
    unmoved(registered)


def test_a_home_agent_cannot_switch_the_node_to_another_with_the_b_bit(registered):
    home_agent = registered.home_agents[HA2]
    home_agent.addresses_in_switch = (HA1,)
    home_agent.bootstrap(registered.now)
    registered.settle()
    unmoved(registered)
    assert node_of(registered).statistics["switch-to-unauthenticated-home-agent"] == 1


def test_a_home_agent_cannot_ask_for_somebody_elses_traffic(registered):
    """Selectors are narrowed to the home agent the proposal comes from and the node's own home address."""
    home_agent = registered.home_agents[HA2]
    home_agent.send_switch = lambda *_: None
    home_agent.bootstrap(registered.now)
    registered.settle()
    before = len(node_of(registered).ipsec)
    sa = home_agent.established[0]
    for local, remote in ((HA1, HOME_ADDRESS), (HA2, OTHER_HOME_ADDRESS)):
        request = ChildRequest(
            (TrafficSelector.host(local, PROTOCOL_MOBILITY),), (TrafficSelector.host(remote, PROTOCOL_MOBILITY),)
        )
        sa.create_child(request, registered.now)
        registered.settle()
    failures = [event.reason for event in home_agent.ike_events if isinstance(event, ChildFailed)]
    assert failures == ["ts-unacceptable", "ts-unacceptable"]
    assert len(node_of(registered).ipsec) == before


def test_the_switch_of_one_home_agent_does_not_speak_for_another(registered):
    """Without the B bit only the home agent the node is registered with may send it away."""
    home_agent = registered.home_agents[HA2]
    home_agent.send_switch = lambda *_: None
    home_agent.bootstrap(registered.now)
    registered.settle()
    home_agent.send(HomeAgentSwitch((HA2,)), registered.now)
    registered.settle()
    unmoved(registered)
    assert node_of(registered).statistics["switch-not-from-home-agent"] == 1


def test_a_replayed_switch_is_ignored(registered):
    home_agent = registered.home_agents[HA2]
    captured = []
    send = home_agent.packets_to_send

    def capture():
        packets = send()
        captured.extend(packets)
        return packets

    home_agent.packets_to_send = capture
    fail_over(registered)
    registered.dead.clear()
    registered.home_agents[HA1].bootstrap(registered.now)
    registered.settle()
    events = len(registered.events)
    for packet in captured:
        registered.deliver(packet)
    registered.settle()
    assert node_of(registered).home_agent == HA1
    assert len(registered.events) == events


def test_noise_changes_nothing(registered):
    node = node_of(registered)
    random = Random(5)
    events = len(registered.events)
    for _ in range(300):
        noise = random.randbytes(random.randrange(0, 120))
        node.receive_packet(noise, registered.now)
        whole = build_ipv6(HA1, CARE_OF_ADDRESS, random.choice((41, 43, 50, 60, 135)), noise)
        node.receive_packet(whole, registered.now)
        node.receive_ike(noise, SocketAddress(CARE_OF_ADDRESS), SocketAddress(HA2), registered.now)
    registered.settle()
    unmoved(registered)
    assert len(registered.events) == events


def test_associations_are_bounded(registered):
    home_agent = registered.home_agents[HA2]
    home_agent.send_switch = lambda *_: None
    for _ in range(20):
        home_agent.bootstrap(registered.now)
        registered.settle()
    assert len(node_of(registered).endpoint.sas()) <= 8


# Without the B bit


def test_it_deregisters_and_goes_where_it_is_sent(world):
    node = world.add_node(home_agent_identities={HA2: "ha2.example.org"})
    old = world.add_home_agent()
    world.add_home_agent(HA2, "ha2.example.org")
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    old.send(HomeAgentSwitch((HA2,)), world.now)
    world.settle()
    assert world.of(Deregistered) == [Deregistered(HA1, acknowledged=True)]
    assert old.cache.get(HOME_ADDRESS) is None
    assert world.of(HomeAgentSwitched) == [HomeAgentSwitched(HA1, HA2, bootstrap=False)]
    assert (node.home_agent, node.registered) == (HA2, True)


def test_it_goes_although_the_old_home_agent_is_silent(world):
    node = world.add_node(home_agent_identities={HA2: "ha2.example.org"})
    old = world.add_home_agent()
    world.add_home_agent(HA2, "ha2.example.org")
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    old.send(HomeAgentSwitch((HA2,)), world.now)
    old.silent = True
    world.run(15)
    assert world.of(Deregistered) == [Deregistered(HA1, acknowledged=False)]
    assert (node.home_agent, node.registered) == (HA2, True)


def test_of_the_home_agents_named_it_takes_the_first_that_answers(world):
    """RFC 5142 section 6.2."""
    node = world.add_node(home_agent_identities={HA2: "ha2.example.org", HA3: "ha3.example.org"})
    old = world.add_home_agent()
    world.add_home_agent(HA3, "ha3.example.org")
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    old.send(HomeAgentSwitch((HA2, HA3)), world.now)
    world.settle()
    assert world.of(HomeAgentSwitched) == [HomeAgentSwitched(HA1, HA2, bootstrap=False)]
    world.run(60)
    assert (node.home_agent, node.registered) == (HA3, True)


def test_without_an_address_it_only_leaves(registered):
    registered.home_agents[HA1].send(HomeAgentSwitch(()), registered.now)
    registered.run(100)
    assert not node_of(registered).registered
    assert [failure.reason for failure in registered.of(RegistrationFailed)] == ["no-home-agent-named"]


def test_a_repeated_order_to_leave_changes_nothing(registered):
    home_agent = registered.home_agents[HA1]
    home_agent.silent = True
    for _ in range(3):
        home_agent.send(HomeAgentSwitch((HA2,)), registered.now)
        registered.settle()
    assert len(registered.of(HomeAgentSwitched)) == 1
    assert len(home_agent.binding_updates) == 2, "the registration and one de-registration"
    assert node_of(registered).statistics["repeated-home-agent-switch"] == 2


# What counts as coming from the home agent


def test_the_same_home_agent_can_begin_anew(registered):
    """It lost its bindings: the node registers from scratch, and is not de-registered."""
    restarted = registered.add_home_agent(seed=1)
    restarted.bootstrap(registered.now)
    registered.settle()
    assert registered.of(HomeAgentSwitched) == [HomeAgentSwitched(HA1, HA1, bootstrap=True)]
    assert [event.refresh for event in registered.of(Registered)] == [False, False]
    assert [update.lifetime_units for update in restarted.binding_updates] == [150]
    assert len(node_of(registered).endpoint.sas()) == 1


def test_an_acknowledgement_of_another_home_agent_is_ignored(world):
    node = world.add_node()
    home_agent = world.add_home_agent()
    other = world.add_home_agent(HA2, "ha2.example.org")
    other.send_switch = lambda *_: None
    other.bootstrap(world.now)
    home_agent.silent = True
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    number = home_agent.binding_updates[0].sequence_number
    other.send(BindingAcknowledgement(0, number, 150), world.now)
    world.settle()
    assert not node.registered
    assert node.statistics["unexpected-acknowledgement"] == 1


def test_esp_without_a_routing_header_is_not_looked_at(registered):
    node = node_of(registered)
    node.receive_packet(build_ipv6(HA1, CARE_OF_ADDRESS, 50, bytes(60)), registered.now)
    assert node.statistics["unexpected-packet"] == 1
    assert not node.ipsec.statistics["unknown-spi"]


def test_the_tunnel_lets_in_but_not_out_before_the_acknowledgement(registered):
    """The home agent may have bound the node already; the node only knows when it is told."""
    node = node_of(registered)
    registered.home_agents[HA2].silent = True
    fail_over(registered)
    inner = build_ipv6(CORRESPONDENT, HOME_ADDRESS, 59, b"")
    assert node.receive_tunnelled(HA2, inner) == inner
    assert node.tunnel(build_ipv6(HOME_ADDRESS, CORRESPONDENT, 59, b"")) is None
    assert node.statistics["tunnel-not-registered"] == 1
