"""IKE_AUTH with EAP (RFC 7296 section 2.16): a node with a password, a home agent with a certificate."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from control.eap.account import EapAccount
from control.eap.md5 import Md5Peer
from control.eap.mschapv2 import MsChapV2Peer
from control.eap.packet import EapType
from control.eap.peer import EapPeer
from control.eap.server import EapServer
from control.ikev2.events import ChildEstablished, ChildFailed, IkeEstablished, IkeFailed
from control.ikev2.numbers import ConfigurationAttributeType, ConfigurationType, ExchangeType
from control.ikev2.payloads import ConfigurationAttribute, ConfigurationPayload, Identity
from control.ikev2.policy import ConfigurationAnswer
from control.ikev2.states import State

NODE = "mn1@example.org"
KINDS = [EapType.MD5_CHALLENGE, EapType.MSCHAPV2]


@pytest.fixture
def eap_pair(pair, pki):
    agent, node = pair.agent, pair.node
    agent.configure(credentials=pki.credentials("ha1.example.org"), trust_anchors=(pki.root.certificate,))
    node.configure(trust_anchors=(pki.root.certificate,))
    agent.policy.key = node.policy.key = None
    serve(agent, EapType.MSCHAPV2)
    return pair


def serve(agent, kind: EapType, password: str = "secret", identity: str = NODE) -> None:
    server = EapServer("ha1.example.org", random.Random(5).randbytes)
    account = EapAccount(kind, identity, password)
    agent.policy.eap = lambda remote: server.authenticator(account) if str(remote) == NODE else None


def peer(kind: EapType, password: str = "secret", name: str = NODE) -> EapPeer:
    return EapPeer(
        name,
        {
            kind: lambda: (
                Md5Peer(password.encode(), name)
                if kind is EapType.MD5_CHALLENGE
                else MsChapV2Peer(name, password, random.Random(6).randbytes)
            )
        },
    )


def failed(side) -> list[str]:
    return [event.reason for event in side.events(IkeFailed)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_with_a_password_is_authenticated(eap_pair, assert_match, kind) -> None:
    serve(eap_pair.agent, kind)
    sa, other = eap_pair.established(eap_pair.node, eap=peer(kind))
    assert str(other.remote_identity) == NODE
    assert str(sa.remote_identity) == "ha1.example.org"
    assert len(sa.children) == 1
    assert_match(sa, other)
    assert other.handshake is None
    assert eap_pair.agent.endpoint.half_open == 0
    assert eap_pair.agent.endpoint.statistics["eap-succeeded"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_password_ends_it_on_both_sides(eap_pair, kind) -> None:
    serve(eap_pair.agent, kind)
    eap_pair.connect(eap_pair.node, eap=peer(kind, "guess"))
    eap_pair.network.run()
    assert failed(eap_pair.node) == ["authentication-failed"]
    eap_pair.network.advance(eap_pair.network.now + 120)
    assert failed(eap_pair.agent) == ["authentication-failed"]
    assert not eap_pair.agent.events(IkeEstablished)
    assert not eap_pair.agent.sas()


def test_the_name_within_eap_may_differ_from_the_ike_identity_if_the_account_says_so(eap_pair) -> None:
    serve(eap_pair.agent, EapType.MSCHAPV2, identity="someone")
    _, other = eap_pair.established(eap_pair.node, eap=peer(EapType.MSCHAPV2, name="someone"))
    assert str(other.remote_identity) == NODE
    eap_pair.connect(eap_pair.node, eap=peer(EapType.MSCHAPV2, name="somebody"))
    eap_pair.network.run()
    assert failed(eap_pair.node) == ["authentication-failed"]


def test_whoever_may_not_use_eap_gets_no_question(eap_pair) -> None:
    eap_pair.node.configure(local_identity=Identity.from_text("mn2@example.org"))
    eap_pair.connect(eap_pair.node, eap=peer(EapType.MSCHAPV2))
    eap_pair.network.run()
    assert failed(eap_pair.node) == ["authentication-failed"]
    assert eap_pair.agent.endpoint.statistics["eap-begun"] == 0


def test_a_responder_that_is_somebody_else_learns_nothing(eap_pair, pki) -> None:
    eap_pair.agent.configure(credentials=pki.credentials("ha9.example.org"))
    eap_pair.connect(eap_pair.node, eap=peer(EapType.MSCHAPV2))
    eap_pair.network.run()
    assert failed(eap_pair.node) == ["authentication-failed"]
    assert eap_pair.agent.endpoint.statistics["eap-begun"] == 1
    assert failed(eap_pair.agent) == ["given-up-by-peer"]


@pytest.mark.parametrize("lost", range(1, 11))
def test_every_message_may_be_lost_and_is_repeated_from_memory(eap_pair, assert_match, lost) -> None:
    count = 0

    def keep(datagram) -> bool:
        nonlocal count
        count += 1
        return count != lost

    eap_pair.network.keep = keep
    sa = eap_pair.connect(eap_pair.node, eap=peer(EapType.MSCHAPV2))
    eap_pair.network.advance(eap_pair.network.now + 5)
    assert sa.is_established
    [other] = [each for each in eap_pair.agent.sas() if each.is_established]
    assert_match(sa, other)
    assert eap_pair.agent.endpoint.statistics["eap-begun"] == 1


def test_every_message_may_come_twice(eap_pair) -> None:
    network = eap_pair.network
    original = network.deliver
    network.deliver = lambda datagram: (original(datagram), original(datagram))
    sa = eap_pair.connect(eap_pair.node, eap=peer(EapType.MSCHAPV2))
    network.run()
    assert sa.is_established
    assert len(eap_pair.agent.events(IkeEstablished)) == 1


def test_a_node_that_falls_silent_in_between_is_forgotten(eap_pair) -> None:
    eap_pair.network.keep = lambda datagram: len(eap_pair.network.carried) < 6
    eap_pair.connect(eap_pair.node, eap=peer(EapType.MSCHAPV2))
    eap_pair.network.run()
    assert eap_pair.agent.endpoint.half_open == 1
    assert [sa.state for sa in eap_pair.agent.sas()] == [State.HALF_OPEN]
    eap_pair.network.advance(eap_pair.network.now + 300)
    assert failed(eap_pair.agent) == ["timeout"]
    assert eap_pair.agent.endpoint.half_open == 0


def test_an_attacker_in_between_without_the_key_is_found_out(eap_pair) -> None:
    """MS-CHAP-V2 carried elsewhere succeeds there, but the AUTH that follows is bound to this IKE SA's key."""
    proving = peer(EapType.MSCHAPV2)
    original = proving.receive
    proving.receive = lambda packet: (
        replace(result, msk=bytes(64)) if not isinstance(result := original(packet), bytes) else result
    )
    eap_pair.connect(eap_pair.node, eap=proving)
    eap_pair.network.run()
    assert eap_pair.agent.endpoint.statistics["authentication-wrong-shared-key"] == 1
    assert not eap_pair.agent.events(IkeEstablished)
    assert failed(eap_pair.node) == ["authentication-failed"]


