"""Redirects (RFC 5685) in IKE_SA_INIT, in IKE_AUTH and in the middle of a session, from both sides."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from control.ikev2.events import IkeClosed, IkeEstablished, IkeFailed, IkeRedirected
from control.ikev2.message import Header, Message, encode_message, parse_message
from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payloads import NoncePayload, NotifyPayload
from control.ikev2.redirect import RedirectStage, parse_gateway, redirect_payload, redirected_from_payload
from control.wire import WireError

ELSEWHERE = IPv6Address("2001:db8:a9::1")


def redirecting(at):
    """Sends strangers, or the authenticated, elsewhere."""
    wanted = {"init": lambda peer: peer is None, "auth": lambda peer: peer is not None, "never": lambda peer: False}[at]
    return lambda peer, sas: ELSEWHERE if wanted(peer) else None


@pytest.fixture
def redirected(pair):
    """The node begins, the agent redirects."""

    def begin(at, follow=True, **changes):
        pair.agent.configure(redirection=redirecting(at))
        pair.node.configure(follow_redirects=follow)
        sa = pair.connect(pair.node, **changes)
        pair.network.run()
        return sa

    return begin


def told(peer):
    return [(event.gateway, event.stage) for event in peer.events(IkeRedirected)]


def test_in_ike_sa_init_with_the_nonce_and_without_any_state(pair, redirected):
    redirected("init")
    assert told(pair.node) == [(ELSEWHERE, RedirectStage.INIT)]
    assert [event.reason for event in pair.node.events(IkeFailed)] == ["redirected"]
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)
    request, answer = (parse_message(datagram.data) for datagram in pair.network.carried)
    nonce = next(payload.nonce for payload in request.payloads if isinstance(payload, NoncePayload))
    assert answer.payloads == (redirect_payload(ELSEWHERE, nonce),)
    assert not any(answer.header.responder_spi)


def test_in_ike_auth_after_both_are_authenticated(pair, redirected):
    redirected("auth")
    assert told(pair.node) == [(ELSEWHERE, RedirectStage.AUTH)]
    assert [event.reason for event in pair.node.events(IkeFailed)] == ["redirected"]
    assert len(pair.agent.events(IkeEstablished)) == 1
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["deleted-by-peer"]
    assert not any(sa.children for sa in pair.agent.sas())
    pair.network.advance(200.0)
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)


def test_a_forged_redirect_in_ike_auth_needs_the_key(pair, redirected):
    pair.agent.policy.key = b"another"
    redirected("auth")
    assert told(pair.node) == []


def test_in_a_session_the_application_decides(pair, redirected):
    sa = redirected("never")
    (other,) = pair.agent.sas()
    assert other.redirect(ELSEWHERE, pair.network.now)
    pair.network.run()
    assert told(pair.node) == [(ELSEWHERE, RedirectStage.SESSION)]
    assert pair.agent.endpoint.statistics["redirects-acknowledged"] == 1
    assert sa.is_established
    assert other.is_established


def test_in_a_session_after_rekeying(pair, redirected):
    sa = redirected("never")
    sa.rekey(pair.network.now)
    pair.network.run()
    (other,) = (each for each in pair.agent.sas() if each.is_established)
    assert other.redirect(ELSEWHERE, pair.network.now)
    pair.network.run()
    assert told(pair.node) == [(ELSEWHERE, RedirectStage.SESSION)]


@pytest.mark.parametrize("at", ["init", "auth"])
def test_who_does_not_ask_for_it_is_never_redirected(pair, redirected, at):
    sa = redirected(at, follow=False)
    assert sa.is_established
    (other,) = pair.agent.sas()
    assert not other.redirect(ELSEWHERE, pair.network.now)
    assert pair.agent.endpoint.statistics["redirects-sent"] == 0


@pytest.mark.parametrize("at", ["init", "auth"])
def test_who_was_redirected_can_be_redirected_again(pair, redirected, at):
    redirected(at, follow=True, redirected_from=ELSEWHERE)
    assert len(told(pair.node)) == 1
    request = parse_message(pair.network.carried[0].data)
    assert redirected_from_payload(ELSEWHERE) in request.payloads
    assert not any(
        isinstance(payload, NotifyPayload) and payload.type == NotifyType.REDIRECT_SUPPORTED
        for payload in request.payloads
    )


def test_the_one_that_answers_cannot_be_sent_away(pair, redirected):
    sa = redirected("never")
    assert not sa.redirect(ELSEWHERE, pair.network.now)
    assert sa.is_established


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        (lambda nonce: bytes(len(nonce)), "redirect-wrong-nonce"),
        (lambda nonce: b"", "redirect-wrong-nonce"),
        (lambda nonce: nonce[:-1], "redirect-wrong-nonce"),
    ],
)
def test_an_answer_without_the_nonce_is_ignored_and_the_right_one_still_works(pair, change, slug):
    pair.node.configure(follow_redirects=True)
    sa = pair.connect(pair.node)
    (request,) = pair.network.gather()
    nonce = next(each.nonce for each in parse_message(request.data).payloads if isinstance(each, NoncePayload))
    header = Header(sa.local_spi, bytes(8), ExchangeType.IKE_SA_INIT, False, True, 0)
    forged = encode_message(Message(header, (redirect_payload(ELSEWHERE, change(nonce)),)))
    pair.node.endpoint.receive_datagram(forged, pair.node.address, pair.agent.address, pair.network.now)
    assert told(pair.node) == []
    assert pair.node.endpoint.statistics[slug] == 1
    pair.network.deliver(request)
    pair.network.run()
    assert sa.is_established


def test_the_number_of_other_ike_sas_is_what_decides(pair):
    counted = []
    pair.agent.configure(redirection=lambda peer, sas: counted.append((peer is None, sas)))
    pair.node.configure(follow_redirects=True)
    for _ in range(2):
        pair.connect(pair.node)
        pair.network.run()
    assert counted == [(True, 0), (False, 0), (True, 1), (False, 1)]


@pytest.mark.parametrize("gateway", [ELSEWHERE, IPv4Address("192.0.2.1"), "ha9.example.org"])
def test_gateways_of_every_kind(gateway):
    payload = redirect_payload(gateway, b"nonce")
    assert parse_gateway(payload.data) == (gateway, b"nonce")
    assert parse_gateway(redirected_from_payload(gateway).data) == (gateway, b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"\x02", "truncated"),
        (b"\x02\x10" + bytes(15), "truncated"),
        (b"\x02\x04" + bytes(4), "bad-length"),
        (b"\x01\x10" + bytes(16), "bad-length"),
        (b"\x07\x01a", "unknown-gateway-type"),
        (b"\x03\x00", "bad-name"),
        (b"\x03\x02a\x00", "bad-name"),
    ],
)
def test_malformed_gateways(data, reason):
    with pytest.raises(WireError) as caught:
        parse_gateway(data)
    assert caught.value.reason == reason
