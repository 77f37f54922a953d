"""Timing of repetitions, repeated answers, lost, doubled and reordered datagrams, garbage."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.ikev2.address import IKE_PORT
from control.ikev2.events import ChildEstablished, IkeEstablished, IkeFailed
from control.ikev2.numbers import ExchangeType
from control.ikev2.policy import RetransmissionPolicy
from control.ikev2.rate_limit import TokenBucket
from control.ikev2.timers import TimerHeap


def sent_at(pair, policy, until=200.0):
    """When the agent sends its first request to nobody, relative to the first time."""
    pair.agent.configure(retransmission=policy)
    times = []
    pair.network.keep = lambda datagram: times.append(pair.network.now - 100.0) or False
    pair.connect()
    pair.network.advance(100.0 + until)
    return times


def test_waiting_times_grow_exponentially(pair):
    times = sent_at(pair, RetransmissionPolicy(initial_s=1.0, base=2.0, tries=5, jitter=0.0))
    assert times == [0, 1, 3, 7, 15]
    (failure,) = pair.agent.events(IkeFailed)
    assert failure.reason == "timeout"
    assert len(pair.agent.endpoint) == 0
    assert pair.agent.endpoint.next_timer() is None


def test_failure_comes_after_the_last_waiting_time(pair):
    pair.agent.configure(retransmission=RetransmissionPolicy(initial_s=1.0, base=2.0, tries=3, jitter=0.0))
    pair.network.keep = lambda datagram: False
    pair.connect()
    pair.network.advance(106.9)
    assert not pair.agent.events(IkeFailed)
    pair.network.advance(107.0)
    assert len(pair.agent.events(IkeFailed)) == 1


def test_an_exchange_may_have_fewer_tries_to_begin_with_than_later(pair):
    pair.agent.configure(retransmission=RetransmissionPolicy(initial_s=1.0, base=2.0, tries=5, jitter=0.0))
    sent = []
    pair.network.keep = lambda datagram: sent.append(pair.network.now - 100.0) or len(sent) > 1
    pair.connect(init_tries=2)
    pair.network.advance(100.5)
    pair.network.keep = lambda datagram: sent.append(pair.network.now - 100.0) or False
    pair.network.advance(200.0)
    assert sent == [0, 1]
    assert [failure.reason for failure in pair.agent.events(IkeFailed)] == ["timeout"]


def test_the_few_tries_are_for_the_beginning_only(pair):
    pair.agent.configure(retransmission=RetransmissionPolicy(initial_s=1.0, base=2.0, tries=5, jitter=0.0))
    of_auth = []
    pair.network.keep = lambda datagram: datagram.data[18] == ExchangeType.IKE_SA_INIT or of_auth.append(1)
    pair.connect(init_tries=2)
    pair.network.advance(300.0)
    assert len(of_auth) == 5


def test_jitter_lengthens_waiting_times_differently(pair):
    policy = RetransmissionPolicy(initial_s=1.0, base=2.0, tries=6, jitter=0.5)
    times = sent_at(pair, policy)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    shares = [gap / 2**number for number, gap in enumerate(gaps)]
    assert all(1.0 <= share <= 1.5 for share in shares)
    assert len(set(shares)) == len(shares)


def test_repetitions_are_the_same_bytes_and_reported_as_such(pair):
    pair.network.keep = lambda datagram: False
    pair.connect()
    pair.network.advance(102.0)
    assert len(pair.network.carried) > 1
    assert len({datagram.data for datagram in pair.network.carried}) == 1
    assert pair.agent.endpoint.statistics["sent-ike-sa-init-request"] == 1
    assert pair.agent.endpoint.statistics["retransmissions"] == len(pair.network.carried) - 1


def test_a_repeated_request_is_answered_again_without_cryptography(pair):
    sa, other = pair.established()
    requests = [datagram for datagram in pair.network.carried if datagram.remote == pair.node.address]
    pair.network.deliver(requests[-1])
    (again,) = pair.network.gather()
    assert again == pair.network.carried[-1]
    other.cipher = None
    pair.network.deliver(requests[-1])
    assert pair.network.gather() == [again]
    assert len(pair.node.events(IkeEstablished)) == 1
    assert sa.is_established


def test_an_altered_repetition_is_not_answered(pair):
    pair.established()
    request = [datagram for datagram in pair.network.carried if datagram.remote == pair.node.address][-1]
    altered = request.data[:-1] + bytes((request.data[-1] ^ 1,))
    pair.node.endpoint.receive_datagram(altered, pair.node.address, pair.agent.address, 100.0)
    assert pair.network.gather() == []


def test_answers_that_nobody_waits_for_are_dropped(pair):
    pair.established()
    for datagram in list(pair.network.carried):
        if datagram.remote == pair.agent.address:
            pair.network.deliver(datagram)
    assert pair.network.gather() == []
    assert len(pair.agent.events(IkeEstablished)) == 1
    assert pair.agent.endpoint.statistics["dropped-unexpected-response"] == 2


def test_requests_from_before_the_window_and_beyond_it_are_dropped(pair):
    sa, _ = pair.established()
    for _ in range(2):
        sa.probe_liveness(pair.network.now)
        pair.network.run()
    requests = [datagram for datagram in pair.network.carried if datagram.remote == pair.node.address]
    pair.network.deliver(requests[1])
    assert pair.network.gather() == []
    assert pair.node.endpoint.statistics["dropped-unexpected-message-id"] == 1


def test_the_peers_new_address_is_answered_but_not_kept(pair):
    sa, other = pair.established()
    sa.probe_liveness(pair.network.now)
    (request,) = pair.network.gather()
    moved = request.local._replace(port=4321)
    pair.node.endpoint.receive_datagram(request.data, request.remote, moved, pair.network.now)
    (answer,) = pair.node.endpoint.datagrams_to_send()
    assert answer.remote == moved
    assert other.remote == pair.agent.address


def disturb(pair, seed, loss, duplication, rounds=400):
    """Run until both sides fall silent, with datagrams lost, doubled and reordered at random."""
    source = random.Random(seed)
    network = pair.network
    in_flight = []
    for _ in range(rounds):
        in_flight += network.gather()
        if in_flight:
            datagram = in_flight.pop(source.randrange(len(in_flight)))
            if source.random() < duplication:
                in_flight.append(datagram)
            if source.random() >= loss:
                network.deliver(datagram)
            continue
        timers = [peer.endpoint.next_timer() for peer in network.peers.values()]
        due = min((at for at in timers if at is not None), default=None)
        if due is None:
            return
        network.now = max(network.now, due)
        for peer in network.peers.values():
            peer.endpoint.handle_timer(network.now)
    raise AssertionError("never silent")


@pytest.mark.parametrize("seed", range(40))
def test_lost_doubled_and_reordered_datagrams_only_delay(pair, seed):
    for peer in (pair.agent, pair.node):
        peer.configure(retransmission=RetransmissionPolicy(tries=14), half_open_lifetime_s=1000.0)
    if seed % 2:
        pair.node.configure(cookie_threshold=0)
    sa = pair.connect()
    disturb(pair, seed, loss=0.3, duplication=0.3)
    assert sa.is_established
    assert len(pair.agent.events(IkeEstablished)) == 1
    other = next(other for other in pair.node.sas() if other.local_spi == sa.remote_spi)
    for number in range(3):
        sa.create_child(pair.request(name=str(number)), pair.network.now)
        other.create_child(pair.request(name=f"node {number}"), pair.network.now)
    disturb(pair, seed + 1000, loss=0.3, duplication=0.3)
    assert len(sa.children) == len(other.children) == 7
    assert {child.inbound_spi for child in sa.children.values()} == {
        child.outbound_spi for child in other.children.values()
    }
    sa.delete(pair.network.now)
    disturb(pair, seed + 2000, loss=0.3, duplication=0.3)
    assert not any(each.is_established for each in (*pair.agent.sas(), *pair.node.sas()))
    pair.network.advance(pair.network.now + 2000)
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)
    for peer in (pair.agent, pair.node):
        assert not peer.endpoint._environment.half_open
        assert not peer.endpoint._environment.by_peer


@pytest.mark.parametrize("seed", range(20))
def test_a_storm_of_mutated_datagrams_changes_nothing(pair, seed):
    """Every datagram is accompanied by mutants of it; the handshake succeeds and nothing else comes to be."""
    pair.node.configure(half_open_limit=8, stranger_replies_per_s=3.0)
    source = random.Random(seed)
    sa = pair.connect()
    for _ in range(12):
        datagrams = pair.network.gather()
        for datagram in datagrams:
            # A mutant of the answer to IKE_SA_INIT may tell of a NAT: IKE_AUTH goes to port 4500 then.
            receiver = pair.network.peers[datagram.remote._replace(port=IKE_PORT)].endpoint
            for _ in range(60):
                receiver.receive_datagram(
                    mutate(datagram.data, source), datagram.remote, datagram.local, pair.network.now
                )
            pair.network.deliver(datagram)
        assert len(pair.node.endpoint) <= 9
    if sa.is_established:
        sa.create_child(pair.request(), pair.network.now)
        pair.network.run()
    pair.network.advance(200.0)
    assert pair.node.endpoint.half_open == 0
    assert len(pair.node.endpoint) <= 1
    assert len(pair.agent.events(IkeEstablished)) <= 1


def mutate(data, source):
    mutated = bytearray(data)
    kind = source.randrange(4)
    if kind == 0:
        del mutated[source.randrange(len(mutated)) :]
    elif kind == 1:
        mutated += source.randbytes(source.randrange(1, 40))
    else:
        for _ in range(source.randrange(1, 6)):
            mutated[source.randrange(len(mutated))] = source.randrange(256)
    if source.random() < 0.5 and len(mutated) >= 28:
        mutated[24:28] = len(mutated).to_bytes(4, "big")
    return bytes(mutated)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(data=st.binary(max_size=300), fix_length=st.booleans(), fix_version=st.booleans())
def test_garbage_never_raises_and_leaves_nothing(pair, data, fix_length, fix_version):
    mutated = bytearray(data)
    if fix_version and len(mutated) >= 28:
        mutated[17] = 0x20
    if fix_length and len(mutated) >= 28:
        mutated[24:28] = len(mutated).to_bytes(4, "big")
    pair.node.endpoint.receive_datagram(bytes(mutated), pair.node.address, pair.agent.address, 100.0)
    pair.node.endpoint.datagrams_to_send()
    assert len(pair.node.endpoint) == 0
    assert pair.node.endpoint.events() == []


def test_authentic_garbage_never_raises(pair):
    """Even a peer with the keys can only get its own SA closed."""
    source = random.Random(7)
    for number in range(150):
        sa, other = pair.established()
        chain = source.randbytes(source.randrange(60))
        first = source.choice([0, 33, 34, 35, 39, 41, 42, 44, 46, 47, 48, 200])
        exchange = source.choice([35, 36, 37, 40])
        header = sa.header(exchange, other.exchanges.expected_id, is_response=False)
        from control.ikev2.message import encrypted_prefix

        prefix = encrypted_prefix(header, first, sa.cipher.body_size(len(chain)))
        data = prefix + sa.cipher.seal(chain, prefix)
        pair.node.endpoint.receive_datagram(data, pair.node.address, pair.agent.address, pair.network.now)
        pair.network.now += 1
        pair.network.gather()
        if number % 10 == 0:
            pair.network.advance(pair.network.now + 60)
    assert pair.node.endpoint.statistics["dropped-unexpected-request"] > 0


def test_every_bit_of_an_ike_auth_request_is_authenticated(pair):
    pair.connect()
    (init,) = pair.network.gather()
    pair.network.deliver(init)
    (answer,) = pair.network.gather()
    pair.network.deliver(answer)
    (request,) = pair.network.gather()
    for position in range(len(request.data)):
        mutated = bytearray(request.data)
        mutated[position] ^= 1
        pair.node.endpoint.receive_datagram(bytes(mutated), pair.node.address, pair.agent.address, 100.0)
        assert not pair.node.events(IkeEstablished)
        assert not pair.node.events(IkeFailed)
    pair.network.deliver(request)
    assert len(pair.node.events(ChildEstablished)) == 1


class Timed:
    looked_at = math.inf

    def __init__(self, deadline=math.inf):
        self.deadline = deadline


def heap_of(*items):
    heap = TimerHeap(lambda item: item.deadline)
    for item in items:
        heap.bring_forward(item, item.deadline)
    return heap


def test_the_timer_heap_gives_items_in_order_and_forgets_changed_deadlines():
    items = [Timed(at) for at in (5.0, 3.0, 4.0, 7.0)]
    heap = heap_of(*items)
    items[1].deadline = 9.0  # it finds out by itself
    heap.remove(items[2])
    items[3].deadline = 6.0
    heap.bring_forward(items[3], 6.0)
    assert heap.next_deadline() == 5.0
    assert heap.pop_due(4.9) is None
    assert heap.pop_due(20.0) is items[0]
    assert heap.next_deadline() == 6.0
    assert heap.pop_due(20.0) is items[3]
    assert heap.pop_due(20.0) is items[1]
    assert heap.pop_due(20.0) is None
    assert heap.next_deadline() is None


def test_an_item_that_lost_its_deadline_leaves_the_timer_heap():
    item = Timed(5.0)
    heap = heap_of(item)
    item.deadline = math.inf
    assert heap.next_deadline() is None
    assert len(heap) == 0
    item.deadline = 8.0
    heap.bring_forward(item, 8.0)
    assert heap.pop_due(8.0) is item


def test_the_timer_heap_does_not_grow_with_changes():
    item = Timed()
    heap = heap_of(item)
    for number in range(10_000):
        item.deadline = float(10_000 - number)
        heap.bring_forward(item, item.deadline)
    assert len(heap) < 200
    assert heap.pop_due(20_000.0) is item


def test_the_timer_heap_does_not_keep_what_was_removed():
    items = [Timed(float(number)) for number in range(1000)]
    heap = heap_of(*items)
    for item in items:
        heap.remove(item)
    assert len(heap) < 200


def test_a_token_bucket_fills_at_its_rate():
    bucket = TokenBucket(2.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(0.5), bucket.take(0.5)] == [True, False]
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert not TokenBucket(0.0).take(1.0)
