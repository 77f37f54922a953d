"""Peers that hold the keys and still do not keep to the protocol."""

from __future__ import annotations

import pytest

from control.ikev2 import reception
from control.ikev2.events import ChildClosed, ChildEstablished, ChildFailed, IkeClosed, IkeEstablished, IkeFailed
from control.ikev2.exchanges.auth import AuthExchange
from control.ikev2.exchanges.create_child import CreateChildExchange
from control.ikev2.message import encrypted_prefix
from control.ikev2.numbers import AuthenticationMethod, DiffieHellmanGroup, ExchangeType, NotifyType
from control.ikev2.payloads import (
    AuthenticationPayload,
    DeletePayload,
    IdentificationInitiator,
    IdentificationResponder,
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    SecurityAssociationPayload,
    TrafficSelectorInitiator,
    TrafficSelectorResponder,
    UnknownPayload,
)
from control.ikev2.proposals import EspProposal
from control.ikev2.states import State
from control.ipsec.algorithms import EncryptionAlgorithm


def altered(monkeypatch, exchange, change):
    """Change what the initiator sends in an exchange."""
    original = exchange.build
    monkeypatch.setattr(exchange, "build", lambda self, sa, now: change(original(self, sa, now)))


def answered(monkeypatch, state, exchange, change):
    """Change what the responder answers in an exchange."""
    original = reception._ANSWERS[state, exchange]
    monkeypatch.setitem(
        reception._ANSWERS, (state, exchange), lambda sa, payloads, now: change(original(sa, payloads, now))
    )


def type_of(payload):
    return payload[0] if isinstance(payload, tuple) else payload.payload_type


def without(*kinds):
    types = {kind.payload_type for kind in kinds}
    return lambda payloads: tuple(payload for payload in payloads if type_of(payload) not in types)


def replaced(substitute):
    return lambda payloads: tuple(
        substitute if type_of(payload) == substitute.payload_type else payload for payload in payloads
    )


def with_forward_secrecy(pair):
    gcm = ((EncryptionAlgorithm.AES_GCM_16, 128),)
    for peer in (pair.agent, pair.node):
        peer.configure(esp_proposals=(EspProposal(gcm, groups=(DiffieHellmanGroup.CURVE25519,)),))
    return pair.established()


def ends_clean(pair):
    pair.network.advance(pair.network.now + 100)
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)


@pytest.mark.parametrize("kind", [IdentificationInitiator, AuthenticationPayload])
def test_ike_auth_without_identity_or_proof_fails(pair, monkeypatch, kind):
    altered(monkeypatch, AuthExchange, without(kind))
    pair.connect()
    pair.network.run()
    assert [event.reason for event in pair.agent.events(IkeFailed)] == ["authentication-failed"]
    assert [event.reason for event in pair.node.events(IkeFailed)] == ["authentication-failed"]
    ends_clean(pair)


@pytest.mark.parametrize("kind", [IdentificationResponder, AuthenticationPayload])
def test_an_answer_without_identity_or_proof_fails_and_the_responder_is_told(pair, monkeypatch, kind):
    answered(monkeypatch, State.HALF_OPEN, ExchangeType.IKE_AUTH, without(kind))
    pair.connect()
    pair.network.run()
    assert [event.reason for event in pair.agent.events(IkeFailed)] == ["authentication-failed"]
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["authentication-failed"]
    assert not pair.agent.events(IkeClosed)
    ends_clean(pair)


def test_an_unknown_authentication_method_fails(pair, monkeypatch):
    altered(monkeypatch, AuthExchange, replaced(AuthenticationPayload(AuthenticationMethod.DSS, b"proof")))
    pair.connect()
    pair.network.run()
    assert pair.node.endpoint.statistics["authentication-wrong-method"] == 1
    ends_clean(pair)


def test_a_critical_unknown_payload_in_ike_auth_ends_the_attempt(pair, monkeypatch):
    altered(monkeypatch, AuthExchange, lambda payloads: (*payloads, UnknownPayload(99, True, b"?")))
    pair.connect()
    pair.network.run()
    assert [event.reason for event in pair.agent.events(IkeFailed)] == ["unsupported-critical-payload"]
    assert not pair.node.events(IkeEstablished)
    assert len(pair.node.events(IkeFailed)) == 1
    ends_clean(pair)


def test_an_unknown_payload_that_is_not_critical_is_skipped(pair, monkeypatch):
    altered(monkeypatch, AuthExchange, lambda payloads: (UnknownPayload(99, False, b"?"), *payloads))
    pair.established()


def test_an_ike_sa_without_a_first_child_is_accepted(pair, monkeypatch):
    altered(
        monkeypatch,
        AuthExchange,
        without(SecurityAssociationPayload, TrafficSelectorInitiator, TrafficSelectorResponder),
    )
    sa = pair.connect()
    pair.network.run()
    assert sa.is_established
    assert len(pair.node.events(IkeEstablished)) == 1
    assert not pair.node.events(ChildEstablished)
    assert not pair.node.events(ChildFailed)


