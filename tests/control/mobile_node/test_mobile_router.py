"""A mobile node with a network behind it (RFC 3963 section 5)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from control.mobile_node.events import BindingLost, Deregistered, Registered, RegistrationFailed
from control.mobile_node.mobile_network import MobileNetwork, PrefixFilter
from control.mobility.extension_headers import build_ipv6, encapsulate
from control.mobility.messages import BindingUpdate
from control.mobility.options import MobileNetworkPrefix

HOME_ADDRESS = IPv6Address("2001:db8:100::11")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c0::11")
HA1, HA2 = IPv6Address("2001:db8:a1::1"), IPv6Address("2001:db8:a2::1")
CORRESPONDENT = IPv6Address("2001:db8:cc::1")
NETWORK, SECOND_NETWORK = IPv6Network("2001:db8:700::/56"), IPv6Network("2001:db8:701:2::/63")
HOST, SECOND_HOST = IPv6Address("2001:db8:700:12::7"), IPv6Address("2001:db8:701:3::8")
OUTSIDE = IPv6Address("2001:db8:700:100::7")
EXPLICIT = MobileNetwork((NETWORK, SECOND_NETWORK))
IMPLICIT = MobileNetwork((NETWORK, SECOND_NETWORK), explicit=False)


def start(world, network=EXPLICIT, *, authorised=(NETWORK, SECOND_NETWORK), **changes):
    node = world.add_node(mobile_network=network, **changes)
    agent = world.add_home_agent(networks=authorised)
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    return node, agent


def updates(agent):
    return [message for message in agent.received if isinstance(message, BindingUpdate)]


def named(update):
    return [option.network for option in update.options if isinstance(option, MobileNetworkPrefix)]


def failures(world):
    return [event.reason for event in world.of(RegistrationFailed)]


@pytest.mark.parametrize(("network", "names"), [(EXPLICIT, [NETWORK, SECOND_NETWORK]), (IMPLICIT, [])])
def test_it_registers_its_network(world, network, names):
    node, agent = start(world, network)
    (update,) = updates(agent)
    assert update.mobile_router
    assert named(update) == names
    assert node.registered
    assert agent.cache.get(HOME_ADDRESS).mobile_networks == (NETWORK, SECOND_NETWORK)


def test_a_refresh_names_the_network_again(world):
    _, agent = start(world)
    world.run(500.0)
    assert len(updates(agent)) >= 2
    assert all(update.mobile_router and named(update) == [NETWORK, SECOND_NETWORK] for update in updates(agent))


def test_leaving_names_no_network(world):
    node, agent = start(world)
    node.deregister(world.now)
    world.settle()
    last = updates(agent)[-1]
    assert (last.lifetime_units, last.mobile_router, named(last)) == (0, True, [])
    assert [event.acknowledged for event in world.of(Deregistered)] == [True]
    assert len(agent.cache) == 0


def test_a_host_sets_no_flag(world):
    _, agent = start(world, None)
    (update,) = updates(agent)
    assert not update.mobile_router


# The tunnel


@pytest.mark.parametrize("address", [HOME_ADDRESS, HOST, SECOND_HOST])
def test_its_network_uses_the_tunnel(world, address):
    node, _ = start(world)
    outbound = build_ipv6(address, CORRESPONDENT, 59, b"out of the network")
    assert node.tunnel(outbound) == encapsulate(CARE_OF_ADDRESS, HA1, outbound)
    inbound = build_ipv6(CORRESPONDENT, address, 59, b"into the network")
    assert node.receive_packet(encapsulate(HA1, CARE_OF_ADDRESS, inbound), world.now) == inbound


@pytest.mark.parametrize("network", [EXPLICIT, None])
def test_nobody_else_does(world, network):
    node, _ = start(world, network)
    address = HOST if network is None else OUTSIDE
    assert node.tunnel(build_ipv6(address, CORRESPONDENT, 59, b"")) is None
    inbound = build_ipv6(CORRESPONDENT, address, 59, b"")
    assert node.receive_packet(encapsulate(HA1, CARE_OF_ADDRESS, inbound), world.now) is None
    assert node.statistics["tunnel-not-from-home-address"] == 1
    assert node.statistics["tunnel-not-for-home-address"] == 1


@pytest.mark.parametrize(
    ("prefix", "inside", "outside"),
    [
        ("::/0", "ff::1", None),
        ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
        ("2001:db8::1/128", "2001:db8::1", "::"),
    ],
)
def test_the_filter_of_prefixes(prefix, inside, outside):
    of_network = PrefixFilter([IPv6Network(prefix)])
    assert IPv6Address(inside).packed in of_network
    assert outside is None or IPv6Address(outside).packed not in of_network


# Refusals


@pytest.mark.parametrize(
    ("authorised", "network", "reason"),
    [
        (None, EXPLICIT, "refused-mobile-router-operation-not-permitted"),
        ((NETWORK,), EXPLICIT, "refused-not-authorized-for-prefix"),
        ((), IMPLICIT, "refused-forwarding-setup-failed"),
    ],
)
def test_a_refused_router_does_not_insist(world, authorised, network, reason):
    node, agent = start(world, network, authorised=authorised)
    world.run(300.0)
    assert failures(world) == [reason]
    assert len(updates(agent)) == 1
    assert not node.registered


def test_a_refused_router_turns_to_each_home_agent_it_knows_once(world):
    node = world.add_node(mobile_network=EXPLICIT, home_agent_identities={HA2: "ha2.example.org"})
    agents = [world.add_home_agent(), world.add_home_agent(HA2, "ha2.example.org")]
    node.register(HA1, "ha1.example.org", world.now)
    world.run(300.0)
    reason = "refused-mobile-router-operation-not-permitted"
    assert [(event.home_agent, event.reason) for event in world.of(RegistrationFailed)] == [
        (HA1, reason),
        (HA2, reason),
    ]
    assert [len(updates(agent)) for agent in agents] == [1, 1]


def test_a_home_agent_that_ignores_the_flag_is_left_for_another(world):
    node = world.add_node(mobile_network=EXPLICIT, home_agent_identities={HA2: "ha2.example.org"})
    ignorant = world.add_home_agent(networks=(NETWORK, SECOND_NETWORK))
    able = world.add_home_agent(HA2, "ha2.example.org", networks=(NETWORK, SECOND_NETWORK))
    ignorant.status_to_answer = 0  # and no flag
    node.register(HA1, "ha1.example.org", world.now)
    world.run(60.0)
    assert failures(world) == ["mobile-routers-not-supported"]
    assert [update.lifetime_units == 0 for update in updates(ignorant)] == [False, True]
    assert (node.registered, node.home_agent) == (True, HA2)
    assert able.cache.get(HOME_ADDRESS).mobile_networks == (NETWORK, SECOND_NETWORK)
    assert len(ignorant.cache) == 0


def test_a_home_agent_that_stops_serving_routers_loses_the_binding(world):
    node, agent = start(world)
    agent.status_to_answer = 0
    world.run(500.0)
    assert not node.registered
    assert [event.reason for event in world.of(BindingLost)] == ["refused"]


def test_a_host_that_has_become_a_router_takes_the_hosts_binding_away_first(world):
    before, agent = start(world, None)
    assert not agent.cache.get(HOME_ADDRESS).mobile_router
    before.close(world.now)
    world.settle()
    node = world.add_node(mobile_network=EXPLICIT)
    node.register(HA1, "ha1.example.org", world.now)
    world.run(30.0)
    assert "refused-registration-type-change-disallowed" in failures(world)
    assert node.registered
    assert len(world.of(Registered)) == 2
    assert agent.cache.get(HOME_ADDRESS).mobile_networks == (NETWORK, SECOND_NETWORK)
