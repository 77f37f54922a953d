"""Child SAs: in IKE_AUTH and CREATE_CHILD_SA, configuration payloads, refusals."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from msgspec import structs

from control.ikev2.child import ChildPolicy
from control.ikev2.events import ChildClosed, ChildEstablished, ChildFailed, IkeClosed, IkeEstablished, IkeFailed
from control.ikev2.numbers import (
    ConfigurationAttributeType,
    ConfigurationType,
    DiffieHellmanGroup,
    ExchangeType,
    NotifyType,
)
from control.ikev2.payloads import (
    ConfigurationAttribute,
    ConfigurationPayload,
    NotifyPayload,
)
from control.ikev2.policy import ConfigurationAnswer
from control.ikev2.proposals import DEFAULT_ESP_PROPOSALS, EspProposal
from control.ikev2.sa import NotEstablished
from control.ipsec.algorithms import EncryptionAlgorithm, IntegrityAlgorithm
from control.ipsec.traffic_selector import PROTOCOL_ICMPV6, TrafficSelector
from tests.control.ikev2.engine.conftest import RawRequest, match_child

HOME_AGENT = IPv6Address("2001:db8:a1::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::1001")
X25519, P256 = DiffieHellmanGroup.CURVE25519, DiffieHellmanGroup.ECP256
WITH_FORWARD_SECRECY = tuple(replace(proposal, groups=(X25519, P256)) for proposal in DEFAULT_ESP_PROPOSALS)
NULL = EspProposal(((EncryptionAlgorithm.NULL, 0),), (IntegrityAlgorithm.HMAC_SHA2_256_128,))


def reply(address="2001:db8:200::7"):
    attribute = ConfigurationAttribute.internal_ip6_address(IPv6Address(address), 64)
    return ConfigurationPayload(ConfigurationType.REPLY, (attribute,))


def children(pair):
    """The children of both sides, which have to match in pairs."""
    mine = [event.child for event in pair.agent.events(ChildEstablished)]
    theirs = [event.child for event in pair.node.events(ChildEstablished)]
    for one, other in zip(mine, theirs, strict=True):
        match_child(one, other)
    return mine


def icmp(pair):
    return pair.request(
        local_selectors=(TrafficSelector.host(HOME_AGENT, PROTOCOL_ICMPV6),),
        remote_selectors=(TrafficSelector.host(HOME_ADDRESS, PROTOCOL_ICMPV6),),
        name="prefix discovery",
    )


@pytest.mark.parametrize("by_initiator", [True, False])
def test_further_children_from_either_side(pair, by_initiator):
    sa, other = pair.established()
    (sa if by_initiator else other).create_child(icmp(pair), pair.network.now)
    pair.network.run()
    first, second = children(pair)
    assert second.initiated is by_initiator
    assert first.inbound_encryption_key != second.inbound_encryption_key
    assert list(sa.children) == [first.inbound_spi, second.inbound_spi]
    assert len(other.children) == 2


def test_requests_wait_for_the_window(pair):
    sa, _ = pair.established()
    for number in range(4):
        sa.create_child(structs.replace(icmp(pair), name=str(number)), pair.network.now)
    assert len(pair.network.gather()) == 1
    assert sa.exchanges.waiting == 3


def test_waiting_requests_follow_one_by_one(pair):
    sa, other = pair.established()
    for number in range(4):
        sa.create_child(structs.replace(icmp(pair), name=str(number)), pair.network.now)
        other.create_child(structs.replace(icmp(pair), name=f"node {number}"), pair.network.now)
    pair.network.run()
    assert len(sa.children) == len(other.children) == 9
    names = [event.child.name for event in pair.agent.events(ChildEstablished) if event.child.initiated]
    assert names == ["mobility", "0", "1", "2", "3"]


@pytest.mark.parametrize("proposal", [*DEFAULT_ESP_PROPOSALS, NULL])
def test_every_esp_algorithm_gives_keys_of_its_size(pair, proposal):
    for peer in (pair.agent, pair.node):
        peer.configure(esp_proposals=(proposal,))
    pair.established()
    (child,) = children(pair)
    assert (child.suite.encryption, child.suite.key_bits) == proposal.encryption[0]
    assert len(child.inbound_encryption_key) == child.suite.encryption_key_size
    assert len(child.outbound_integrity_key) == child.suite.integrity_key_size


def test_a_request_may_name_its_own_algorithms(pair):
    for peer in (pair.agent, pair.node):
        peer.configure(esp_proposals=(*DEFAULT_ESP_PROPOSALS, NULL))
    pair.established(first_child=pair.request(proposals=(NULL,)))
    (child,) = children(pair)
    assert child.suite.encryption is EncryptionAlgorithm.NULL


def test_forward_secrecy_mixes_a_key_exchange_into_further_children(pair):
    for peer in (pair.agent, pair.node):
        peer.configure(esp_proposals=WITH_FORWARD_SECRECY)
    sa, other = pair.established()
    sa.create_child(icmp(pair), pair.network.now)
    pair.network.run()
    assert [child.group for child in children(pair)] == [None, X25519]
    assert [child.group for child in other.children.values()] == [None, X25519]


def test_forward_secrecy_with_another_group_is_tried_again(pair):
    pair.agent.configure(esp_proposals=WITH_FORWARD_SECRECY)
    pair.node.configure(esp_proposals=tuple(replace(each, groups=(P256,)) for each in DEFAULT_ESP_PROPOSALS))
    sa, _ = pair.established()
    sa.create_child(icmp(pair), pair.network.now)
    pair.network.run()
    assert len(children(pair)) == 2
    assert not pair.agent.events(ChildFailed)
    assert len(pair.network.carried) == 8


def test_forward_secrecy_is_given_to_a_peer_that_asks_for_it(pair):
    pair.agent.configure(esp_proposals=WITH_FORWARD_SECRECY)
    sa, _ = pair.established()
    sa.create_child(icmp(pair), pair.network.now)
    pair.network.run()
    assert len(children(pair)) == 2


def test_the_responder_narrows_the_selectors(pair):
    everything = TrafficSelector(IPv6Address(0), IPv6Address(2**128 - 1))
    wanted = pair.request()
    pair.node.policy.grant = lambda sa, local, remote: ChildPolicy(
        tuple(selector.intersection(local[0]) for selector in wanted.remote_selectors), wanted.local_selectors, "mine"
    )
    pair.established(first_child=pair.request(local_selectors=(everything,), remote_selectors=(everything,)))
    (child,) = children(pair)
    assert child.local_selectors == wanted.local_selectors
    assert child.remote_selectors == wanted.remote_selectors


def test_a_responder_that_widens_the_selectors_is_not_followed(pair):
    everything = TrafficSelector(IPv6Address(0), IPv6Address(2**128 - 1))
    pair.node.policy.grant = lambda sa, local, remote: ChildPolicy((everything,), remote)
    sa = pair.connect()
    pair.network.run()
    assert sa.is_established
    assert [event.reason for event in pair.agent.events(ChildFailed)] == ["ts-unacceptable"]
    assert [event.reason for event in pair.node.events(ChildClosed)] == ["deleted-by-peer"]
    assert not sa.children
    sa.create_child(icmp(pair), pair.network.now)
    pair.network.run()
    assert [event.reason for event in pair.agent.events(ChildFailed)] == ["ts-unacceptable"] * 2
    assert len(pair.node.events(ChildClosed)) == 2


@pytest.mark.parametrize(("asked", "granted"), [(True, False), (False, True), (False, False)])
def test_without_the_consent_of_both_it_is_tunnel_mode(pair, asked, granted):
    pair.node.policy.grant = lambda sa, local, remote: ChildPolicy(local, remote, transport_mode=granted)
    pair.established(first_child=pair.request(transport_mode=asked))
    (child,) = children(pair)
    assert not child.transport_mode


def refuse(sa, local, remote):
    return None


def test_a_refused_first_child_leaves_the_ike_sa(pair):
    pair.node.policy.grant = refuse
    sa = pair.connect()
    pair.network.run()
    assert sa.is_established
    assert [event.reason for event in pair.agent.events(ChildFailed)] == ["ts-unacceptable"]
    assert [event.name for event in pair.agent.events(ChildFailed)] == ["mobility"]
    assert [event.reason for event in pair.node.events(ChildFailed)] == ["ts-unacceptable"]
    assert len(pair.node.events(IkeEstablished)) == 1
    pair.node.policy.grant = None
    sa.create_child(pair.request(), pair.network.now)
    pair.network.run()
    assert len(children(pair)) == 1


def test_a_refused_further_child_leaves_the_others(pair):
    sa, other = pair.established()
    pair.node.policy.grant = refuse
    sa.create_child(icmp(pair), pair.network.now)
    pair.network.run()
    (failure,) = pair.agent.events(ChildFailed)
    assert (failure.name, failure.reason) == ("prefix discovery", "ts-unacceptable")
    assert len(sa.children) == len(other.children) == 1


def test_without_common_esp_algorithms_only_the_child_fails(pair):
    pair.agent.configure(esp_proposals=DEFAULT_ESP_PROPOSALS[:1])
    pair.node.configure(esp_proposals=DEFAULT_ESP_PROPOSALS[1:])
    sa = pair.connect()
    pair.network.run()
    assert sa.is_established
    assert [event.reason for event in pair.agent.events(ChildFailed)] == ["no-proposal-chosen"]


def test_children_of_one_ike_sa_are_limited(pair):
    pair.node.configure(child_limit=2)
    sa, other = pair.established()
    for _ in range(3):
        sa.create_child(icmp(pair), pair.network.now)
    pair.network.run()
    assert [event.reason for event in pair.agent.events(ChildFailed)] == ["no-additional-sas"] * 2
    assert len(sa.children) == len(other.children) == 2


def test_a_request_without_nonce_is_invalid_syntax(pair):
    sa, other = pair.established()
    request = RawRequest(ExchangeType.CREATE_CHILD_SA)
    sa.exchanges.submit(request, pair.network.now)
    pair.network.run()
    assert request.answer == (NotifyPayload(NotifyType.INVALID_SYNTAX),)
    # Fatal on both sides (RFC 7296 section 2.21.3).
    assert not other.is_established
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["invalid-syntax"]


def test_an_unsolicited_reply_reaches_the_responder_and_its_policy(pair):
    seen = []
    pair.node.policy.grant = lambda sa, local, remote: (
        seen.append((sa.peer_configuration, sa.remote_identity)) or ChildPolicy(local, remote)
    )
    _, other = pair.established(configuration=reply())
    assert pair.node.events(IkeEstablished) == [IkeEstablished(pair.agent.identity, reply())]
    assert seen == [(reply(), pair.agent.identity)]
    assert other.peer_configuration.attributes[0].parse_internal_ip6_address()[0] == IPv6Address("2001:db8:200::7")
    assert pair.agent.events(IkeEstablished) == [IkeEstablished(pair.node.identity, None)]


def test_a_request_for_configuration_is_answered_by_policy(pair):
    wish = ConfigurationPayload(
        ConfigurationType.REQUEST, (ConfigurationAttribute(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS),)
    )
    pair.agent.policy.reply = ConfigurationAnswer(reply())
    pair.established(pair.node, configuration=wish)
    assert pair.agent.events(IkeEstablished) == [IkeEstablished(pair.node.identity, wish)]
    assert pair.node.events(IkeEstablished) == [IkeEstablished(pair.agent.identity, reply())]


def test_only_an_established_sa_makes_children(pair):
    sa = pair.connect()
    with pytest.raises(NotEstablished):
        sa.create_child(pair.request(), pair.network.now)
    with pytest.raises(NotEstablished):
        sa.probe_liveness(pair.network.now)


def test_secrets_do_not_show(pair):
    pair.established()
    (child,) = children(pair)
    assert child.inbound_encryption_key.hex() not in repr(child)
    assert repr(child.inbound_encryption_key) not in repr(child)
    assert not pair.agent.events(IkeFailed)
    assert not pair.agent.events(IkeClosed)
