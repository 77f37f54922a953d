"""IKE_SA_INIT: cookies, groups, refusals and what strangers cannot make the responder keep."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from msgspec import structs

from control.ikev2.address import SocketAddress
from control.ikev2.cookies import CookieJar
from control.ikev2.events import IkeFailed
from control.ikev2.message import Header, Message, encode_message, parse_message
from control.ikev2.numbers import DiffieHellmanGroup, ExchangeType, NotifyType
from control.ikev2.payloads import KeyExchangePayload, NoncePayload, NotifyPayload, UnknownPayload
from control.ikev2.proposals import DEFAULT_IKE_PROPOSALS

X25519, P256, P384 = DiffieHellmanGroup.CURVE25519, DiffieHellmanGroup.ECP256, DiffieHellmanGroup.ECP384


def with_groups(*groups):
    return tuple(replace(proposal, groups=groups) for proposal in DEFAULT_IKE_PROPOSALS)


def notifications(datagram):
    return [payload for payload in parse_message(datagram.data).payloads if isinstance(payload, NotifyPayload)]


@pytest.mark.parametrize("group", [X25519, P256, P384])
def test_every_group_works(pair, group):
    pair.agent.configure(ike_proposals=with_groups(group))
    sa, other = pair.established()
    assert sa.suite == other.suite
    assert sa.suite.group is group
    assert len(pair.network.carried) == 4


@pytest.mark.parametrize("proposal", range(2))
@pytest.mark.parametrize("encryption", range(2))
@pytest.mark.parametrize("prf", range(3))
def test_every_algorithm_works(pair, proposal, encryption, prf):
    wide = DEFAULT_IKE_PROPOSALS[proposal]
    narrow = replace(
        wide,
        encryption=wide.encryption[encryption : encryption + 1],
        prfs=wide.prfs[prf : prf + 1],
        integrity=wide.integrity[prf : prf + 1],
    )
    pair.agent.configure(ike_proposals=(narrow,))
    sa, other = pair.established()
    assert sa.suite == other.suite
    assert (sa.suite.cipher.encryption, sa.suite.cipher.key_bits) == narrow.encryption[0]
    assert sa.suite.prf is narrow.prfs[0]


def test_the_responder_takes_its_own_preference(pair):
    pair.node.configure(ike_proposals=tuple(reversed(DEFAULT_IKE_PROPOSALS)))
    sa, _ = pair.established()
    assert str(sa.suite) == "AES_CBC-128/HMAC_SHA2_256_128/HMAC_SHA2_256/CURVE25519"


def test_the_group_at_hand_is_taken_before_a_preferred_one(pair):
    pair.agent.configure(ike_proposals=with_groups(P384, X25519))
    sa, _ = pair.established()
    assert sa.suite.group is P384
    assert len(pair.network.carried) == 4


@pytest.mark.parametrize("agent_begins", [True, False])
def test_another_group_is_tried_when_the_responder_asks_for_it(pair, agent_begins):
    initiator, responder = (pair.agent, pair.node) if agent_begins else (pair.node, pair.agent)
    initiator.configure(ike_proposals=with_groups(X25519, P256))
    responder.configure(ike_proposals=with_groups(P256))
    sa, _ = pair.established(initiator)
    assert sa.suite.group is P256
    assert len(pair.network.carried) == 6
    assert notifications(pair.network.carried[1]) == [NotifyPayload.invalid_ke_payload(P256)]
    assert len(responder.endpoint) == 1


def test_cookies_are_asked_for_above_the_threshold_only(pair):
    pair.node.configure(cookie_threshold=1)
    pair.network.keep = lambda datagram: datagram.data[18] != ExchangeType.IKE_AUTH
    first = pair.connect()
    pair.network.run()
    assert pair.node.endpoint.half_open == 1
    assert pair.node.endpoint.statistics["cookies-sent"] == 0
    second = pair.connect()
    pair.network.run()
    assert pair.node.endpoint.half_open == 2
    assert pair.node.endpoint.statistics["cookies-sent"] == 1
    assert pair.node.endpoint.statistics["cookies-accepted"] == 1
    pair.network.keep = lambda datagram: True
    pair.network.advance(110)
    assert first.is_established
    assert second.is_established
    assert pair.node.endpoint.half_open == 0


def test_copies_of_one_request_are_answered_alike_though_the_load_has_gone(pair):
    pair.node.configure(cookie_threshold=1, half_open_lifetime_s=1.0)
    pair.network.keep = lambda datagram: datagram.data[18] != ExchangeType.IKE_AUTH
    pair.connect()
    pair.network.run()
    pair.network.keep = lambda datagram: True
    sa = pair.connect()
    (request,) = [datagram for datagram in pair.network.gather() if datagram.data[:8] == sa.local_spi]
    pair.network.deliver(request)
    pair.network.now = 102.0
    pair.node.endpoint.handle_timer(102.0)
    assert pair.node.endpoint.half_open == 0
    pair.network.deliver(request)
    assert [notifications(reply)[0].type for reply in pair.network.gather()] == [NotifyType.COOKIE] * 2
    pair.network.now = 113.0
    pair.network.deliver(request)
    assert pair.node.endpoint.half_open == 1


def test_a_responder_asking_for_a_cookie_keeps_nothing(pair):
    pair.node.configure(cookie_threshold=0)
    pair.connect()
    (request,) = pair.network.gather()
    pair.network.deliver(request)
    assert len(pair.node.endpoint) == 0
    (reply,) = pair.network.gather()
    (cookie,) = notifications(reply)
    assert cookie.type == NotifyType.COOKIE
    pair.network.deliver(reply)
    (again,) = pair.network.gather()
    assert parse_message(again.data).payloads == (cookie, *parse_message(request.data).payloads)
    pair.network.deliver(again)
    assert len(pair.node.endpoint) == 1


def test_cookie_and_group_together_take_one_extra_round_trip_each(pair):
    pair.node.configure(cookie_threshold=0, ike_proposals=with_groups(P256))
    pair.established()
    assert len(pair.network.carried) == 8
    assert notifications(pair.network.carried[4])[0].type == NotifyType.COOKIE


def test_cookies_are_good_for_one_address_spi_and_nonce_and_not_for_long():
    jar = CookieJar(lambda size: bytes(range(size)), lifetime_s=10)
    remote, spi = SocketAddress(IPv6Address("2001:db8::1")), b"s" * 8
    cookie = jar.bake(b"nonce", remote, spi, 100)
    assert jar.check(cookie, b"nonce", remote, spi, 100)
    assert not jar.check(cookie, b"another", remote, spi, 100)
    assert not jar.check(cookie, b"nonce", SocketAddress(remote.address, 501), spi, 100)
    assert not jar.check(cookie, b"nonce", SocketAddress(IPv6Address("2001:db8::2")), spi, 100)
    assert not jar.check(cookie, b"nonce", remote, b"t" * 8, 100)
    assert not jar.check(b"", b"nonce", remote, spi, 100)
    assert not jar.check(cookie[:-1], b"nonce", remote, spi, 100)
    assert jar.check(cookie, b"nonce", remote, spi, 111)
    assert not jar.check(cookie, b"nonce", remote, spi, 121)


def test_after_long_silence_an_old_cookie_is_worthless():
    jar = CookieJar(lambda size: bytes(range(size)), lifetime_s=10)
    remote = SocketAddress(IPv6Address("2001:db8::1"))
    cookie = jar.bake(b"nonce", remote, b"s" * 8, 100)
    assert not jar.check(cookie, b"nonce", remote, b"s" * 8, 1000)


def test_no_common_algorithm_is_reported_after_the_initiator_has_tried_again(pair):
    pair.agent.configure(ike_proposals=DEFAULT_IKE_PROPOSALS[:1])
    pair.node.configure(ike_proposals=DEFAULT_IKE_PROPOSALS[1:])
    pair.connect()
    pair.network.run()
    assert notifications(pair.network.carried[1])[0].type == NotifyType.NO_PROPOSAL_CHOSEN
    # The refusal is not authentic: a right answer might still come (RFC 7296 section 2.21.1).
    assert not pair.agent.events(IkeFailed)
    pair.network.advance(110)
    assert [event.reason for event in pair.agent.events(IkeFailed)] == ["no-proposal-chosen"]
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)


def test_a_forged_refusal_does_no_harm(pair):
    sa = pair.connect()
    (request,) = pair.network.gather()
    header = Header(sa.local_spi, bytes(8), ExchangeType.IKE_SA_INIT, False, True, 0)
    forged = Message(header, (NotifyPayload(NotifyType.NO_PROPOSAL_CHOSEN),))
    pair.agent.endpoint.receive_datagram(encode_message(forged), pair.agent.address, pair.node.address, 100.0)
    pair.network.deliver(request)
    pair.network.run()
    assert sa.is_established


def test_an_answer_with_a_suite_that_was_not_offered_is_ignored(pair):
    sa = pair.connect()
    (request,) = pair.network.gather()
    pair.network.deliver(request)
    (good,) = pair.network.gather()
    message = parse_message(good.data)
    (offer, *others) = message.payloads
    (proposal,) = offer.proposals
    transforms = (proposal.transforms[0]._replace(key_bits=192), *proposal.transforms[1:])
    bad = structs.replace(offer, proposals=(structs.replace(proposal, transforms=transforms),))
    data = encode_message(Message(message.header, (bad, *others)))
    pair.agent.endpoint.receive_datagram(data, pair.agent.address, pair.node.address, 100.0)
    pair.network.deliver(good)
    pair.network.run()
    assert sa.is_established


def test_a_repeated_request_gets_the_same_answer_and_makes_no_second_sa(pair):
    pair.connect()
    (request,) = pair.network.gather()
    pair.network.deliver(request)
    pair.network.deliver(request)
    first, second = pair.network.gather()
    assert first == second
    assert len(pair.node.endpoint) == 1
    assert pair.node.endpoint.statistics["responses-repeated"] == 1


def test_half_open_sas_are_limited_and_expire(pair):
    pair.node.configure(half_open_limit=5, half_open_lifetime_s=20.0)
    pair.network.keep = lambda datagram: datagram.data[18] != ExchangeType.IKE_AUTH
    for _ in range(5):
        pair.connect()
    pair.network.run()
    assert pair.node.endpoint.half_open == 3
    assert pair.node.endpoint.statistics["dropped-half-open-limit"] == 2
    pair.node.endpoint.handle_timer(119.9)
    assert pair.node.endpoint.half_open == 3
    pair.node.endpoint.handle_timer(120.0)
    assert (pair.node.endpoint.half_open, len(pair.node.endpoint)) == (0, 0)
    assert pair.node.endpoint.statistics["half-open-expired"] == 3


def test_a_failed_stranger_goes_on_counting_as_half_open_while_it_lingers(pair):
    pair.node.configure(half_open_limit=1)
    pair.node.policy.key = b"another"
    pair.connect()
    pair.network.run()
    assert pair.node.endpoint.half_open == 1
    pair.network.advance(111)
    assert (pair.node.endpoint.half_open, len(pair.node.endpoint)) == (0, 0)


def first_request(pair, *payloads, **header):
    """The bytes of an IKE_SA_INIT request with other payloads or header fields."""
    pair.connect()
    (datagram,) = pair.network.gather()
    message = parse_message(datagram.data)
    return encode_message(Message(structs.replace(message.header, **header), payloads or message.payloads))


def feed(pair, data):
    pair.node.endpoint.receive_datagram(data, pair.node.address, pair.agent.address, pair.network.now)
    return pair.node.endpoint.datagrams_to_send()


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_incomplete_requests_are_dropped(pair, missing):
    complete = parse_message(first_request(pair)).payloads
    data = first_request(pair, *(payload for index, payload in enumerate(complete) if index != missing))
    assert feed(pair, data) == []
    assert len(pair.node.endpoint) == 0


def test_a_request_with_a_bad_public_value_is_dropped(pair):
    complete = parse_message(first_request(pair)).payloads
    bad = [
        KeyExchangePayload(X25519, bytes(32)) if isinstance(payload, KeyExchangePayload) else payload
        for payload in complete
    ]
    assert feed(pair, first_request(pair, *bad)) == []
    assert len(pair.node.endpoint) == 0
    assert pair.node.endpoint.statistics["dropped-invalid-public-value"] == 1


@pytest.mark.parametrize(
    "header",
    [{"message_id": 1}, {"responder_spi": b"r" * 8}, {"is_initiator": False}],
)
def test_requests_that_do_not_begin_anything_are_dropped(pair, header):
    assert feed(pair, first_request(pair, **header)) == []
    assert len(pair.node.endpoint) == 0


def test_an_unknown_critical_payload_is_answered_in_the_clear(pair):
    complete = parse_message(first_request(pair)).payloads
    (reply,) = feed(pair, first_request(pair, UnknownPayload(200, True, b"x"), *complete))
    assert notifications(reply) == [NotifyPayload(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, data=b"\xc8")]
    assert len(pair.node.endpoint) == 0
    assert len(feed(pair, first_request(pair, UnknownPayload(200, False, b"x"), *complete))) == 1
    assert len(pair.node.endpoint) == 1


def test_a_higher_major_version_is_told_ours(pair):
    data = bytearray(first_request(pair))
    data[17] = 0x30
    (reply,) = feed(pair, bytes(data))
    assert notifications(reply) == [NotifyPayload(NotifyType.INVALID_MAJOR_VERSION)]
    header = parse_message(reply.data).header
    assert (header.initiator_spi, header.is_response) == (bytes(data[:8]), True)
    data[17] = 0x10
    assert feed(pair, bytes(data)) == []
    data[17], data[19] = 0x30, data[19] | 0x20
    assert feed(pair, bytes(data)) == []


def test_requests_for_forgotten_sas_are_told_so_at_a_limited_rate(pair):
    pair.node.configure(stranger_replies_per_s=5.0)
    header = Header(b"i" * 8, b"r" * 8, ExchangeType.INFORMATIONAL, True, False, 7)
    data = encode_message(Message(header, (NoncePayload(bytes(16)),)))
    replies = [reply for _ in range(20) for reply in feed(pair, data)]
    assert len(replies) == 5
    answered = parse_message(replies[0].data)
    assert answered.payloads == (NotifyPayload(NotifyType.INVALID_IKE_SPI),)
    assert answered.header == structs.replace(header, is_response=True, is_initiator=False)
    pair.network.now += 0.5
    assert sum(len(feed(pair, data)) for _ in range(20)) == 2
    response = encode_message(Message(structs.replace(header, is_response=True), ()))
    pair.network.now += 10
    assert feed(pair, response) == []


def test_cookie_replies_of_a_confused_responder_do_not_go_on_for_ever(pair):
    sa = pair.connect()
    pair.network.gather()
    sent = 0
    for number in range(40):
        header = Header(sa.local_spi, bytes(8), ExchangeType.IKE_SA_INIT, False, True, 0)
        cookie = Message(header, (NotifyPayload(NotifyType.COOKIE, data=bytes((number,)) * 16),))
        pair.agent.endpoint.receive_datagram(
            encode_message(cookie), pair.agent.address, pair.node.address, pair.network.now
        )
        sent += len(pair.network.gather())
    assert sent == 6


@pytest.mark.parametrize(
    "notify",
    [
        NotifyPayload.invalid_ke_payload(DiffieHellmanGroup.MODP2048),
        NotifyPayload.invalid_ke_payload(X25519),
        NotifyPayload(NotifyType.INVALID_KE_PAYLOAD, data=b"x"),
        NotifyPayload(NotifyType.COOKIE),
        NotifyPayload(NotifyType.COOKIE, data=bytes(65)),
        NotifyPayload(NotifyType.SET_WINDOW_SIZE, data=bytes(4)),
    ],
)
def test_useless_answers_are_ignored(pair, notify):
    sa = pair.connect()
    (request,) = pair.network.gather()
    header = Header(sa.local_spi, bytes(8), ExchangeType.IKE_SA_INIT, False, True, 0)
    data = encode_message(Message(header, (notify,)))
    pair.agent.endpoint.receive_datagram(data, pair.agent.address, pair.node.address, pair.network.now)
    assert pair.network.gather() == []
    pair.network.deliver(request)
    pair.network.run()
    assert sa.is_established


def test_an_unsupported_group_in_the_configuration_is_refused(pair):
    with pytest.raises(ValueError, match="CURVE448"):
        pair.agent.configure(ike_proposals=with_groups(DiffieHellmanGroup.CURVE448))
