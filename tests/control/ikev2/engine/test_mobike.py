"""MOBIKE (RFC 4555): who may move an IKE SA, and what the other side wants to see before it believes it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from msgspec import structs

from control.ikev2.address import SocketAddress
from control.ikev2.events import AddressUpdated, AddressUpdateRefused, IkeClosed, PeerAddressChanged, PeerAlive
from control.ikev2.exchanges import mobike
from control.ikev2.exchanges.mobike import update_addresses
from control.ikev2.nat import NatTraversal
from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payloads import NotifyPayload
from tests.control.ikev2.engine.conftest import RawRequest

NEW = IPv6Address("2001:db8:c9::9")
NEWER = IPv6Address("2001:db8:ca::9")


@pytest.fixture(params=[NatTraversal.OFF, NatTraversal.AUTO], ids=["without NAT traversal", "with NAT traversal"])
def mobile(pair, request):
    """Both speak MOBIKE; the node begins: (pair, agent's SA, node's SA)."""
    for peer in (pair.agent, pair.node):
        peer.configure(mobike=True, nat_traversal=request.param)
        # What goes to port 4500 is for the same peer.
        pair.network.peers[peer.address._replace(port=4500)] = peer
    node, agent = pair.established(pair.node)
    return pair, agent, node


def relocate(pair, node, address):
    """The node is reached at another address only."""
    pair.network.peers = {end: peer for end, peer in pair.network.peers.items() if peer is not pair.node}
    for port in (500, 4500):
        pair.network.peers[SocketAddress(address, port)] = pair.node
    return node.local._replace(address=address)


def inform(pair, sa, *payloads):
    exchange = RawRequest(ExchangeType.INFORMATIONAL, *payloads)
    sa.exchanges.submit(exchange, pair.network.now)
    pair.network.run()
    return exchange.answer


def notified(payloads):
    return {payload.type for payload in payloads if isinstance(payload, NotifyPayload)}


def test_the_side_that_began_moves_the_ike_sa(mobile):
    pair, agent, node = mobile
    spis = (agent.local_spi, agent.remote_spi, set(agent.children))
    new = relocate(pair, node, NEW)
    update_addresses(node, pair.network.now, local=new)
    pair.network.run()
    assert (agent.remote, node.local) == (new, new)
    assert len(pair.node.events(AddressUpdated)) == 1
    (event,) = pair.agent.events(PeerAddressChanged)
    assert event.previous.address == pair.node.address.address
    assert (agent.local_spi, agent.remote_spi, set(agent.children)) == spis
    agent.probe_liveness(pair.network.now)
    pair.network.run()
    assert pair.agent.events(PeerAlive)


def test_the_initiator_goes_to_port_4500_where_nats_are_looked_for(mobile):
    pair, _, node = mobile
    looked_for = node.environment.configuration.nat_traversal is NatTraversal.AUTO
    assert {node.local.port, node.remote.port} == ({4500} if looked_for else {500})
    node.probe_liveness(pair.network.now)
    pair.network.run()
    assert pair.node.events(PeerAlive)


def test_after_rekeying_the_one_who_began_still_decides(mobile):
    pair, agent, node = mobile
    agent.rekey(pair.network.now)
    pair.network.run()
    (agent,) = [sa for sa in pair.agent.sas() if sa.is_established]
    (node,) = [sa for sa in pair.node.sas() if sa.is_established]
    assert node.mobike.decides
    assert not agent.mobike.decides
    new = relocate(pair, node, NEW)
    update_addresses(node, pair.network.now, local=new)
    pair.network.run()
    assert agent.remote == new


def test_the_other_side_cannot_decide(mobile):
    pair, agent, node = mobile
    with pytest.raises(ValueError, match="cannot move"):
        update_addresses(agent, pair.network.now, local=agent.local)
    before = node.remote
    answer = inform(pair, agent, NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES))
    assert NotifyType.UNACCEPTABLE_ADDRESSES in notified(answer)
    assert node.remote == before


@pytest.mark.parametrize("who", ["agent", "node"])
def test_one_side_that_does_not_speak_it_is_enough(pair, who):
    getattr(pair, who).configure(mobike=True)
    node, agent = pair.established(pair.node)
    assert node.mobike is None
    assert agent.mobike is None
    answer = inform(
        pair, node, NotifyPayload(NotifyType.UPDATE_SA_ADDRESSES), NotifyPayload(NotifyType.COOKIE2, data=bytes(8))
    )
    assert not notified(answer)


def test_an_address_that_policy_does_not_accept_is_refused(mobile):
    pair, agent, node = mobile
    pair.agent.endpoint._environment.configuration = replace(
        pair.agent.endpoint.configuration, accepts_address=lambda address: address != NEW
    )
    before = agent.remote
    update_addresses(node, pair.network.now, local=relocate(pair, node, NEW))
    pair.network.run()
    assert agent.remote == before
    assert [event.reason for event in pair.node.events(AddressUpdateRefused)] == ["unacceptable-addresses"]
    assert agent.is_established


def test_a_node_that_is_not_where_it_says_loses_the_ike_sa(mobile):
    """It can send from there, yet what is sent there does not reach it: it never sees the cookie."""
    pair, _, node = mobile
    pair.network.keep = lambda datagram: datagram.remote.address != NEW
    update_addresses(node, pair.network.now, local=node.local._replace(address=NEW))
    pair.network.advance(pair.network.now + 300.0)
    assert not pair.agent.events(PeerAddressChanged)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["timeout"]


def test_a_wrong_cookie_ends_the_ike_sa(mobile, monkeypatch):
    pair, _, node = mobile
    original = mobike.answer

    def forge(sa, *rest):
        answer = original(sa, *rest)
        wrong = NotifyPayload(NotifyType.COOKIE2, data=bytes(16))
        return tuple(wrong if each.type == NotifyType.COOKIE2 else each for each in answer) if sa is node else answer

    monkeypatch.setattr(mobike, "answer", forge)
    update_addresses(node, pair.network.now, local=relocate(pair, node, NEW))
    pair.network.run()
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["wrong-cookie"]
    assert not pair.agent.events(PeerAddressChanged)


def test_a_second_movement_meanwhile_is_told_as_well(mobile):
    pair, agent, node = mobile
    update_addresses(node, pair.network.now, local=relocate(pair, node, NEW))
    (request,) = pair.network.take(pair.node)
    update_addresses(node, pair.network.now, local=relocate(pair, node, NEWER))
    pair.network.deliver(request)  # the first one, from where the node is no more
    pair.network.run()
    pair.network.advance(pair.network.now + 60.0)
    assert (agent.remote.address, node.local.address) == (NEWER, NEWER)
    assert len(pair.node.events(AddressUpdated)) == 1
    assert pair.agent.events(PeerAddressChanged)
    assert agent.is_established


def test_messages_from_elsewhere_change_nothing_by_themselves(mobile):
    pair, agent, node = mobile
    before = agent.remote
    node.move(pair.network.now, local=relocate(pair, node, NEW))
    node.probe_liveness(pair.network.now)
    pair.network.run()
    assert pair.node.events(PeerAlive), "a path can be tried out that way"
    assert agent.remote == before


def test_cookies_are_returned_as_they_are(mobile):
    pair, _, node = mobile
    cookie = NotifyPayload(NotifyType.COOKIE2, data=bytes(range(64)))
    assert cookie in inform(pair, node, cookie)
    for size in (7, 65):
        assert NotifyType.COOKIE2 not in notified(
            inform(pair, node, NotifyPayload(NotifyType.COOKIE2, data=bytes(size)))
        )


def test_further_addresses_are_remembered_and_replaced(mobile):
    pair, agent, node = mobile
    first = (
        NotifyPayload(NotifyType.ADDITIONAL_IP6_ADDRESS, data=NEW.packed),
        NotifyPayload(NotifyType.ADDITIONAL_IP4_ADDRESS, data=IPv4Address("192.0.2.1").packed),
        NotifyPayload(NotifyType.ADDITIONAL_IP4_ADDRESS, data=b"\x01"),
    )
    inform(pair, node, *first)
    assert agent.mobike.peer_addresses == (NEW, IPv4Address("192.0.2.1"))
    inform(pair, node)
    assert agent.mobike.peer_addresses == (NEW, IPv4Address("192.0.2.1"))
    inform(pair, node, NotifyPayload(NotifyType.NO_ADDITIONAL_ADDRESSES))
    assert agent.mobike.peer_addresses == ()
    many = [NotifyPayload(NotifyType.ADDITIONAL_IP6_ADDRESS, data=(NEW + n).packed) for n in range(40)]
    inform(pair, node, *many)
    assert len(agent.mobike.peer_addresses) == 16


def test_a_nat_on_the_way_is_found_where_none_is_allowed(pair):
    for peer in (pair.agent, pair.node):
        peer.configure(mobike=True, nat_traversal=NatTraversal.OFF)
    node, agent = pair.established(pair.node)
    before = agent.remote
    # A NAT makes NEWER of the node's new address, and the other way round.
    pair.network.peers[SocketAddress(NEW)] = pair.network.peers.pop(pair.node.address)
    original = pair.network.deliver

    def translate(datagram):
        if datagram.local.address == NEW:
            datagram = structs.replace(datagram, local=SocketAddress(NEWER))
        elif datagram.remote.address == NEWER:
            datagram = structs.replace(datagram, remote=SocketAddress(NEW))
        original(datagram)

    pair.network.deliver = translate
    update_addresses(node, pair.network.now, local=SocketAddress(NEW))
    pair.network.run()
    assert agent.remote == before
    assert pair.agent.endpoint.statistics["mobike-unexpected-nats"] == 7
    assert [event.reason for event in pair.node.events(AddressUpdateRefused)] == ["unexpected-nat-detected"]


def test_a_nat_that_turns_up_is_noted(pair):
    for peer in (pair.agent, pair.node):
        peer.configure(mobike=True)
        pair.network.peers[peer.address._replace(port=4500)] = peer
    node, agent = pair.established(pair.node)
    assert not agent.nat.encapsulates
    for port in (500, 4500):
        pair.network.peers[SocketAddress(NEW, port)] = pair.node
    original = pair.network.deliver

    def translate(datagram):
        if datagram.local.address == NEW:
            datagram = structs.replace(datagram, local=SocketAddress(NEWER, 9999))
        elif datagram.remote.address == NEWER:
            datagram = structs.replace(datagram, remote=SocketAddress(NEW, 4500))
        original(datagram)

    pair.network.deliver = translate
    update_addresses(node, pair.network.now, local=node.local._replace(address=NEW))
    pair.network.run()
    assert agent.remote == SocketAddress(NEWER, 9999)
    assert agent.nat.remote_behind
    assert node.nat.local_behind
