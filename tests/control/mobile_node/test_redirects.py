"""A node that its home agent sends to another one by IKEv2 (RFC 5685 section 8)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from control.mobile_node.events import IkeStarted, Registered, RegistrationFailed

HA1 = IPv6Address("2001:db8:a1::1")
HA2 = IPv6Address("2001:db8:a2::1")
IDENTITIES = {HA1: "ha1.example.org", HA2: "ha2.example.org"}
FOLLOW = {"follow_redirects": True}


def to(gateway, *, authenticated=False):
    return lambda peer, sas: gateway if (peer is not None) is authenticated else None


def begin(world, **settings):
    node = world.add_node(FOLLOW, home_agent_identities=IDENTITIES, **settings)
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    return node


@pytest.mark.parametrize("authenticated", [False, True])
def test_it_follows_and_registers_there(world, authenticated):
    first = world.add_home_agent(redirection=to(HA2, authenticated=authenticated))
    second = world.add_home_agent(HA2, "ha2.example.org")
    node = begin(world)
    assert [event.home_agent for event in world.of(Registered)] == [HA2]
    assert node.home_agent == HA2
    assert len(first.cache) == 0
    assert len(second.cache) == 1
    assert world.of(RegistrationFailed) == []
    world.run(3000)
    assert node.registered
    assert {event.home_agent for event in world.of(Registered)} == {HA2}


def test_two_that_send_it_to_each_other_are_left_alone_after_five_redirects(world):
    world.add_home_agent(redirection=to(HA2))
    world.add_home_agent(HA2, "ha2.example.org", redirection=to(HA1))
    node = begin(world)
    assert len(world.of(IkeStarted)) == 6
    assert node.statistics["redirect-loop"] == 1
    assert [event.reason for event in world.of(RegistrationFailed)] == ["redirected"]
    world.run(250)
    assert not world.of(Registered)


def test_it_returns_when_it_is_not_served_there(world):
    agent = world.add_home_agent(redirection=to(HA2))
    node = begin(world)
    agent.endpoint._environment.configuration = replace(agent.endpoint.configuration, redirection=None)
    world.run(200)
    assert node.home_agent == HA1
    assert node.registered


def test_an_untrusted_home_agent_is_not_reached_by_a_redirect(world):
    world.add_home_agent(redirection=to(HA2))
    world.add_home_agent(HA2, "ha2.elsewhere.net")
    node = begin(world)
    world.run(20)
    assert not node.registered


def test_with_a_shared_key_an_unknown_one_has_to_be_who_the_first_was(world):
    world.add_home_agent(redirection=to(HA2))
    world.add_home_agent(HA2, "ha1.example.org")
    node = world.add_node(FOLLOW)
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    assert node.home_agent == HA2
    assert node.registered


def test_in_a_session_it_stays_where_it_is(world):
    agent = world.add_home_agent()
    world.add_home_agent(HA2, "ha2.example.org")
    node = begin(world)
    (sa,) = agent.established
    assert sa.redirect(HA2, world.now)
    world.settle()
    assert node.home_agent == HA1
    assert node.registered
    assert node.statistics["redirect-ignored"] == 1


@pytest.mark.parametrize("gateway", ["ha2.example.org", IPv6Address("ff02::1"), IPv6Address("::1")])
def test_gateways_it_cannot_use_are_ignored(world, gateway):
    world.add_home_agent(redirection=to(gateway))
    node = begin(world)
    assert node.statistics["redirect-ignored"] == 1
    assert [event.reason for event in world.of(RegistrationFailed)] == ["redirected"]