def authentic_garbage(sa, exchange, is_response):
    prefix = encrypted_prefix(sa.header(exchange, 1, is_response=is_response), 41, sa.cipher.body_size(3))
    return prefix + sa.cipher.seal(b"\0\0\0", prefix)


def up_to_keys(pair):
    """Run IKE_SA_INIT only; returns both ends and the IKE_AUTH request."""
    sa = pair.connect()
    for _ in range(2):
        for datagram in pair.network.gather():
            pair.network.deliver(datagram)
    (other,) = pair.node.sas()
    (request,) = pair.network.gather()
    return sa, other, request


def test_a_malformed_ike_auth_request_is_invalid_syntax(pair):
    sa, other, _ = up_to_keys(pair)
    data = authentic_garbage(sa, ExchangeType.IKE_AUTH, is_response=False)
    pair.node.endpoint.receive_datagram(data, pair.node.address, pair.agent.address, pair.network.now)
    assert other.state is State.LINGERING
    pair.network.run()
    assert [event.reason for event in pair.agent.events(IkeFailed)] == ["invalid-syntax"]
    assert [event.reason for event in pair.node.events(IkeFailed)] == ["invalid-syntax"]
    ends_clean(pair)


def test_a_malformed_ike_auth_answer_fails(pair):
    _, other, _ = up_to_keys(pair)
    data = authentic_garbage(other, ExchangeType.IKE_AUTH, is_response=True)
    pair.agent.endpoint.receive_datagram(data, pair.agent.address, pair.node.address, pair.network.now)
    assert pair.agent.events(IkeFailed)[0].reason == "invalid-syntax"
    ends_clean(pair)


def test_a_malformed_answer_to_a_deletion_is_as_good_as_any(pair):
    sa, other = pair.established()
    sa.delete(pair.network.now)
    pair.network.gather()
    prefix = encrypted_prefix(
        other.header(ExchangeType.INFORMATIONAL, 2, is_response=True), 41, other.cipher.body_size(3)
    )
    data = prefix + other.cipher.seal(b"\0\0\0", prefix)
    pair.agent.endpoint.receive_datagram(data, pair.agent.address, pair.node.address, pair.network.now)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["deleted"]
    assert len(pair.agent.endpoint) == 0


def test_other_exchanges_have_to_wait_for_ike_auth(pair):
    sa, other, request = up_to_keys(pair)
    (data,) = sa.protect(sa.header(ExchangeType.INFORMATIONAL, 1, is_response=False), (DeletePayload(1),))
    pair.node.endpoint.receive_datagram(data, pair.node.address, pair.agent.address, pair.network.now)
    assert other.state is State.HALF_OPEN
    assert pair.node.endpoint.statistics["dropped-unexpected-request"] == 1
    (data,) = other.protect(other.header(ExchangeType.INFORMATIONAL, 0, is_response=False), (DeletePayload(1),))
    pair.agent.endpoint.receive_datagram(data, pair.agent.address, pair.node.address, pair.network.now)
    assert sa.state is State.AUTH_SENT
    pair.network.deliver(request)
    pair.network.run()
    assert sa.is_established


@pytest.mark.parametrize("in_auth", [True, False])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without(SecurityAssociationPayload), "no-proposal-chosen"),
        (without(TrafficSelectorInitiator), "ts-unacceptable"),
        (without(TrafficSelectorResponder), "ts-unacceptable"),
        (replaced(TrafficSelectorInitiator(())), "ts-unacceptable"),
        (replaced(TrafficSelectorResponder(())), "ts-unacceptable"),
    ],
)
def test_incomplete_answers_about_a_child_fail_it_and_take_it_back(pair, monkeypatch, in_auth, change, reason):
    place = (State.HALF_OPEN, ExchangeType.IKE_AUTH) if in_auth else (State.ESTABLISHED, ExchangeType.CREATE_CHILD_SA)
    answered(monkeypatch, *place, change)
    sa = pair.connect()
    pair.network.run()
    sa.create_child(pair.request(name="second"), pair.network.now)
    pair.network.run()
    assert sa.is_established
    assert [event.reason for event in pair.agent.events(ChildFailed)] == [reason]
    assert [event.reason for event in pair.node.events(ChildClosed)] == ["deleted-by-peer"]
    (other,) = pair.node.sas()
    assert len(sa.children) == len(other.children) == 1