def test_wishes_of_the_first_request_are_granted_at_the_end(eap_pair) -> None:
    address = ConfigurationAttribute(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS)
    reply = ConfigurationPayload(ConfigurationType.REPLY, (address,))
    eap_pair.agent.policy.reply = ConfigurationAnswer(reply)
    request = ConfigurationPayload(ConfigurationType.REQUEST, (address,))
    sa, other = eap_pair.established(eap_pair.node, eap=peer(EapType.MSCHAPV2), configuration=request)
    assert (sa.peer_configuration, other.peer_configuration) == (reply, request)
    assert len(eap_pair.node.events(ChildEstablished)) == 1


def test_a_refused_child_leaves_the_ike_sa(eap_pair) -> None:
    eap_pair.agent.policy.grant = lambda *arguments: None
    sa, _ = eap_pair.established(eap_pair.node, eap=peer(EapType.MSCHAPV2))
    assert [event.reason for event in eap_pair.node.events(ChildFailed)] == ["ts-unacceptable"]
    assert not sa.children


def test_many_half_open_conversations_are_bounded(eap_pair) -> None:
    eap_pair.agent.configure(half_open_limit=3)
    eap_pair.network.keep = lambda datagram: (
        datagram.remote != eap_pair.node.address or datagram.data[18] != ExchangeType.IKE_AUTH
    )
    for _ in range(6):
        eap_pair.connect(eap_pair.node, eap=peer(EapType.MSCHAPV2))
    eap_pair.network.run()
    assert 0 < eap_pair.agent.endpoint.half_open < 6
    assert eap_pair.agent.endpoint.statistics["eap-begun"] == eap_pair.agent.endpoint.half_open


def test_a_node_that_also_has_a_shared_key_still_demands_a_certificate_by_eap(eap_pair) -> None:
    eap_pair.node.policy.key = b"for home agents that come to the node"
    _, other = eap_pair.established(eap_pair.node, eap=peer(EapType.MSCHAPV2))
    assert str(other.remote_identity) == NODE
