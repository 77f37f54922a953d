"""What a home agent lets an authenticated node negotiate (RFC 4877 section 4)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from types import SimpleNamespace

import pytest

from control.home_agent.directory import AuthorisedNode, NodeDirectory
from control.home_agent.policy import HomeAgentPolicy
from control.ikev2.numbers import ConfigurationType
from control.ikev2.payloads import ConfigurationAttribute, ConfigurationPayload, Identity
from control.ipsec.traffic_selector import PROTOCOL_ICMPV6, PROTOCOL_MOBILITY, TrafficSelector

AGENT = IPv6Address("2001:db8:a1::1")
HOME = IPv6Address("2001:db8:100::11")
OTHER_HOME = IPv6Address("2001:db8:100::12")
MN1, MN2, ROAMER, STRANGER = (
    Identity.from_text(f"{name}@example.org") for name in ("mn1", "mn2", "roamer", "stranger")
)
TCP = 6


@pytest.fixture
def policy():
    nodes = [
        AuthorisedNode("mn1@example.org", HOME, b"secret"),
        AuthorisedNode("mn2@example.org", OTHER_HOME),
        AuthorisedNode("roamer@example.org", IPv6Address("2001:db8:999::1"), b"other"),
    ]
    return HomeAgentPolicy(AGENT, NodeDirectory(nodes, [IPv6Network("2001:db8:100::/64")]))


def sa_of(identity):
    return SimpleNamespace(remote_identity=identity)


def select(policy, identity, local, remote):
    return policy.select_child(sa_of(identity), (local,), (remote,))


def test_only_authorised_nodes_are_peers(policy):
    assert policy.accept_peer(MN1, as_initiator=False)
    assert not policy.accept_peer(STRANGER, as_initiator=False)


def test_a_node_has_its_own_key_or_none(policy):
    local = Identity.from_text("ha1.example.org")
    assert policy.shared_key(local, MN1) == b"secret"
    assert policy.shared_key(local, MN2) is None
    assert policy.shared_key(local, STRANGER) is None


@pytest.mark.parametrize("protocol", [PROTOCOL_MOBILITY, PROTOCOL_ICMPV6])
def test_signalling_of_the_own_home_address_is_granted(policy, protocol):
    local, remote = TrafficSelector.host(AGENT, protocol), TrafficSelector.host(HOME, protocol)
    granted = select(policy, MN1, local, remote)
    assert (granted.local_selectors, granted.remote_selectors) == ((local,), (remote,))


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        (TrafficSelector.host(AGENT, PROTOCOL_MOBILITY), TrafficSelector.host(OTHER_HOME, PROTOCOL_MOBILITY)),
        (TrafficSelector.host(AGENT, TCP), TrafficSelector.host(HOME, TCP)),
        (TrafficSelector.host(OTHER_HOME, PROTOCOL_MOBILITY), TrafficSelector.host(HOME, PROTOCOL_MOBILITY)),
    ],
    ids=["another node's home address", "another protocol", "not the home agent"],
)
def test_everything_else_is_refused(policy, local, remote):
    assert select(policy, MN1, local, remote) is None


def test_a_wide_proposal_is_narrowed(policy):
    everything = TrafficSelector(IPv6Address(0), IPv6Address(2**128 - 1))
    granted = select(policy, MN1, everything, everything)
    assert granted.local_selectors == (TrafficSelector.host(AGENT, PROTOCOL_MOBILITY),)
    assert granted.remote_selectors == (TrafficSelector.host(HOME, PROTOCOL_MOBILITY),)


def test_a_node_without_a_home_address_here_gets_no_child(policy):
    local, remote = (TrafficSelector.host(address, PROTOCOL_MOBILITY) for address in (AGENT, HOME))
    assert select(policy, ROAMER, local, remote) is None


def test_a_request_for_an_address_is_answered_with_the_one_the_node_has(policy):
    request = ConfigurationPayload(ConfigurationType.REQUEST, (ConfigurationAttribute(8, b""),))
    reply = policy.configuration_reply(sa_of(MN1), request)
    assert reply.type is ConfigurationType.REPLY
    assert reply.attributes == (ConfigurationAttribute.internal_ip6_address(HOME, 64),)


def test_a_node_from_elsewhere_gets_an_address_of_the_pool_and_keeps_it(policy):
    request = ConfigurationPayload(ConfigurationType.REQUEST, (ConfigurationAttribute(8, b""),))
    first = policy.configuration_reply(sa_of(ROAMER), request)
    assert first == policy.configuration_reply(sa_of(ROAMER), request)
    assert first.attributes[0].parse_internal_ip6_address()[0] not in (HOME, OTHER_HOME)


def test_a_request_for_something_else_is_not_answered(policy):
    request = ConfigurationPayload(ConfigurationType.REQUEST, (ConfigurationAttribute(10, b""),))
    assert policy.configuration_reply(sa_of(MN1), request) is None