@pytest.mark.parametrize("in_auth", [True, False])
@pytest.mark.parametrize("empty", [TrafficSelectorInitiator(()), TrafficSelectorResponder(())])
def test_a_request_for_no_traffic_is_refused_and_the_ike_sa_stays(pair, monkeypatch, in_auth, empty):
    altered(monkeypatch, AuthExchange if in_auth else CreateChildExchange, replaced(empty))
    sa = pair.connect()
    pair.network.run()
    sa.create_child(pair.request(name="second"), pair.network.now)
    pair.network.run()
    (other,) = pair.node.sas()
    assert (sa.is_established, other.is_established) == (True, True)
    assert [event.reason for event in pair.agent.events(ChildFailed)] == ["ts-unacceptable"]
    assert [event.reason for event in pair.node.events(ChildFailed)] == ["ts-unacceptable"]
    assert len(sa.children) == len(other.children) == 1


@pytest.mark.parametrize(
    ("change", "reason", "is_fatal"),
    [
        (without(KeyExchangePayload), "invalid-ke-payload", False),
        (replaced(KeyExchangePayload(DiffieHellmanGroup.ECP256, b"x" * 64)), "invalid-ke-payload", False),
        (replaced(KeyExchangePayload(DiffieHellmanGroup.CURVE25519, bytes(32))), "invalid-syntax", True),
    ],
)
def test_a_wrong_key_exchange_in_a_request_is_refused(pair, monkeypatch, change, reason, is_fatal):
    sa, other = with_forward_secrecy(pair)
    altered(monkeypatch, CreateChildExchange, change)
    sa.create_child(pair.request(name="second"), pair.network.now)
    pair.network.run()
    assert (sa.is_established, other.is_established) == (not is_fatal, not is_fatal)
    failed = pair.agent.events(IkeClosed if is_fatal else ChildFailed)
    assert [event.reason for event in failed] == [reason]
    assert len(pair.node.events(ChildEstablished)) == 1


@pytest.mark.parametrize(
    "change",
    [
        without(KeyExchangePayload),
        replaced(KeyExchangePayload(DiffieHellmanGroup.ECP256, b"x" * 64)),
        replaced(KeyExchangePayload(DiffieHellmanGroup.CURVE25519, bytes(32))),
    ],
)
def test_a_wrong_key_exchange_in_an_answer_fails_the_child_and_takes_it_back(pair, monkeypatch, change):
    sa, other = with_forward_secrecy(pair)
    answered(monkeypatch, State.ESTABLISHED, ExchangeType.CREATE_CHILD_SA, change)
    sa.create_child(pair.request(name="second"), pair.network.now)
    pair.network.run()
    assert len(pair.agent.events(ChildFailed)) == 1
    assert len(pair.node.events(ChildClosed)) == 1
    assert len(sa.children) == len(other.children) == 1
    assert sa.is_established


def test_an_answer_without_nonce_fails_the_child(pair, monkeypatch):
    answered(monkeypatch, State.ESTABLISHED, ExchangeType.CREATE_CHILD_SA, without(NoncePayload))
    sa, _ = pair.established()
    sa.create_child(pair.request(name="second"), pair.network.now)
    pair.network.run()
    assert [event.reason for event in pair.agent.events(ChildFailed)] == ["invalid-syntax"]
    assert len(sa.children) == 1
    assert len(pair.node.events(ChildClosed)) == 1


def test_an_invalid_ke_payload_that_names_nothing_offered_fails_the_child(pair, monkeypatch):
    answered(
        monkeypatch,
        State.ESTABLISHED,
        ExchangeType.CREATE_CHILD_SA,
        lambda payloads: (NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, data=b"?"),),
    )
    sa, _ = pair.established()
    sa.create_child(pair.request(name="second"), pair.network.now)
    pair.network.run()
    assert [event.reason for event in pair.agent.events(ChildFailed)] == ["invalid-ke-payload"]


def test_an_error_nobody_knows_has_a_name_too(pair, monkeypatch):
    answered(monkeypatch, State.ESTABLISHED, ExchangeType.CREATE_CHILD_SA, lambda payloads: (NotifyPayload(9999),))
    sa, _ = pair.established()
    sa.create_child(pair.request(name="second"), pair.network.now)
    pair.network.run()
    assert [event.reason for event in pair.agent.events(ChildFailed)] == ["error-9999"]


def test_message_identifiers_never_wrap(pair):
    sa, _ = pair.established()
    sa.exchanges._next_id = 0xFFFFFFFF
    sa.probe_liveness(pair.network.now)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["timeout"]
    assert len(pair.agent.endpoint) == 0


def test_messages_of_one_side_are_not_taken_for_the_others(pair):
    """A message sent back to its sender names an SPI that the sender knows, but in the wrong place."""
    sa, _ = pair.established()
    sa.probe_liveness(pair.network.now)
    (request,) = pair.network.gather()
    pair.agent.endpoint.receive_datagram(request.data, pair.agent.address, pair.node.address, pair.network.now)
    assert pair.agent.endpoint.statistics["dropped-unknown-spi"] == 1
    wrong_peer = bytes(8) + request.data[8:]
    pair.node.endpoint.receive_datagram(wrong_peer, pair.node.address, pair.agent.address, pair.network.now)
    assert pair.node.endpoint.statistics["dropped-unknown-spi"] == 1
