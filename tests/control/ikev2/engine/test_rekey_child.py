"""Rekeying of child SAs without collisions (RFC 7296 sections 1.3.3 and 2.8)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control.ikev2.events import ChildClosed, ChildEstablished, ChildFailed, IkeClosed
from control.ikev2.exchanges.rekey_child import RekeyChildExchange
from control.ikev2.numbers import DiffieHellmanGroup, ExchangeType, NotifyType
from control.ikev2.payloads import NoncePayload, NotifyPayload, ReceivedPayloads
from control.ikev2.proposals import DEFAULT_ESP_PROPOSALS
from tests.control.ikev2.engine.conftest import RawRequest

X25519, P256 = DiffieHellmanGroup.CURVE25519, DiffieHellmanGroup.ECP256
WITH_FORWARD_SECRECY = tuple(replace(proposal, groups=(X25519, P256)) for proposal in DEFAULT_ESP_PROPOSALS)


def only_child(sa):
    (child,) = sa.children.values()
    return child


def closings(peer):
    return [(event.child.inbound_spi, event.reason) for event in peer.events(ChildClosed)]


@pytest.mark.parametrize("by_initiator", [True, False])
def test_either_side_rekeys_a_child(pair, assert_match, by_initiator):
    sa, other = pair.established()
    old, twin = only_child(sa), only_child(other)
    (sa if by_initiator else other).rekey_child(old if by_initiator else twin, pair.network.now)
    pair.network.run()
    new = only_child(sa)
    assert_match(sa, other)
    assert new.inbound_spi != old.inbound_spi
    assert new.inbound_encryption_key != old.inbound_encryption_key
    assert (new.local_selectors, new.remote_selectors) == (old.local_selectors, old.remote_selectors)
    assert (new.name, new.suite, new.transport_mode) == (old.name, old.suite, old.transport_mode)
    assert new.initiated is by_initiator
    assert pair.agent.events(ChildEstablished)[1] == ChildEstablished(new, replaces=old)
    assert pair.node.events(ChildEstablished)[1] == ChildEstablished(only_child(other), replaces=twin)
    assert closings(pair.agent) == [(old.inbound_spi, "rekeyed")]
    assert closings(pair.node) == [(twin.inbound_spi, "rekeyed")]
    for peer in (pair.agent, pair.node):
        assert peer.endpoint.statistics["child-rekeyed"] == 1


def test_the_old_child_receives_until_the_peer_has_confirmed_its_end(pair):
    """Make before break.

    initiator                                responder
    CREATE_CHILD_SA N(REKEY_SA) -->
                                             has both children, sends under the old one
                                <--          CREATE_CHILD_SA
    has both, sends under the new one
    INFORMATIONAL D(old)        -->
                                             has the new one only
                                <--          INFORMATIONAL D(old)
    has the new one only
    """
    sa, other = pair.established()
    old = only_child(sa)
    sa.rekey_child(old, pair.network.now)
    counts = []
    for _ in range(4):
        for datagram in pair.network.gather():
            pair.network.deliver(datagram)
        counts.append((len(sa.children), len(other.children)))
    assert counts == [(1, 2), (2, 2), (2, 1), (1, 1)]


def test_a_rekeyed_child_can_be_rekeyed_again_by_the_other_side(pair, assert_match):
    sa, other = pair.established()
    for turn in range(4):
        side = (sa, other)[turn % 2]
        side.rekey_child(only_child(side), pair.network.now)
        pair.network.run()
        assert_match(sa, other)
    assert [child.child.initiated for child in pair.agent.events(ChildEstablished)] == [True, True, False, True, False]
    assert len(closings(pair.agent)) == len(closings(pair.node)) == 4


@pytest.mark.parametrize("by_initiator", [True, False])
def test_a_tunnel_mode_child_stays_one(pair, by_initiator):
    sa, other = pair.established(first_child=pair.request(transport_mode=False))
    side = sa if by_initiator else other
    side.rekey_child(only_child(side), pair.network.now)
    pair.network.run()
    assert not only_child(sa).transport_mode
    assert not only_child(other).transport_mode


def test_with_forward_secrecy_rekeying_exchanges_keys(pair, assert_match):
    for peer in (pair.agent, pair.node):
        peer.configure(esp_proposals=WITH_FORWARD_SECRECY)
    sa, other = pair.established()
    assert only_child(sa).group is None
    sa.rekey_child(only_child(sa), pair.network.now)
    pair.network.run()
    assert only_child(sa).group is X25519
    assert_match(sa, other)


def test_a_child_with_forward_secrecy_keeps_its_group(pair, assert_match):
    """The peer asked for it; this side, which does not by itself, goes on with it."""
    pair.agent.configure(esp_proposals=tuple(replace(each, groups=(P256,)) for each in DEFAULT_ESP_PROPOSALS))
    sa, other = pair.established()
    sa.rekey_child(only_child(sa), pair.network.now)
    pair.network.run()
    other.rekey_child(only_child(other), pair.network.now)
    pair.network.run()
    assert only_child(other).group is P256
    assert_match(sa, other)


def test_rekeying_with_another_group_is_tried_again(pair, assert_match):
    pair.agent.configure(esp_proposals=WITH_FORWARD_SECRECY)
    pair.node.configure(esp_proposals=tuple(replace(each, groups=(P256,)) for each in DEFAULT_ESP_PROPOSALS))
    sa, other = pair.established()
    sa.rekey_child(only_child(sa), pair.network.now)
    pair.network.run()
    assert only_child(sa).group is P256
    assert_match(sa, other)


def test_the_limit_of_children_leaves_room_for_rekeying(pair, assert_match):
    pair.node.configure(child_limit=1)
    sa, other = pair.established()
    sa.rekey_child(only_child(sa), pair.network.now)
    pair.network.run()
    assert_match(sa, other)
    assert len(closings(pair.agent)) == 1


def test_rekeying_what_is_gone_or_replaced_does_nothing(pair):
    sa, _ = pair.established()
    old = only_child(sa)
    sa.rekey_child(0xDEAD, pair.network.now)
    sa.rekey_child(old, pair.network.now)
    sa.rekey_child(old, pair.network.now)
    pair.network.run()
    assert len(pair.agent.events(ChildEstablished)) == 2
    sa.rekey_child(old, pair.network.now)
    pair.network.run()
    assert len(pair.agent.events(ChildEstablished)) == 2


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_child_that_does_not_exist_is_not_found(pair, protocol):
    """The SPI is that of the REKEY_SA notification (section 2.25)."""
    sa, other = pair.established()
    request = RawRequest(
        ExchangeType.CREATE_CHILD_SA, NotifyPayload(NotifyType.REKEY_SA, protocol, b"spi!"), NoncePayload(bytes(32))
    )
    sa.exchanges.submit(request, pair.network.now)
    pair.network.run()
    assert request.answer == (NotifyPayload(NotifyType.CHILD_SA_NOT_FOUND, protocol, b"spi!"),)
    assert other.is_established
    assert len(other.children) == 1


def test_what_the_peer_does_not_have_is_made_anew(pair, assert_match):
    """The peer has lost the child without a word: it goes silently, and a new one is asked for (section 2.25)."""
    sa, other = pair.established()
    old = only_child(sa)
    other.remove_child(only_child(other).inbound_spi, "lost")
    sa.rekey_child(old, pair.network.now)
    pair.network.run()
    assert closings(pair.agent) == [(old.inbound_spi, "unknown-to-peer")]
    assert_match(sa, other)
    assert pair.agent.events(ChildEstablished)[1].replaces is None
    assert only_child(sa).name == old.name


def test_a_policy_that_has_changed_refuses_rekeying_and_the_old_child_stays(pair, assert_match):
    sa, other = pair.established()
    pair.node.policy.grant = lambda sa, local, remote: None
    sa.rekey_child(only_child(sa), pair.network.now)
    pair.network.run()
    assert_match(sa, other)
    assert not closings(pair.agent)
    assert not pair.agent.events(ChildFailed)
    assert pair.agent.endpoint.statistics["child-rekeying-failed-ts-unacceptable"] == 1


def test_an_answer_that_cannot_be_accepted_is_taken_back_and_the_old_child_stays(pair, monkeypatch, assert_match):
    sa, other = pair.established()
    original = RekeyChildExchange.complete
    monkeypatch.setattr(
        RekeyChildExchange,
        "complete",
        lambda self, sa, payloads, now: original(
            self, sa, ReceivedPayloads(each for each in payloads if not isinstance(each, NoncePayload)), now
        ),
    )
    old = only_child(sa)
    sa.rekey_child(old, pair.network.now)
    pair.network.run()
    assert_match(sa, other)
    assert only_child(sa) is old
    assert len(closings(pair.node)) == 1
    assert pair.agent.endpoint.statistics["child-rekeying-failed-invalid-syntax"] == 1
    monkeypatch.undo()
    # What was taken back does not stand in the way of a new attempt.
    sa.rekey_child(old, pair.network.now)
    pair.network.run()
    assert_match(sa, other)
    assert only_child(sa) is not old


def test_a_peer_that_never_answers_ends_the_ike_sa(pair):
    sa, _ = pair.established()
    pair.network.keep = lambda datagram: False
    sa.rekey_child(only_child(sa), pair.network.now)
    pair.network.advance(pair.network.now + 100)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["timeout"]
    assert [reason for _, reason in closings(pair.agent)] == ["ike-closed"]


def test_closing_the_ike_sa_while_rekeying_closes_everything(pair):
    sa, _ = pair.established()
    sa.rekey_child(only_child(sa), pair.network.now)
    (request,) = pair.network.gather()
    sa.delete(pair.network.now)
    pair.network.deliver(request)
    pair.network.run()
    assert len(pair.agent.events(ChildEstablished)) == len(pair.agent.events(ChildClosed)) == 1
    assert len(pair.node.events(ChildEstablished)) == len(pair.node.events(ChildClosed)) == 2
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["deleted"]
