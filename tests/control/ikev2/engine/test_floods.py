"""Floods of IKE_SA_INIT: what networks and the crowd of all strangers can make the responder keep and compute."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address

import pytest

from control.ikev2 import dh
from control.ikev2.address import SocketAddress
from control.ikev2.half_open import HalfOpenSas, networks_of
from control.ikev2.message import parse_message
from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payloads import NotifyPayload

ANY_SA = object()
NETWORK = int(IPv6Address("2001:db8:c1::"))


def somewhere(number: int, subnet: int = 0, site: int = 0) -> SocketAddress:
    """Address ``number`` of a /64, one of those of a /48."""
    return SocketAddress(IPv6Address(NETWORK + (site << 80) + (subnet << 64) + number))


def first_requests(pair, count):
    """Datagrams of handshakes that the agent begins with the node."""
    for _ in range(count):
        pair.connect()
    return [datagram.data for datagram in pair.network.take(pair.agent)]


def receive(pair, data, remote):
    """Give the node a datagram from anywhere; its answers."""
    pair.node.endpoint.receive_datagram(data, pair.node.address, remote, pair.network.now)
    return pair.network.take(pair.node)


def is_cookie(datagram):
    (payload, *_) = parse_message(datagram.data).payloads
    return isinstance(payload, NotifyPayload) and payload.type == NotifyType.COOKIE


@pytest.fixture
def group_operations(monkeypatch):
    """What was computed in a Diffie-Hellman group."""
    done = []
    original = dh.Curve25519KeyPair.exchange
    monkeypatch.setattr(
        dh.Curve25519KeyPair, "exchange", lambda pair, peer: done.append("exchange") or original(pair, peer)
    )
    generate = dh.generate
    monkeypatch.setattr(dh, "generate", lambda group: done.append("generate") or generate(group))
    return done


def test_under_load_a_stranger_costs_no_group_operation_before_it_returns_its_cookie(pair, group_operations):
    pair.node.configure(cookie_threshold=0)
    requests = first_requests(pair, 50)
    group_operations.clear()
    answers = [answer for number, data in enumerate(requests) for answer in receive(pair, data, somewhere(number))]
    assert len(answers) == 50
    assert all(is_cookie(answer) for answer in answers)
    assert group_operations == []
    assert len(pair.node.endpoint) == 0
    assert pair.node.endpoint.statistics["cookies-sent"] == 50


def test_a_repeated_request_costs_no_group_operation(pair, group_operations):
    (request,) = first_requests(pair, 1)
    (answer,) = receive(pair, request, somewhere(1))
    group_operations.clear()
    for _ in range(20):
        assert receive(pair, request, somewhere(1)) == [answer]
    assert group_operations == []
    assert pair.node.endpoint.statistics["responses-repeated"] == 20


def test_a_repeated_request_under_load_gets_its_own_answer_and_no_cookie(pair):
    pair.node.configure(cookie_threshold=1)
    (request,) = first_requests(pair, 1)
    (answer,) = receive(pair, request, somewhere(1))
    assert not is_cookie(answer)
    assert receive(pair, request, somewhere(1)) == [answer]


def test_the_quick_answer_is_the_one_of_the_whole_parser(pair):
    pair.node.configure(cookie_threshold=0)
    (request,) = first_requests(pair, 1)
    (quick,) = receive(pair, request, somewhere(1))
    # A minor version that nobody knows is none of the quick look's business, and does not change the cookie.
    (thorough,) = receive(pair, request[:17] + b"\x21" + request[18:], somewhere(1))
    assert quick.data == thorough.data
    assert is_cookie(quick)


@pytest.mark.parametrize("seed", range(20))
def test_the_quick_look_survives_anything(pair, seed):
    pair.node.configure(cookie_threshold=0, stranger_replies_per_s=0.0)
    (request,) = first_requests(pair, 1)
    dice = random.Random(seed)
    for _ in range(200):
        data = bytearray(request)
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(28, len(data))] = dice.randrange(256)
        del data[dice.randrange(28, 2 * len(data)) :]
        data[24:28] = len(data).to_bytes(4, "big")
        receive(pair, bytes(data), somewhere(1))
    assert len(pair.node.endpoint) == 0
    assert pair.node.endpoint.statistics["received-ike-sa-init-request"] == 200


def test_a_busy_network_is_asked_for_cookies_before_others_are(pair):
    pair.node.configure(cookie_threshold=8)
    requests = first_requests(pair, 6)
    busy = [receive(pair, data, somewhere(number)) for number, data in enumerate(requests[:5])]
    assert [is_cookie(answer) for (answer,) in busy] == [False] * 4 + [True]
    (elsewhere,) = receive(pair, requests[5], somewhere(1, site=1))
    assert not is_cookie(elsewhere)


def test_a_site_with_many_networks_is_asked_for_cookies_before_others_are(pair):
    pair.node.configure(cookie_threshold=8)
    networks = HalfOpenSas(100, 8)
    for number in range(6):
        networks.add(somewhere(1, subnet=number), b"spi", ANY_SA)
    assert not networks.needs_cookie(somewhere(1, subnet=9).address, 0.0)
    networks.add(somewhere(1, subnet=6), b"spi", ANY_SA)
    for number in range(3):
        networks.add(somewhere(number, site=number + 1), b"spi", ANY_SA)
    assert networks.needs_cookie(somewhere(1, subnet=9).address, 0.0)


def test_copies_of_one_request_from_a_busy_network_are_answered_alike_though_the_load_has_gone():
    networks = HalfOpenSas(1000, 8)
    for number in range(4):
        networks.add(somewhere(number), b"spi", ANY_SA)
    assert networks.needs_cookie(somewhere(9).address, 100.0)
    for number in range(4):
        networks.remove(somewhere(number), b"spi")
    assert networks.needs_cookie(somewhere(9).address, 109.0)
    assert not networks.needs_cookie(somewhere(9, site=3).address, 109.0)
    assert not networks.needs_cookie(somewhere(9).address, 110.0)


def test_a_network_may_fill_half_of_the_room_a_site_two_thirds_and_others_get_in():
    networks = HalfOpenSas(3000, 0)
    taken = 0
    for number in range(3000):
        if networks.has_room(somewhere(number).address):
            networks.add(somewhere(number), b"spi", ANY_SA)
            taken += 1
    assert taken == 1500
    for number in range(3000):
        if networks.has_room(somewhere(1, subnet=number + 1).address):
            networks.add(somewhere(1, subnet=number + 1), b"spi", ANY_SA)
            taken += 1
    assert taken == 2000
    assert networks.has_room(somewhere(1, site=1).address)


def test_nothing_is_remembered_of_networks_without_half_open_sas():
    networks = HalfOpenSas(10_000, 200)
    for number in range(5000):
        networks.add(somewhere(1, site=number), b"spi", ANY_SA)
        networks.remove(somewhere(1, site=number), b"spi")
        networks.remove(somewhere(1, site=number), b"spi")
    assert len(networks) == 0
    assert networks._counts == {}


def test_the_memory_of_busy_networks_is_bounded():
    networks = HalfOpenSas(1_000_000, 2)
    for site in range(500):
        networks.add(somewhere(1, site=site), b"spi", ANY_SA)
        networks.needs_cookie(somewhere(2, site=site).address, 100.0)
        networks.remove(somewhere(1, site=site), b"spi")
    assert len(networks._holds) <= 64
    assert networks.everybody_needs_a_cookie(100.0), "the 65th makes everybody return cookies"


def test_ipv4_addresses_count_for_their_24_and_16():
    lengths = [network[0] for network, _ in networks_of(IPv6Address("::ffff:192.0.2.1"))]
    assert lengths == [96 + 24, 96 + 16]
    near, far = (dict(networks_of(IPv6Address(f"::ffff:{text}"))) for text in ("192.0.2.77", "192.0.3.1"))
    here = dict(networks_of(IPv6Address("::ffff:192.0.2.1")))
    assert near == here == dict(networks_of(IPv4Address("192.0.2.200")))
    assert len(far.keys() & here.keys()) == 1


def test_thousands_of_honest_nodes_behind_one_network_get_in(pair):
    pair.node.configure(cookie_threshold=16)
    pair.network.keep = lambda datagram: datagram.data[18] != ExchangeType.IKE_AUTH
    for number in range(300):
        remote = SocketAddress(somewhere(7).address, 1024 + number)
        (request,) = first_requests(pair, 1)
        sa = pair.agent.sas()[-1]
        (answer,) = receive(pair, request, remote)
        if is_cookie(answer):
            pair.agent.endpoint.receive_datagram(answer.data, pair.agent.address, pair.node.address, pair.network.now)
            (again,) = pair.network.take(pair.agent)
            (answer,) = receive(pair, again.data, remote)
        assert not is_cookie(answer)
        assert sa.local_spi == answer.data[:8]
    assert pair.node.endpoint.half_open == 300
