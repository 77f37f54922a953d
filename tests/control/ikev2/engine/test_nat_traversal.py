"""NAT detection, port 4500, keepalives and peers whose NAT changes its mind (RFC 7296 section 2.23)."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from control.ikev2.address import IKE_PORT, NAT_TRAVERSAL_PORT, Datagram, SocketAddress
from control.ikev2.events import ChildEstablished, IkeClosed, IkeRekeyed, PeerAddressChanged
from control.ikev2.message import parse_message
from control.ikev2.nat import NatDetection, NatTraversal, address_hash
from control.ikev2.numbers import NotifyType
from control.ikev2.payloads import NotifyPayload
from control.ipsec.udp_encapsulation import KEEPALIVE, UdpEncapsulation

OUTSIDE = {6: "2001:db8:e1::%d", 4: "203.0.113.%d"}
ELSEWHERE = SocketAddress(IPv6Address("2001:db8:bad::1"), 6666)
DETECTION = (NotifyType.NAT_DETECTION_SOURCE_IP, NotifyType.NAT_DETECTION_DESTINATION_IP)


@dataclass
class Nat:
    """Hides one peer: its ends of flows become ports of an outside address, which ``reboot`` changes."""

    network: object
    peer: object
    outside: dict = field(default_factory=dict)
    boots: int = 0

    def __post_init__(self) -> None:
        self.reboot()
        self.network.deliver = self.deliver

    def reboot(self) -> None:
        self.outside = {}
        self.boots += 1

    def deliver(self, datagram: Datagram) -> None:
        hidden = self.peer.address.address
        if datagram.local.address == hidden:
            address = ip_address(OUTSIDE[hidden.version] % self.boots)
            mapped = SocketAddress(address, 20_000 + len(self.outside))
            local = self.outside.setdefault((datagram.local, datagram.remote), mapped)
            self.hand_over(replace(datagram, local=local))
        else:
            for (inside, far), outside in self.outside.items():
                if (outside, far) == (datagram.remote, datagram.local):
                    self.hand_over(replace(datagram, remote=inside))

    def hand_over(self, datagram: Datagram) -> None:
        if datagram.data != KEEPALIVE:  # the socket keeps those to itself
            receiver = self.network.peers[datagram.remote._replace(port=IKE_PORT)]
            receiver.endpoint.receive_datagram(datagram.data, datagram.remote, datagram.local, self.network.now)


def over_ipv4(pair) -> None:
    for peer, text in ((pair.agent, "192.0.2.1"), (pair.node, "198.51.100.7")):
        peer.address = SocketAddress(IPv4Address(text))
    pair.network.peers = {peer.address: peer for peer in (pair.agent, pair.node)}


def ports(pair) -> list[int]:
    return [datagram.remote.port for datagram in pair.network.carried]


spis = st.binary(min_size=8, max_size=8)
ends = st.builds(SocketAddress, st.ip_addresses(), st.integers(0, 65535))


@given(spis, spis, ends)
def test_the_hash_is_sha1_over_spis_address_and_port(initiator, responder, end):
    said = hashlib.sha1(initiator + responder + end.address.packed + end.port.to_bytes(2, "big"))
    assert address_hash(initiator + responder, end) == said.digest()


@given(spis, ends, ends)
def test_other_ends_have_other_hashes(spi, one, other):
    assert (address_hash(spi + bytes(8), one) == address_hash(spi + bytes(8), other)) == (one == other)


@pytest.mark.parametrize("version", [4, 6])
def test_without_a_nat_both_sides_find_none_and_stay_on_port_500(pair, version):
    if version == 4:
        over_ipv4(pair)
    sa, other = pair.established()
    assert sa.nat == other.nat == NatDetection(local_behind=False, remote_behind=False)
    assert set(ports(pair)) == {IKE_PORT}
    assert all(child.encapsulation is None for each in (sa, other) for child in each.children.values())
    pair.network.advance(10_000.0)
    assert not pair.agent.endpoint.statistics["nat-keepalives-sent"]


def test_the_notifications_stand_behind_the_nonce_in_request_and_answer(pair):
    pair.established()
    for datagram in pair.network.carried[:2]:
        payloads = parse_message(datagram.data).payloads
        position = next(index for index, each in enumerate(payloads) if type(each).__name__ == "NoncePayload")
        assert tuple(each.type for each in payloads[position + 1 : position + 3]) == DETECTION


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("hidden_begins", [True, False])
def test_a_nat_in_front_of_one_side(pair, version, hidden_begins):
    """Where the hidden side answers, the NAT has a mapping for it, as for a server behind it."""
    if version == 4:
        over_ipv4(pair)
    hidden, open_ = (pair.node, pair.agent) if hidden_begins else (pair.agent, pair.node)
    nat = Nat(pair.network, hidden)
    target = open_.address
    if not hidden_begins:
        outside = ip_address(OUTSIDE[version] % 1)
        for port in (IKE_PORT, NAT_TRAVERSAL_PORT):
            inside, far = hidden.address._replace(port=port), open_.address._replace(port=port)
            nat.outside[inside, far] = SocketAddress(outside, port)
        target = SocketAddress(outside)
    initiator = pair.node if hidden_begins else open_
    sa = initiator.endpoint.connect(
        initiator.address, target, pair.network.now, first_child=pair.request(), remote_identity=None
    )
    sa.handshake.remote_identity = (pair.agent if initiator is pair.node else pair.node).identity
    pair.network.run()
    (there,) = [each for peer in (pair.agent, pair.node) for each in peer.sas() if each is not sa]
    assert sa.is_established
    assert there.is_established
    behind, seen = (sa, there) if hidden_begins else (there, sa)
    assert behind.nat == NatDetection(local_behind=True, remote_behind=False)
    assert seen.nat == NatDetection(local_behind=False, remote_behind=True)
    assert [datagram.remote.port for datagram in pair.network.carried[:1]] == [IKE_PORT]
    assert {datagram.local.port for datagram in pair.network.carried[2:]} == {NAT_TRAVERSAL_PORT}
    (child,) = seen.children.values()
    assert child.encapsulation == UdpEncapsulation(NAT_TRAVERSAL_PORT, seen.remote.address, seen.remote.port)
    assert seen.remote.address == ip_address(OUTSIDE[version] % 1)
    (child,) = behind.children.values()
    assert child.encapsulation == UdpEncapsulation(NAT_TRAVERSAL_PORT, open_.address.address, NAT_TRAVERSAL_PORT)


@pytest.mark.parametrize(
    ("agent", "node", "expected"),
    [
        ("off", "auto", (None, None)),
        ("auto", "off", (None, None)),
        ("off", "off", (None, None)),
        ("force", "auto", (NatDetection(False, False, True), NatDetection(False, True, False))),
        ("auto", "force", (NatDetection(False, True, False), NatDetection(False, False, True))),
        ("force", "force", (NatDetection(False, True, True), NatDetection(False, True, True))),
    ],
)
def test_the_setting_of_both_sides(pair, agent, node, expected):
    pair.agent.configure(nat_traversal=NatTraversal(agent))
    pair.node.configure(nat_traversal=NatTraversal(node))
    sa, other = pair.established()
    assert (sa.nat, other.nat) == expected
    encapsulates = expected[0] is not None
    assert ports(pair)[2:] == [NAT_TRAVERSAL_PORT if encapsulates else IKE_PORT] * 2
    (child,) = other.children.values()
    assert (child.encapsulation is not None) == encapsulates
    assert pair.agent.events(ChildEstablished)[0].child.encapsulation == (
        UdpEncapsulation(NAT_TRAVERSAL_PORT, pair.node.address.address, NAT_TRAVERSAL_PORT) if encapsulates else None
    )


def test_with_traversal_off_nothing_is_said_of_addresses(pair):
    pair.agent.configure(nat_traversal=NatTraversal.OFF)
    pair.established()
    said = {
        each.type
        for datagram in pair.network.carried[:2]
        for each in parse_message(datagram.data).payloads
        if isinstance(each, NotifyPayload)
    }
    assert not said & set(DETECTION)


# Keepalives


def hidden_node(pair):
    """An IKE SA begun by the node behind a NAT: the NAT, and the ends of the node and the agent."""
    nat = Nat(pair.network, pair.node)
    mine, other = pair.established(pair.node)
    return nat, mine, other


def test_only_the_side_behind_the_nat_sends_keepalives_and_only_when_silent(pair):
    _, mine, _ = hidden_node(pair)
    pair.network.carried.clear()
    start = pair.network.now
    pair.network.advance(start + 19.9)
    assert pair.network.carried == []
    pair.network.advance(start + 20.0)
    assert [each.data for each in pair.network.carried] == [KEEPALIVE]
    assert pair.network.carried[0].local.port == pair.network.carried[0].remote.port == NAT_TRAVERSAL_PORT
    pair.network.advance(start + 30.0)
    mine.probe_liveness(pair.network.now)
    pair.network.carried.clear()
    pair.network.advance(start + 49.9)
    assert len(pair.network.carried) == 2  # question and answer, no keepalive
    pair.network.advance(start + 90.0)
    assert pair.node.endpoint.statistics["nat-keepalives-sent"] == 1 + 3
    assert pair.agent.endpoint.statistics["nat-keepalives-sent"] == 0


@pytest.mark.parametrize(("interval", "expected"), [(0.0, 0), (5.0, 20), (50.0, 2)])
def test_the_interval_of_keepalives_can_be_set(pair, interval, expected):
    pair.node.configure(nat_keepalive_s=interval)
    hidden_node(pair)
    pair.network.advance(pair.network.now + 100.0)
    assert pair.node.endpoint.statistics["nat-keepalives-sent"] == expected


def test_an_ended_sa_keeps_no_mapping_alive(pair):
    _, mine, _ = hidden_node(pair)
    mine.delete(pair.network.now)
    pair.network.advance(pair.network.now + 1000.0)
    assert pair.node.endpoint.statistics["nat-keepalives-sent"] == 0


# Peers that are elsewhere all of a sudden


def test_the_sa_follows_a_peer_whose_nat_has_forgotten_it(pair):
    nat, mine, other = hidden_node(pair)
    before = other.remote
    nat.reboot()
    mine.probe_liveness(pair.network.now)
    pair.network.run()
    assert other.remote.address == ip_address(OUTSIDE[6] % 2)
    assert [event.previous for event in pair.agent.events(PeerAddressChanged)] == [before]
    (child,) = other.children.values()
    assert child.encapsulation == UdpEncapsulation(NAT_TRAVERSAL_PORT, other.remote.address, other.remote.port)
    # What the agent asks for reaches the node again.
    other.probe_liveness(pair.network.now)
    pair.network.run()
    assert other.exchanges.current is None
    assert pair.node.events(PeerAddressChanged) == []


def test_a_request_under_way_is_repeated_to_the_new_address(pair):
    nat, mine, other = hidden_node(pair)
    nat.reboot()
    other.probe_liveness(pair.network.now)
    pair.network.run()
    assert other.exchanges.current is not None
    mine.probe_liveness(pair.network.now)
    pair.network.advance(pair.network.now + 5.0)
    assert other.exchanges.current is None


def test_an_answer_from_elsewhere_moves_the_sa_as_well(pair):
    _, _, other = hidden_node(pair)
    other.probe_liveness(pair.network.now)
    (question,) = pair.network.take(pair.agent)
    pair.node.endpoint.receive_datagram(
        question.data, pair.node.address._replace(port=NAT_TRAVERSAL_PORT), question.local, pair.network.now
    )
    (answer,) = pair.network.take(pair.node)
    pair.agent.endpoint.receive_datagram(answer.data, question.local, ELSEWHERE, pair.network.now)
    assert other.remote == ELSEWHERE


def altered(datagram: Datagram) -> bytes:
    return datagram.data[:-1] + bytes((datagram.data[-1] ^ 1,))


def test_what_is_not_authentic_moves_nothing(pair):
    _, mine, other = hidden_node(pair)
    before = other.remote
    mine.probe_liveness(pair.network.now)
    (question,) = pair.network.take(pair.node)
    pair.agent.endpoint.receive_datagram(altered(question), question.remote, ELSEWHERE, pair.network.now)
    assert other.remote == before
    assert pair.agent.endpoint.statistics["dropped-bad-integrity"] == 1
    assert pair.network.take(pair.agent) == []


def test_an_old_message_from_elsewhere_moves_nothing(pair):
    """The last request is answered once more, where it came from, but it is no news; older ones are dropped."""
    _, mine, other = hidden_node(pair)
    before = other.remote
    seen = []
    for _ in range(2):
        mine.probe_liveness(pair.network.now)
        pair.network.run()
        seen += [each for each in pair.network.carried[-2:] if each.local.address == pair.node.address.address]
    for message in (*pair.network.carried, *seen):
        pair.agent.endpoint.receive_datagram(message.data, message.remote, ELSEWHERE, pair.network.now)
    assert other.remote == before
    assert not pair.agent.events(PeerAddressChanged)
    other.probe_liveness(pair.network.now)
    assert pair.network.take(pair.agent)[-1].remote == before


def test_a_side_behind_a_nat_follows_nobody(pair):
    """Else one who can delay a message could lead it astray for good."""
    _, mine, other = hidden_node(pair)
    before = mine.remote
    other.probe_liveness(pair.network.now)
    (question,) = pair.network.take(pair.agent)
    local = pair.node.address._replace(port=NAT_TRAVERSAL_PORT)
    pair.node.endpoint.receive_datagram(question.data, local, ELSEWHERE, pair.network.now)
    assert mine.remote == before
    assert pair.node.endpoint.statistics["messages-from-elsewhere"] == 1
    assert [each.remote for each in pair.network.take(pair.node)] == [
        ELSEWHERE
    ]  # the answer goes where the request came from


def test_a_peer_without_a_nat_is_not_followed(pair):
    sa, other = pair.established(pair.node)
    sa.probe_liveness(pair.network.now)
    (question,) = pair.network.take(pair.node)
    pair.agent.endpoint.receive_datagram(question.data, question.remote, ELSEWHERE, pair.network.now)
    assert other.remote == pair.node.address
    assert not pair.agent.events(PeerAddressChanged)


def test_an_authentic_packet_of_a_child_sa_moves_a_peer_behind_a_nat(pair):
    _, mine, other = hidden_node(pair)
    other.heard_from(other.local, ELSEWHERE, pair.network.now)
    assert other.remote == ELSEWHERE
    mine.heard_from(mine.local, ELSEWHERE, pair.network.now)
    assert mine.remote == pair.agent.address._replace(port=NAT_TRAVERSAL_PORT)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_the_sa_is_where_the_latest_genuine_message_came_from(pair, seed):
    """The NAT starts anew, old and forged messages come from elsewhere, nobody says anything, in any order."""
    nat, mine, other = hidden_node(pair)
    source, expected = random.Random(seed), other.remote
    for _ in range(25):
        match source.choice(["probe", "reboot", "replay", "forge", "wait"]):
            case "probe":
                mine.probe_liveness(pair.network.now)
                pair.network.run()
                expected = nat.outside[mine.local, mine.remote]
            case "reboot":
                nat.reboot()
            case "replay":
                old = source.choice(pair.network.carried)
                pair.agent.endpoint.receive_datagram(old.data, other.local, ELSEWHERE, pair.network.now)
            case "forge":
                old = altered(source.choice(pair.network.carried))
                pair.agent.endpoint.receive_datagram(old, other.local, ELSEWHERE, pair.network.now)
            case "wait":
                pair.network.advance(pair.network.now + source.uniform(1.0, 50.0))
        assert other.remote == expected
        assert mine.remote == pair.agent.address._replace(port=NAT_TRAVERSAL_PORT)
        assert pair.network.now - mine.last_sent_at <= 20.0
    assert mine.is_established
    assert other.is_established


@pytest.mark.parametrize("rekeyed_by_hidden", [True, False])
def test_rekeying_keeps_what_is_known_of_the_nat(pair, rekeyed_by_hidden):
    nat, mine, other = hidden_node(pair)
    (mine if rekeyed_by_hidden else other).rekey(pair.network.now)
    pair.network.run()
    (new,) = [event.successor for event in pair.node.events(IkeRekeyed)]
    (far,) = [event.successor for event in pair.agent.events(IkeRekeyed)]
    assert (new.nat, far.nat) == (mine.nat, other.nat)
    assert (new.remote, far.remote) == (mine.remote, other.remote)
    nat.reboot()
    new.probe_liveness(pair.network.now)
    pair.network.run()
    assert far.remote.address == ip_address(OUTSIDE[6] % 2)
    pair.network.advance(pair.network.now + 100)
    assert pair.node.endpoint.statistics["nat-keepalives-sent"] == 5


def test_a_forged_answer_to_ike_sa_init_may_only_change_the_port(pair):
    """Nobody has signed it yet: with other hashes the initiator goes to port 4500, and IKE_AUTH finds the forgery."""
    sa = pair.connect()
    pair.network.deliver(*pair.network.take(pair.agent))
    (answer,) = pair.network.take(pair.node)
    right = parse_message(answer.data).payloads
    (said,) = [each.data for each in right if isinstance(each, NotifyPayload) and each.type == DETECTION[0]]
    pair.network.deliver(replace(answer, data=answer.data.replace(said, bytes(20))))
    assert sa.remote == pair.node.address._replace(port=NAT_TRAVERSAL_PORT)
    pair.network.run()
    assert not sa.is_established
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["authentication-failed"]
