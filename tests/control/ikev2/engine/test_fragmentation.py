"""IKE fragmentation (RFC 7383): narrow paths, lost, doubled, reordered, altered and hostile fragments."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from control.ikev2.events import IkeEstablished, IkeFailed, PeerAlive
from control.ikev2.fragmentation import MAX_CONTENT, MAX_FRAGMENTS, MIN_FRAGMENT_SIZE, seal_fragments
from control.ikev2.message import (
    FragmentPosition,
    encrypted_prefix,
    fragment_prefix,
    split_encrypted,
)
from control.ikev2.numbers import ConfigurationType, ExchangeType, NotifyType, PayloadType
from control.ikev2.payload_chain import encode_payload_chain
from control.ikev2.payloads import ConfigurationAttribute, ConfigurationPayload, NotifyPayload
from control.ikev2.policy import ConfigurationAnswer, RetransmissionPolicy
from control.ikev2.proposals import DEFAULT_IKE_PROPOSALS
from control.ikev2.states import State

IP_AND_UDP_HEADERS = 48
PATH_MTU = 1280


def narrow(network, mtu=PATH_MTU):
    """A path that swallows what does not fit."""
    network.keep = lambda datagram: len(datagram.data) + IP_AND_UDP_HEADERS <= mtu


def certified(pair, pki, kind="rsa", intermediate=True):
    root = pki.authority("root of RSA", kind=kind)
    middle = pki.authority("intermediate", root, kind=kind) if intermediate else None
    for peer in (pair.agent, pair.node):
        peer.policy.key = None
        chain = () if middle is None else (middle.certificate,)
        credentials = pki.credentials(str(peer.identity), kind, middle or root, intermediates=chain)
        peer.configure(credentials=credentials, trust_anchors=(root.certificate,))
    return pair


def fragments(network, exchange=None, is_response=None):
    """Those carried, as (datagram, position)."""
    found = []
    for datagram in network.carried:
        if datagram.data[16] == PayloadType.ENCRYPTED_FRAGMENT:
            message = split_encrypted(datagram.data)
            if exchange in (None, message.header.exchange) and is_response in (None, message.header.is_response):
                found.append((datagram, message.fragment))
    return found


def large(size=3000):
    """A payload for IKE_AUTH that needs several datagrams."""
    return ConfigurationPayload(ConfigurationType.REQUEST, (ConfigurationAttribute(20000, bytes(size)),))


def large_both_ways(pair, size=3000, **changes):
    pair.node.policy.reply = ConfigurationAnswer(ConfigurationPayload(ConfigurationType.REPLY, large(size).attributes))
    return pair.connect(configuration=large(size), **changes)


# Narrow paths


@pytest.mark.parametrize("agent_begins", [True, False])
@pytest.mark.parametrize("intermediate", [True, False])
@pytest.mark.parametrize("proposal", DEFAULT_IKE_PROPOSALS[:2], ids=["gcm", "cbc"])
def test_rsa_certificates_pass_a_path_of_1280_bytes(pair, pki, intermediate, agent_begins, proposal):
    certified(pair, pki, intermediate=intermediate)
    for peer in (pair.agent, pair.node):
        peer.configure(ike_proposals=(proposal,))
    narrow(pair.network)
    pair.established(pair.agent if agent_begins else pair.node)
    assert all(map(pair.network.keep, pair.network.carried))
    for is_response in (False, True):
        sizes = [len(datagram.data) for datagram, _ in fragments(pair.network, ExchangeType.IKE_AUTH, is_response)]
        assert len(sizes) >= 2
        # They are as large as they may be.
        assert sizes[0] > PATH_MTU - IP_AND_UDP_HEADERS - 32
    assert pair.agent.endpoint.statistics["reassembled-messages"] == 1


def test_the_same_path_without_fragments_loses_them(pair, pki):
    certified(pair, pki)
    pair.node.configure(fragment_size=0)
    narrow(pair.network)
    pair.connect()
    pair.network.advance(200.0)
    (failure,) = pair.agent.events(IkeFailed)
    assert failure.reason == "timeout"


@pytest.mark.parametrize("without", ["agent", "node"])
def test_fragments_need_both_sides_to_want_them(pair, pki, without):
    certified(pair, pki)
    getattr(pair, without).configure(fragment_size=0)
    sa, other = pair.established()
    assert not fragments(pair.network)
    assert (sa.uses_fragments, other.uses_fragments) == (False, False)


def test_small_messages_are_sent_whole(pair):
    sa, other = pair.established()
    assert (sa.uses_fragments, other.uses_fragments) == (True, True)
    assert not fragments(pair.network)


def test_too_small_fragments_are_a_mistake_of_the_configuration(pair):
    with pytest.raises(ValueError, match=str(MIN_FRAGMENT_SIZE)):
        pair.agent.configure(fragment_size=MIN_FRAGMENT_SIZE - 1)
    pair.agent.configure(fragment_size=MIN_FRAGMENT_SIZE)


@pytest.mark.parametrize("proposal", DEFAULT_IKE_PROPOSALS[:2], ids=["gcm", "cbc"])
@pytest.mark.parametrize("limit", range(MIN_FRAGMENT_SIZE, MIN_FRAGMENT_SIZE + 17))
def test_no_fragment_is_larger_than_allowed(pair, limit, proposal):
    pair.agent.configure(fragment_size=limit, ike_proposals=(proposal,))
    large_both_ways(pair)
    pair.network.run()
    assert pair.agent.events(IkeEstablished)
    sizes = [len(datagram.data) for datagram, _ in fragments(pair.network, is_response=False)]
    assert limit - 16 < max(sizes) <= limit


# Loss and repetition


class Losing:
    """Loses the n-th fragment (from 1) of all that are carried."""

    def __init__(self, network, *lost):
        self.lost = set(lost)
        self.seen = 0
        network.keep = self.keep

    def keep(self, datagram):
        if datagram.data[16] != PayloadType.ENCRYPTED_FRAGMENT:
            return True
        self.seen += 1
        return self.seen not in self.lost


def test_all_fragments_of_a_request_are_sent_again(pair):
    Losing(pair.network, 2)
    sa = pair.connect(configuration=large())
    pair.network.run()
    assert not sa.is_established
    pair.network.advance(101.0)
    assert sa.is_established
    requests = fragments(pair.network, ExchangeType.IKE_AUTH, is_response=False)
    assert [position for _, position in requests] == [(1, 3), (2, 3), (3, 3)] * 2
    assert [datagram for datagram, _ in requests[:3]] == [datagram for datagram, _ in requests[3:]]
    # Those that had come the first time were kept.
    assert pair.node.endpoint.statistics["dropped-repeated-fragment"] == 1


def test_an_answer_in_fragments_is_repeated_once_for_a_repeated_request_in_fragments(pair):
    Losing(pair.network, 5)
    sa = large_both_ways(pair)
    pair.network.run()
    assert not sa.is_established
    assert len(pair.node.events(IkeEstablished)) == 1
    pair.network.advance(101.0)
    assert sa.is_established
    answers = fragments(pair.network, ExchangeType.IKE_AUTH, is_response=True)
    assert [position for _, position in answers] == [(1, 3), (2, 3), (3, 3)] * 2
    assert [datagram for datagram, _ in answers[:3]] == [datagram for datagram, _ in answers[3:]]
    assert pair.node.endpoint.statistics["responses-repeated"] == 1
    assert pair.node.endpoint.statistics["dropped-unexpected-message-id"] == 2
    assert len(pair.node.events(IkeEstablished)) == 1


def test_only_the_first_fragment_asks_for_the_answer_again(pair):
    large_both_ways(pair)
    pair.network.run()
    requests = fragments(pair.network, ExchangeType.IKE_AUTH, is_response=False)
    for datagram, position in requests:
        pair.network.deliver(datagram)
        assert len(pair.network.gather()) == (3 if position.number == 1 else 0)


class Sender:
    """Seals requests of an established IKE SA as a peer may that divides messages in its own way."""

    def __init__(self, pair, size=2500):
        self.pair = pair
        self.sa, self.other = pair.established()
        notify = NotifyPayload(NotifyType.INITIAL_CONTACT, data=random.Random(1).randbytes(size))
        self.first_type, self.chain = encode_payload_chain((notify,))

    def header(self, message_id=2):
        return self.sa.header(ExchangeType.INFORMATIONAL, message_id, is_response=False)

    def fragments(self, limit, **changes):
        return seal_fragments(self.sa.cipher, self.header(**changes), self.first_type, self.chain, limit)

    def whole(self):
        prefix = encrypted_prefix(self.header(), self.first_type, self.sa.cipher.body_size(len(self.chain)))
        return prefix + self.sa.cipher.seal(self.chain, prefix)

    def fragment(self, position, chunk=b"chunk"):
        prefix = fragment_prefix(
            self.header(), self.first_type, FragmentPosition(*position), self.sa.cipher.body_size(len(chunk))
        )
        return prefix + self.sa.cipher.seal(chunk, prefix)

    def send(self, *datagrams):
        """How many datagrams come back."""
        for datagram in datagrams:
            self.pair.node.endpoint.receive_datagram(
                datagram, self.pair.node.address, self.pair.agent.address, self.pair.network.now
            )
        return len(self.pair.node.endpoint.datagrams_to_send())

    @property
    def statistics(self):
        return self.pair.node.endpoint.statistics


def test_a_request_divided_anew_still_asks_for_the_answer_again(pair):
    sender = Sender(pair)
    assert sender.send(*sender.fragments(1228)) == 1
    again = sender.fragments(600)
    assert [sender.send(datagram) for datagram in again] == [1, *[0] * (len(again) - 1)]
    assert sender.statistics["responses-repeated"] == 1


def test_a_request_sent_whole_is_repeated_in_fragments(pair):
    sender = Sender(pair)
    assert sender.send(sender.whole()) == 1
    assert [sender.send(datagram) for datagram in sender.fragments(1228)] == [1, 0, 0]


def test_a_forged_first_fragment_does_not_ask_for_the_answer_again(pair):
    sender = Sender(pair)
    assert sender.send(*sender.fragments(1228)) == 1
    again = sender.fragments(600)[0]
    assert sender.send(again[:-1] + bytes((again[-1] ^ 1,))) == 0
    assert sender.send(again) == 1


def test_a_whole_request_takes_the_place_of_an_incomplete_one(pair):
    sender = Sender(pair)
    assert sender.send(*sender.fragments(1228)[:2]) == 0
    assert sender.other.partial_messages
    assert sender.send(sender.whole()) == 1
    assert not sender.other.partial_messages


def test_a_whole_answer_takes_the_place_of_an_incomplete_one(pair):
    sa, other = pair.established()
    sa.probe_liveness(pair.network.now)
    (request,) = pair.network.gather()
    header = other.header(ExchangeType.INFORMATIONAL, 2, is_response=True)
    first, _ = seal_fragments(other.cipher, header, 0, bytes(500), MIN_FRAGMENT_SIZE)
    pair.agent.endpoint.receive_datagram(first, pair.agent.address, pair.node.address, pair.network.now)
    assert sa.partial_messages
    pair.network.deliver(request)
    pair.network.run()
    assert pair.agent.events(PeerAlive)
    assert not sa.partial_messages


def test_fragments_of_an_earlier_message_are_not_mixed_with_those_of_a_later_one(pair):
    sender = Sender(pair)
    sender.send(sender.fragment((1, 3), b"of an earlier message"))
    sender.other.exchanges.expected_id += 1
    assert sender.send(*sender.fragments(1228, message_id=3)) == 1
    assert sender.other.is_established


def test_the_order_of_fragments_does_not_matter(pair):
    sender = Sender(pair)
    assert sender.send(*reversed(sender.fragments(600))) == 1


def test_smaller_fragments_supersede_larger_ones(pair):
    sender = Sender(pair)
    larger, smaller = sender.fragments(1228), sender.fragments(600)
    assert len(larger) < len(smaller)
    assert sender.send(*larger[:2], smaller[1]) == 0
    # Of the older set nothing counts any more, not even what would have completed it.
    assert sender.send(*larger) == 0
    assert sender.statistics["dropped-repeated-fragment"] == len(larger)
    assert sender.send(*smaller[2:], smaller[0]) == 1


def test_a_forged_fragment_does_not_supersede_anything(pair):
    sender = Sender(pair)
    datagrams, smaller = sender.fragments(1228), sender.fragments(600)[0]
    assert sender.send(datagrams[0], smaller[:-1] + bytes((smaller[-1] ^ 1,)), *datagrams[1:]) == 1
    assert sender.statistics["dropped-bad-integrity"] == 1


@pytest.mark.parametrize("byte", [-1, 16, 18, 19, 28, 33, 35, 36, 60])
def test_altered_fragments_are_not_kept(pair, byte):
    sender = Sender(pair)
    first, *others = sender.fragments(1228)
    altered = bytearray(first)
    altered[byte] ^= 1
    assert sender.send(bytes(altered)) == 0
    assert not sender.other.partial_messages
    assert sender.send(first, *others) == 1


def test_fragments_are_dropped_where_they_were_not_agreed(pair):
    pair.agent.configure(fragment_size=0)
    sender = Sender(pair)
    assert sender.send(*sender.fragments(1228)) == 0
    assert sender.statistics["dropped-unexpected-fragment"] == 3
    assert not sender.other.partial_messages
    assert sender.send(sender.whole()) == 1


def test_fragments_of_other_messages_are_dropped(pair):
    sender = Sender(pair)
    assert sender.send(*sender.fragments(1228, message_id=4)) == 0
    assert sender.statistics["dropped-unexpected-message-id"] == 3
    assert not sender.other.partial_messages


# Bounds


def test_too_many_fragments_are_dropped(pair):
    sender = Sender(pair)
    assert sender.send(sender.fragment((1, MAX_FRAGMENTS + 1)), sender.fragment((1, 65535))) == 0
    assert sender.statistics["dropped-too-many-fragments"] == 2
    assert not sender.other.partial_messages
    assert sender.send(sender.fragment((1, MAX_FRAGMENTS))) == 0
    assert sender.other.partial_messages


def test_a_message_that_grows_too_large_is_dropped(pair):
    sender = Sender(pair)
    chunk = bytes(MAX_CONTENT // 4 + 1)
    assert sender.send(*(sender.fragment((number, 8), chunk) for number in (1, 2, 3))) == 0
    assert sum(partial.held for partial in sender.other.partial_messages.values()) > MAX_CONTENT // 2
    assert sender.send(sender.fragment((4, 8), chunk)) == 0
    assert sender.statistics["dropped-oversized-message"] == 1
    assert not sender.other.partial_messages


def test_an_incomplete_request_is_forgotten_after_a_while(pair):
    pair.node.configure(retransmission=RetransmissionPolicy(initial_s=1.0, base=2.0, tries=3, jitter=0.0))
    sender = Sender(pair)
    sender.send(*sender.fragments(1228)[:2])
    started = pair.network.now
    assert pair.node.endpoint.next_timer() == started + 7.0
    pair.network.advance(started + 6.9)
    assert sender.other.partial_messages
    pair.network.advance(started + 7.0)
    assert not sender.other.partial_messages
    assert sender.statistics["dropped-incomplete-message"] == 1
    # It is no fault of the IKE SA, and the request may still come.
    assert sender.other.is_established
    assert sender.send(*sender.fragments(1228)) == 1


def test_fragments_go_with_their_ike_sa(pair):
    pair.node.configure(half_open_lifetime_s=5.0)
    Losing(pair.network, *range(2, 20))
    pair.connect(configuration=large())
    pair.network.run()
    memory = pair.node.endpoint._environment.fragment_memory
    assert memory.held > 2000
    pair.network.advance(106.0)
    assert len(pair.node.endpoint) == 0
    assert memory.held == 0


def test_strangers_fragments_are_bounded_in_all_and_the_oldest_go_first(pair):
    pair.node.configure(fragment_memory=10_000)
    Losing(pair.network, *range(3, 100, 3))
    for _ in range(5):
        pair.connect(configuration=large(3000))
        pair.network.run()
    keeping = [sa for sa in pair.node.sas() if sa.partial_messages]
    assert [sa.state for sa in pair.node.sas()] == [State.HALF_OPEN] * 5
    assert keeping == pair.node.sas()[3:]
    assert pair.node.endpoint._environment.fragment_memory.held <= 10_000
    assert pair.node.endpoint.statistics["dropped-fragments-of-strangers"] == 3
    # Each starts anew with the repetition, and then they complete one after the other.
    pair.network.keep = lambda datagram: True
    pair.network.advance(105.0)
    assert len(pair.agent.events(IkeEstablished)) == 5
    assert pair.node.endpoint._environment.fragment_memory.held == 0


# Whatever happens on the way

FAULTS = st.lists(
    st.tuples(
        st.sampled_from(("deliver", "drop", "double", "alter", "later", "shorten")),
        st.integers(0, 2000),
        st.integers(1, 255),
    ),
    max_size=40,
)


def damaged(data, index, mask):
    altered = bytearray(data)
    altered[index % len(data)] ^= mask
    return bytes(altered)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(faults=FAULTS, limit=st.integers(MIN_FRAGMENT_SIZE, 1300), size=st.integers(500, 5000))
def test_no_fault_of_the_path_breaks_anything(pair, faults, limit, size):
    for peer in (pair.agent, pair.node):
        peer.configure(fragment_size=limit)
        peer.reported.clear()
    network = pair.network
    network.carried.clear()
    late = []
    plan = iter(faults)

    def keep(datagram):
        if datagram.data[18] == ExchangeType.IKE_SA_INIT:
            return True
        fault, index, mask = next(plan, ("deliver", 0, 1))
        if fault == "later":
            late.append(datagram)
        elif fault == "alter":
            network.deliver(replace(datagram, data=damaged(datagram.data, index, mask)))
        elif fault == "shorten":
            network.deliver(replace(datagram, data=datagram.data[: index % len(datagram.data)]))
        elif fault == "double":
            network.deliver(datagram)
        while fault != "later" and late:
            network.deliver(late.pop())
        for peer in (pair.agent, pair.node):
            for sa in peer.endpoint.sas():
                assert sum(partial.held for partial in sa.partial_messages.values()) <= 2 * (size + limit + 2000)
        return fault in ("deliver", "double")

    network.keep = keep
    sa = large_both_ways(pair, size)
    network.advance(network.now + 200.0)
    assert sa.is_established or pair.agent.events(IkeFailed)
    if len([fault for fault, _, _ in faults if fault not in ("deliver", "double")]) <= 5:
        # Every repetition needs all of its datagrams, so only few faults are sure to be outlived.
        assert sa.is_established
    assert len(pair.node.events(IkeEstablished)) <= 1
    assert all(not sa.partial_messages for peer in (pair.agent, pair.node) for sa in peer.endpoint.sas())
    assert pair.node.endpoint._environment.fragment_memory.held == 0


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_hostile_fragments_of_an_authentic_peer_are_bounded(pair, data):
    sender = Sender(pair)
    pairs = st.tuples(st.integers(0, 70), st.integers(0, 70))
    for position in data.draw(st.lists(pairs, max_size=30)):
        sender.send(sender.fragment(position, bytes(data.draw(st.integers(0, 9000)))))
        held = sum(partial.held for partial in sender.other.partial_messages.values())
        assert held <= MAX_CONTENT + 9100
    assert sender.other.state in (State.ESTABLISHED, State.LINGERING)
