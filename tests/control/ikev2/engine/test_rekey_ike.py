"""Rekeying of IKE SAs without collisions (RFC 7296 sections 1.3.2, 2.8 and 2.18)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control.ikev2.dh import Curve25519KeyPair
from control.ikev2.events import ChildClosed, ChildEstablished, IkeClosed, IkeEstablished, IkeRekeyed
from control.ikev2.exchanges.rekey_ike import RekeyIkeExchange
from control.ikev2.numbers import ConfigurationType, DiffieHellmanGroup, ExchangeType, NotifyType, Prf
from control.ikev2.payloads import (
    ConfigurationPayload,
    KeyExchangePayload,
    NoncePayload,
    NotifyPayload,
    Proposal,
    ReceivedPayloads,
    SecurityAssociationPayload,
    Transform,
)
from control.ikev2.prf import prf, prf_plus
from control.ikev2.proposals import DEFAULT_IKE_PROPOSALS, IkeProposal
from control.ikev2.sa import NotEstablished
from control.ikev2.states import State
from control.ipsec.algorithms import EncryptionAlgorithm
from tests.control.ikev2.engine.conftest import RawRequest

X25519, P256 = DiffieHellmanGroup.CURVE25519, DiffieHellmanGroup.ECP256
GCM = ((EncryptionAlgorithm.AES_GCM_16, 128),)


def current(pair):
    """Both ends of the one established IKE SA."""
    (sa,) = pair.agent.endpoint.sas_with(pair.node.identity)
    (other,) = pair.node.endpoint.sas_with(pair.agent.identity)
    assert (sa.local_spi, sa.remote_spi) == (other.remote_spi, other.local_spi)
    return sa, other


@pytest.mark.parametrize("by_initiator", [True, False])
@pytest.mark.parametrize("connected_by_agent", [True, False])
def test_either_side_rekeys_the_ike_sa(pair, assert_match, by_initiator, connected_by_agent):
    """The new SA inherits everything; its initiator is who rekeyed, and who deletes the old one."""
    configuration = ConfigurationPayload(ConfigurationType.REPLY, ())
    opener = pair.agent if connected_by_agent else pair.node
    old, twin = pair.established(opener, configuration=configuration, context="mine")
    (child,) = old.children.values()
    side = old if by_initiator else twin
    side.rekey(pair.network.now)
    pair.network.run()
    (rekeyed,) = opener.events(IkeRekeyed)
    new = rekeyed.successor
    assert [sa for sa, event in opener.reported if event is rekeyed] == [old]
    mine, theirs = current(pair)
    assert new in (mine, theirs)
    other = theirs if new is mine else mine
    assert (new.role is other.role) is False
    assert (new.role.value == "initiator") is by_initiator
    assert {new.local_spi, new.remote_spi}.isdisjoint({old.local_spi, old.remote_spi})
    assert list(new.children.values()) == [child]
    assert_match(new, other)
    assert (new.context, new.remote_identity, new.local_identity) == ("mine", old.remote_identity, old.local_identity)
    assert (new.local, new.remote, new.suite) == (old.local, old.remote, old.suite)
    assert new.established_at == pair.network.now
    assert other.peer_configuration == configuration
    for peer in (pair.agent, pair.node):
        assert len(peer.events(IkeRekeyed)) == len(peer.events(IkeEstablished)) == 1
        assert not peer.events(IkeClosed)
        assert not peer.events(ChildClosed)
        assert peer.endpoint.statistics["ike-rekeyed"] == 1
    pair.network.advance(pair.network.now + 300)
    assert pair.agent.sas() == [mine]
    assert pair.node.sas() == [theirs]


def test_the_new_sa_counts_messages_from_zero_and_works(pair, assert_match):
    old, _ = pair.established()
    for _ in range(3):
        old.probe_liveness(pair.network.now)
        pair.network.run()
    old.rekey(pair.network.now)
    pair.network.run()
    new, other = current(pair)
    assert (new.exchanges.expected_id, new.exchanges._next_id) == (0, 0)
    for sa in (new, other, new, other):
        sa.create_child(pair.request(name="more"), pair.network.now)
        sa.rekey_child(next(iter(sa.children)), pair.network.now)
        pair.network.run()
    assert_match(new, other)
    assert len(new.children) == 5
    new.delete(pair.network.now)
    pair.network.run()
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["deleted"]
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["deleted-by-peer"]


def test_the_deletion_is_the_last_request_under_the_old_sa(pair):
    """What waited for the window goes under the new SA (section 2.8)."""
    old, twin = pair.established()
    old.rekey(pair.network.now)
    old.create_child(pair.request(name="waiting"), pair.network.now)
    twin.probe_liveness(pair.network.now)
    pair.network.run()
    sent = [
        (datagram.data[:8], datagram.data[18], datagram.data[19])
        for datagram in pair.network.carried
        if datagram.local == pair.agent.address and not datagram.data[19] & 0x20
    ]
    under_old = [exchange for spi, exchange, _ in sent if spi == old.initiator_spi]
    assert under_old[-2:] == [ExchangeType.CREATE_CHILD_SA, ExchangeType.INFORMATIONAL]
    pair.network.advance(pair.network.now + 1)
    assert len(current(pair)[0].children) == 2
    assert len(pair.agent.events(ChildEstablished)) == 2


def test_requests_waiting_at_the_responder_move_too(pair, assert_match):
    old, twin = pair.established()
    twin.probe_liveness(pair.network.now)
    twin.create_child(pair.request(name="waiting"), pair.network.now)
    (probe,) = pair.network.take(pair.node)
    old.rekey(pair.network.now)
    pair.network.run()
    pair.network.deliver(probe)
    pair.network.advance(pair.network.now + 1)
    assert_match(*current(pair))
    assert len(current(pair)[0].children) == 2


def test_keys_are_those_of_section_2_18(pair, monkeypatch):
    """SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr) with the old function, the rest with the new one."""
    for peer in (pair.agent, pair.node):
        peer.configure(ike_proposals=(IkeProposal(GCM, (), (Prf.HMAC_SHA2_512,), (X25519,)),))
    old, _ = pair.established()
    for peer in (pair.agent, pair.node):
        environment = peer.endpoint._environment
        proposals = (IkeProposal(GCM, (), (Prf.HMAC_SHA2_256,), (X25519,)),)
        environment.ike_offer = type(environment.ike_offer)(proposals)
        object.__setattr__(environment.configuration, "ike_proposals", proposals)
    secrets, nonces = [], []
    exchange = Curve25519KeyPair.exchange
    monkeypatch.setattr(
        Curve25519KeyPair, "exchange", lambda self, peer: secrets.append(exchange(self, peer)) or secrets[-1]
    )
    to_wire = NoncePayload.to_wire
    monkeypatch.setattr(NoncePayload, "to_wire", lambda self: nonces.append(self.nonce) or to_wire(self))
    old.rekey(pair.network.now)
    pair.network.run()
    new, other = current(pair)
    assert secrets[0] == secrets[1]
    seed = prf(Prf.HMAC_SHA2_512, old.sk_d, secrets[0] + nonces[0] + nonces[1])
    material = prf_plus(Prf.HMAC_SHA2_256, seed, nonces[0] + nonces[1] + new.initiator_spi + new.responder_spi, 32)
    assert new.sk_d == other.sk_d == material
    assert new.suite.prf is Prf.HMAC_SHA2_256


def test_new_keys_are_logged(pair):
    rows = []
    pair.agent.configure(key_log=lambda *row: rows.append(row))
    old, _ = pair.established()
    old.rekey(pair.network.now)
    pair.network.run()
    new, _ = current(pair)
    assert [row[:2] for row in rows] == [(sa.initiator_spi.hex(), sa.responder_spi.hex()) for sa in (old, new)]
    assert rows[0][2] != rows[1][2]


def test_rekeying_again_and_again(pair, assert_match):
    pair.established()
    for turn in range(6):
        current(pair)[turn % 2].rekey(pair.network.now)
        pair.network.run()
    assert_match(*current(pair))
    assert len(pair.agent.events(IkeRekeyed)) == 6
    pair.network.advance(pair.network.now + 300)
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (1, 1)


def test_the_group_in_use_is_tried_first_and_another_when_asked(pair):
    pair.agent.configure(ike_proposals=(IkeProposal(GCM, (), (Prf.HMAC_SHA2_256,), (X25519, P256)),))
    pair.node.configure(ike_proposals=(IkeProposal(GCM, (), (Prf.HMAC_SHA2_256,), (P256,)),))
    old, _ = pair.established()
    assert old.suite.group is P256
    old.rekey(pair.network.now)
    pair.network.run()
    new, _ = current(pair)
    assert new.suite.group is P256
    assert pair.node.endpoint.statistics["refused-invalid-ke-payload"] == 1
    # As if the peer had changed its mind since: its refusal names another group.
    new.suite = replace(new.suite, group=X25519)
    new.rekey(pair.network.now)
    pair.network.run()
    assert current(pair)[0].suite.group is P256
    assert pair.node.endpoint.statistics["refused-invalid-ke-payload"] == 2
    assert len(pair.agent.events(IkeRekeyed)) == 2


def test_a_lost_answer_is_repeated_and_nothing_is_made_twice(pair, assert_match):
    old, _ = pair.established()
    old.rekey(pair.network.now)
    lost = []
    pair.network.keep = lambda datagram: bool(lost) or datagram.local == pair.agent.address or bool(lost.append(1))
    pair.network.advance(pair.network.now + 5)
    assert lost
    assert_match(*current(pair))
    assert len(pair.node.events(IkeRekeyed)) == 1


def test_an_old_sa_that_is_never_deleted_is_forgotten(pair):
    old, twin = pair.established()
    old.rekey(pair.network.now)
    for peer in (pair.agent, pair.node):
        (datagram,) = pair.network.take(peer)
        pair.network.deliver(datagram)
    assert twin.state is State.OBSOLETE
    with pytest.raises(NotEstablished):
        twin.rekey(pair.network.now)
    pair.network.keep = lambda datagram: False
    pair.network.advance(pair.network.now + 300)
    assert len(pair.node.endpoint) == len(pair.agent.endpoint) == 1
    assert not pair.node.events(IkeClosed)
    assert not pair.agent.events(IkeClosed)


def test_a_peer_that_never_answers_ends_the_ike_sa(pair):
    old, _ = pair.established()
    pair.network.keep = lambda datagram: False
    old.rekey(pair.network.now)
    assert pair.network.gather()
    assert len(pair.agent.endpoint) == 2
    pair.network.advance(pair.network.now + 100)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["timeout"]
    assert len(pair.agent.endpoint) == 0


@pytest.mark.parametrize("how", ["abandon", "delete"])
def test_an_sa_given_up_while_rekeying_leaves_nothing_behind(pair, how):
    old, _ = pair.established()
    old.rekey(pair.network.now)
    getattr(old, how)(pair.network.now)
    if how == "abandon":
        pair.network.take(pair.agent)
        assert len(pair.agent.endpoint) == 0
        return
    pair.network.advance(pair.network.now + 300)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["deleted"]
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["deleted-by-peer"]
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)
    for peer in (pair.agent, pair.node):
        assert len(peer.events(ChildClosed)) == 1
        assert not peer.endpoint._environment.by_peer


ACCEPTABLE = (Transform(1, 20, 128), Transform(2, 5), Transform(4, 31))


def proposal(spi=b"s" * 8, *, transforms=ACCEPTABLE):
    return SecurityAssociationPayload((Proposal(1, 1, spi, transforms),))


KEY_EXCHANGE = KeyExchangePayload(X25519, Curve25519KeyPair().public)
NONCE = NoncePayload(bytes(32))


@pytest.mark.parametrize(
    ("payloads", "refusal"),
    [
        ((proposal(b""), NONCE, KEY_EXCHANGE), NotifyType.NO_PROPOSAL_CHOSEN),
        (
            (proposal(transforms=(Transform(1, 20, 128), Transform(2, 5), Transform(4, 0))), NONCE, KEY_EXCHANGE),
            NotifyType.NO_PROPOSAL_CHOSEN,
        ),
        (
            (proposal(transforms=(Transform(1, 20, 128), Transform(2, 5))), NONCE, KEY_EXCHANGE),
            NotifyType.NO_PROPOSAL_CHOSEN,
        ),
        ((proposal(), NONCE, KeyExchangePayload(P256, b"x" * 64)), NotifyType.INVALID_KE_PAYLOAD),
        ((proposal(bytes(8)), NONCE, KEY_EXCHANGE), NotifyType.INVALID_SYNTAX),
        ((proposal(), KEY_EXCHANGE), NotifyType.INVALID_SYNTAX),
        ((proposal(), NONCE), NotifyType.INVALID_SYNTAX),
        ((proposal(), NONCE, KeyExchangePayload(X25519, bytes(32))), NotifyType.INVALID_SYNTAX),
    ],
)
def test_bad_requests_make_no_new_sa(pair, payloads, refusal):
    """A key exchange is mandatory (section 2.18); what is malformed ends the old SA (section 2.21.3)."""
    sa, _ = pair.established()
    request = RawRequest(ExchangeType.CREATE_CHILD_SA, *payloads)
    sa.exchanges.submit(request, pair.network.now)
    pair.network.run()
    (notify,) = request.answer
    assert notify.type == refusal
    assert len(pair.node.endpoint) == 1
    assert not pair.node.events(IkeRekeyed)
    closed = [event.reason for event in pair.node.events(IkeClosed)]
    assert closed == (["invalid-syntax"] if refusal == NotifyType.INVALID_SYNTAX else [])


def without(kind):
    return lambda payloads: tuple(payload for payload in payloads if payload.payload_type != kind.payload_type)


@pytest.mark.parametrize(
    "change",
    [
        without(NoncePayload),
        without(KeyExchangePayload),
        without(SecurityAssociationPayload),
        lambda payloads: (proposal(bytes(8)), *payloads[1:]),
        lambda payloads: (proposal(b"s" * 8, transforms=(Transform(1, 20, 192),)), *payloads[1:]),
        lambda payloads: (*payloads[:-1], KeyExchangePayload(P256, b"x" * 64)),
        lambda payloads: (*payloads[:-1], KeyExchangePayload(X25519, bytes(32))),
    ],
)
def test_an_answer_that_gives_no_keys_ends_the_ike_sa(pair, monkeypatch, change):
    """The peer uses an SA from then on that this side has no keys of."""
    original = RekeyIkeExchange.complete

    def changed(self, sa, payloads, now):
        original(self, sa, ReceivedPayloads(change(payloads)), now)

    monkeypatch.setattr(RekeyIkeExchange, "complete", changed)
    sa, _ = pair.established()
    sa.rekey(pair.network.now)
    pair.network.run()
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["rekeying-failed"]
    assert not pair.agent.events(IkeRekeyed)
    assert len(pair.agent.endpoint) == 0


def test_a_refusal_leaves_the_old_sa_and_is_tried_again(pair, assert_match):
    pair.node.configure(ike_proposals=DEFAULT_IKE_PROPOSALS[:1])
    old, _ = pair.established()
    configuration = pair.node.endpoint._environment.configuration
    object.__setattr__(configuration, "ike_proposals", ())
    old.rekey(pair.network.now)
    pair.network.run()
    assert pair.agent.endpoint.statistics["ike-rekeying-failed-no-proposal-chosen"] == 1
    assert old.is_established
    assert len(pair.agent.endpoint) == 1
    object.__setattr__(configuration, "ike_proposals", DEFAULT_IKE_PROPOSALS)
    pair.network.advance(pair.network.now + 130)
    assert len(pair.agent.events(IkeRekeyed)) == 1
    assert_match(*current(pair))


def test_a_fatal_answer_ends_the_ike_sa(pair, monkeypatch):
    original = RekeyIkeExchange.complete
    fatal = ReceivedPayloads((NotifyPayload(NotifyType.INVALID_SYNTAX),))
    monkeypatch.setattr(RekeyIkeExchange, "complete", lambda self, sa, payloads, now: original(self, sa, fatal, now))
    sa, _ = pair.established()
    sa.rekey(pair.network.now)
    pair.network.run()
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["invalid-syntax"]
    assert len(pair.agent.endpoint) == 0


def test_requests_from_the_peer_are_good_after_initial_contact_too(pair):
    """INITIAL_CONTACT closes the successor like any other older SA."""
    old, _ = pair.established()
    old.rekey(pair.network.now)
    pair.network.run()
    pair.agent.restart()
    pair.established(initial_contact=True)
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["initial-contact"]
