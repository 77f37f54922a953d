"""Liveness as the endpoint's own policy (RFC 7296 section 2.4)."""

from __future__ import annotations

import pytest

from control.ikev2.events import ChildClosed, IkeClosed, PeerAlive
from control.ikev2.numbers import ExchangeType
from control.ikev2.policy import RetransmissionPolicy

INTERVAL_S = 100.0
LATEST_S = INTERVAL_S * 1.25
PATIENCE_S = RetransmissionPolicy().patience_s


def watched(pair, peer=None):
    (peer or pair.agent).configure(liveness_interval_s=INTERVAL_S)
    ends = pair.established()
    pair.network.carried.clear()
    return ends


def probes(pair):
    return [datagram for datagram in pair.network.carried if datagram.data[18] == ExchangeType.INFORMATIONAL]


def test_nothing_is_probed_by_default(pair):
    sa, _ = pair.established()
    assert pair.agent.endpoint.next_timer() is None
    pair.network.advance(pair.network.now + 100_000.0)
    assert sa.is_established
    assert not pair.agent.events(PeerAlive)


@pytest.mark.parametrize("role", ["agent", "node"])
def test_a_silent_peer_is_probed_time_and_again(pair, role):
    peer = getattr(pair, role)
    watched(pair, peer)
    start = pair.network.now
    pair.network.advance(start + INTERVAL_S - 0.1)
    assert not probes(pair)
    pair.network.advance(start + LATEST_S)
    assert len(probes(pair)) == 2
    assert probes(pair)[0].local == peer.address
    pair.network.advance(start + 10 * LATEST_S)
    assert 10 <= len(peer.events(PeerAlive)) <= 12
    assert peer.endpoint.statistics["liveness-probes"] == len(peer.events(PeerAlive))
    assert peer.sas()[0].is_established


def test_a_dead_peer_ends_the_sa(pair):
    sa, _ = watched(pair)
    pair.network.keep = lambda datagram: False
    start = pair.network.now
    pair.network.advance(start + INTERVAL_S + PATIENCE_S / 1.2 - 0.1)
    assert sa.is_established
    pair.network.advance(start + LATEST_S + PATIENCE_S)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["timeout"]
    assert [event.reason for event in pair.agent.events(ChildClosed)] == ["ike-closed"]
    assert len(pair.agent.endpoint) == 0
    assert pair.agent.endpoint.next_timer() is None


def test_one_lost_probe_does_not_matter(pair):
    sa, _ = watched(pair)
    pair.network.keep = lambda datagram: len(pair.network.carried) > 1
    pair.network.advance(pair.network.now + LATEST_S + 5.0)
    assert sa.is_established
    assert len(pair.agent.events(PeerAlive)) == 1


def test_whatever_the_peer_says_puts_the_probe_off(pair):
    _, other = watched(pair)
    for _ in range(5):
        pair.network.advance(pair.network.now + 0.9 * INTERVAL_S)
        other.probe_liveness(pair.network.now)
    pair.network.run()
    assert not pair.agent.events(PeerAlive)


def test_a_packet_on_a_child_puts_the_probe_off(pair):
    sa, _ = watched(pair)
    for _ in range(5):
        pair.network.advance(pair.network.now + 0.9 * INTERVAL_S)
        sa.heard(pair.network.now)
    assert not probes(pair)
    pair.network.advance(pair.network.now + LATEST_S)
    assert len(pair.agent.events(PeerAlive)) == 1


def test_what_the_peer_cannot_have_sent_does_not_put_the_probe_off(pair):
    sa, other = watched(pair)
    other.probe_liveness(pair.network.now)
    (forged,) = pair.network.gather()
    pair.network.now += 0.9 * INTERVAL_S
    data = forged.data[:-1] + bytes((forged.data[-1] ^ 1,))
    pair.agent.endpoint.receive_datagram(data, pair.agent.address, pair.node.address, pair.network.now)
    pair.network.keep = lambda datagram: datagram.local == pair.agent.address
    pair.network.advance(pair.network.now + 0.1 * INTERVAL_S + 0.25 * INTERVAL_S)
    assert pair.agent.endpoint.statistics["liveness-probes"] == 1
    assert sa.is_established


def test_an_outstanding_request_serves_as_the_probe(pair):
    sa, _ = watched(pair)
    pair.network.now += INTERVAL_S - 1.0
    sa.create_child(pair.request(), pair.network.now)
    pair.network.keep = lambda datagram: False
    pair.network.advance(pair.network.now + LATEST_S)
    assert pair.agent.endpoint.statistics["liveness-probes"] == 0
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["timeout"]


def test_sas_made_together_are_not_probed_together(pair):
    pair.agent.configure(liveness_interval_s=INTERVAL_S)
    for _ in range(20):
        pair.connect()
    pair.network.run()
    pair.network.carried.clear()
    start = pair.network.now
    sent = []
    pair.network.keep = lambda datagram: sent.append(pair.network.now - start) or True
    pair.network.advance(start + LATEST_S)
    times = sent[::2]
    assert len(times) == 20
    assert all(INTERVAL_S <= at <= LATEST_S for at in times)
    assert max(times) - min(times) > 0.1 * INTERVAL_S
