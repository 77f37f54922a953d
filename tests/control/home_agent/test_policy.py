"""What a home agent lets an authenticated node negotiate (RFC 4877 section 4)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from types import SimpleNamespace

import pytest

from control.eap.account import EapAccount
from control.eap.packet import EapType
from control.eap.server import EapServer
from control.home_agent.directory import AuthorisedNode, NodeDirectory
from control.home_agent.policy import HomeAgentPolicy
from control.ikev2.numbers import ConfigurationAttributeType, ConfigurationType, NotifyType
from control.ikev2.payloads import ConfigurationAttribute, ConfigurationPayload, Identity
from control.ipsec.traffic_selector import PROTOCOL_ICMPV6, PROTOCOL_MOBILITY, TrafficSelector

AGENT = IPv6Address("2001:db8:a1::1")
HOME = IPv6Address("2001:db8:100::11")
OTHER_HOME = IPv6Address("2001:db8:100::12")
MN1, MN2, ROAMER, POOLED, STRANGER = (
    Identity.from_text(f"{name}@example.org") for name in ("mn1", "mn2", "roamer", "pooled", "stranger")
)
ADDRESS, NAME_SERVERS, HOME_PREFIX = (
    ConfigurationAttribute(kind)
    for kind in (
        ConfigurationAttributeType.INTERNAL_IP6_ADDRESS,
        ConfigurationAttributeType.INTERNAL_IP6_DNS,
        ConfigurationAttributeType.MIP6_HOME_PREFIX,
    )
)
TCP = 6


@pytest.fixture
def nodes():
    nodes = [
        AuthorisedNode("mn1@example.org", HOME, b"secret"),
        AuthorisedNode("mn2@example.org", OTHER_HOME),
        AuthorisedNode("roamer@example.org", IPv6Address("2001:db8:999::1"), b"other"),
        AuthorisedNode("pooled@example.org", None, b"another"),
    ]
    return nodes


@pytest.fixture
def make_policy(nodes):
    def make(prefix="2001:db8:100::/64", **options):
        directory = NodeDirectory(nodes, [IPv6Network(prefix)], [AGENT], **options)
        name_servers = (IPv6Address("2001:db8::53"), IPv6Address("2001:db8::54"))
        return HomeAgentPolicy(AGENT, directory, name_servers, EapServer("ha1.example.org", bytes))

    return make


@pytest.fixture
def policy(make_policy):
    return make_policy()


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


def ask(policy, identity, *attributes):
    return policy.configuration_reply(sa_of(identity), ConfigurationPayload(ConfigurationType.REQUEST, attributes))


def given(answer):
    return answer.reply.first(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS).parse_internal_ip6_address()


def wish_for(address):
    return ConfigurationAttribute.internal_ip6_address(IPv6Address(address), 64)


def test_a_request_for_an_address_is_answered_with_the_one_the_node_has(policy):
    answer = ask(policy, MN1, ADDRESS)
    assert answer.reply.type is ConfigurationType.REPLY
    assert answer.reply.attributes == (ConfigurationAttribute.internal_ip6_address(HOME, 64),)
    assert answer.notify is None


def test_the_address_of_the_nodes_file_wins_over_a_wish(policy):
    assert given(ask(policy, MN1, wish_for("2001:db8:100::7:7"))) == (HOME, 64)


@pytest.mark.parametrize("who", [ROAMER, POOLED])
def test_a_node_without_an_address_here_gets_one_of_the_pool_and_keeps_it(policy, who):
    first = ask(policy, who, ADDRESS)
    assert first == ask(policy, who, ADDRESS)
    assert given(first)[0] not in (HOME, OTHER_HOME, AGENT)


def test_what_was_assigned_may_be_negotiated(policy):
    address, _ = given(ask(policy, POOLED, ADDRESS))
    everything = TrafficSelector(IPv6Address(0), IPv6Address(2**128 - 1))
    granted = select(policy, POOLED, everything, everything)
    assert granted.remote_selectors == (TrafficSelector.host(address, PROTOCOL_MOBILITY),)


def test_a_wish_is_honoured_while_the_address_is_free(policy):
    wish = "2001:db8:100::7:7"
    assert given(ask(policy, POOLED, wish_for(wish)))[0] == IPv6Address(wish)
    assert given(ask(policy, ROAMER, wish_for(wish)))[0] != IPv6Address(wish)


@pytest.mark.parametrize(
    "wish",
    [
        "2001:db8:100::11",
        "2001:db8:100::",
        "2001:db8:999::5:5",
        "2001:db8:100::5",
        "2001:db8:100:0:fdff:ffff:ffff:fffe",
    ],
    ids=["another node's", "routers'", "elsewhere", "numbered by hand", "home agents'"],
)
def test_other_wishes_are_not(policy, wish):
    assert given(ask(policy, POOLED, wish_for(wish)))[0] == IPv6Address("2001:db8:100::1:0")


def test_a_wish_that_makes_no_sense_is_none(policy):
    broken = ConfigurationAttribute(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS, b"\x20\x01")
    assert given(ask(policy, POOLED, broken))[0] == IPv6Address("2001:db8:100::1:0")


def test_only_the_part_of_the_prefix_that_is_this_agents_is_given_out(make_policy):
    policy = make_policy(pools=[IPv6Network("2001:db8:100:0:1::/126")])
    assert given(ask(policy, POOLED, wish_for("2001:db8:100::7:7"))) == (IPv6Address("2001:db8:100:0:1::"), 64)


def test_name_servers_are_told_to_who_asks(policy):
    answer = ask(policy, MN1, NAME_SERVERS)
    assert [attribute.value for attribute in answer.reply.attributes] == [
        IPv6Address("2001:db8::53").packed,
        IPv6Address("2001:db8::54").packed,
    ]


def test_without_an_address_left_the_node_is_told_so(make_policy, nodes):
    policy = make_policy("2001:db8:100::10/126")  # with the addresses of mn1 and mn2 and a subnet-router's
    assert given(ask(policy, ROAMER, ADDRESS))[0] == IPv6Address("2001:db8:100::13")
    answer = ask(policy, POOLED, ADDRESS)
    assert (answer.reply, answer.notify) == (None, NotifyType.INTERNAL_ADDRESS_FAILURE)


def test_a_node_that_may_not_choose_is_told_to_use_the_assigned_address(policy):
    answer = ask(policy, MN1, HOME_PREFIX)
    assert answer.notify is NotifyType.USE_ASSIGNED_HOA
    assert given(answer) == (HOME, 64)


def test_a_node_that_may_choose_is_told_the_prefix_and_gets_what_it_chose(make_policy):
    policy = make_policy(autoconfiguration=True)
    answer = ask(policy, POOLED, HOME_PREFIX)
    assert answer.notify is None
    [attribute] = answer.reply.attributes
    prefix, lifetime = attribute.parse_mip6_home_prefix()
    assert (prefix, lifetime) == (IPv6Network("2001:db8:100::/64"), 2592000)
    chosen = TrafficSelector.host(IPv6Address("2001:db8:100::5"), PROTOCOL_MOBILITY)
    local = TrafficSelector.host(AGENT, PROTOCOL_MOBILITY)
    assert select(policy, POOLED, local, chosen).remote_selectors == (chosen,)
    assert select(policy, ROAMER, local, chosen) is None
    assert ask(policy, POOLED, HOME_PREFIX).notify is NotifyType.USE_ASSIGNED_HOA


def test_a_node_may_not_choose_without_permission(policy):
    chosen = TrafficSelector.host(IPv6Address("2001:db8:100::7:7"), PROTOCOL_MOBILITY)
    assert select(policy, POOLED, TrafficSelector.host(AGENT, PROTOCOL_MOBILITY), chosen) is None


def test_a_request_for_something_else_is_not_answered(policy):
    assert ask(policy, MN1, ConfigurationAttribute(ConfigurationAttributeType.APPLICATION_VERSION)) is None


def test_a_node_with_a_password_begins_by_eap_and_is_called_by_its_shared_key(nodes, make_policy):
    local = Identity.from_text("ha1.example.org")
    account = EapAccount(EapType.MSCHAPV2, "mn1", "secret")
    nodes[0] = AuthorisedNode("mn1@example.org", HOME, b"key", account)
    nodes[1] = AuthorisedNode("mn2@example.org", OTHER_HOME, None, account)
    nodes[2] = AuthorisedNode("roamer@example.org", None, None, EapAccount(EapType.TLS, "roamer@example.org"))
    nodes[3] = AuthorisedNode("pooled@example.org", None, None, EapAccount(EapType.TLS, "other@example.org"))
    policy = make_policy()
    assert [policy.accept_peer(node, as_initiator=False) for node in (MN1, MN2)] == [False, False]
    assert [policy.accept_peer(node, as_initiator=True) for node in (ROAMER, POOLED)] == [True, False]
    assert [policy.accept_peer(node, as_initiator=True) for node in (MN1, MN2)] == [True, False]
    assert policy.shared_key(local, MN1) == b"key"
    assert policy.eap_authenticator(MN1) is not None
    assert policy.eap_authenticator(ROAMER) is None
