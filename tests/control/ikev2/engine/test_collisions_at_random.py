"""Both sides of IKEv2 do anything at random times, and datagrams are lost, doubled and held back."""

from __future__ import annotations

import random

import pytest

from control.ikev2.events import ChildClosed, ChildEstablished, IkeClosed
from control.ikev2.policy import RetransmissionPolicy
from tests.control.ikev2.engine.conftest import current

pytestmark = pytest.mark.collision


def deliver_badly(source, pair, held):
    """Delivers some of what is under way: in any order, a tenth of it never, a tenth twice."""
    held += [datagram for datagram in pair.network.gather() if source.random() > 0.1]
    source.shuffle(held)
    for datagram in [held.pop() for _ in range(source.randrange(len(held) + 1))]:
        pair.network.deliver(datagram)
        if source.random() < 0.1:
            pair.network.deliver(datagram)


def act(source, pair, peer):
    """One of the two sides does something to one of its IKE SAs."""
    sas = [sa for sa in peer.sas() if sa.is_established]
    if not sas:
        return
    sa, now, what = source.choice(sas), pair.network.now, source.random()
    child = source.choice(list(sa.children)) if sa.children else None
    if what < 0.25:
        sa.rekey(now)
    elif what < 0.5 and child is not None:
        sa.rekey_child(child, now)
    elif what < 0.6 and child is not None:
        sa.delete_child(child, now)
    elif what < 0.8:
        sa.create_child(pair.request(), now)
    elif what < 0.84:
        sa.delete(now)
    else:
        sa.probe_liveness(now)


@pytest.mark.parametrize("seed", range(40))
def test_rekeying_of_everything_under_loss_and_reordering_converges(pair, assert_match, seed):
    """Section 2.25: both sides rekey all they have at random times while datagrams are lost, doubled and held back."""
    source = random.Random(seed)
    pair.agent.random.seed(seed)
    pair.node.random.seed(1000 + seed)
    a, _ = pair.established()
    a.create_child(pair.request(name="second"), pair.network.now)
    pair.network.run()
    until = pair.network.now + 60
    held = []
    while pair.network.now < until:
        for peer in (pair.agent, pair.node):
            for sa in peer.sas():
                if sa.is_established and source.random() < 0.05:
                    sa.rekey(pair.network.now)
                if sa.is_established and sa.children and source.random() < 0.05:
                    sa.rekey_child(source.choice(list(sa.children)), pair.network.now)
        deliver_badly(source, pair, held)
        pair.network.now += 0.25
        for peer in (pair.agent, pair.node):
            peer.endpoint.handle_timer(pair.network.now)
    pair.network.advance(pair.network.now + 400)
    assert not pair.agent.events(IkeClosed)
    assert not pair.node.events(IkeClosed)
    assert_match(*current(pair))
    assert len(current(pair)[0].children) == 2
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (1, 1)
    assert not current(pair)[0].superseded
    assert {event.reason for peer in (pair.agent, pair.node) for event in peer.events(ChildClosed)} <= {
        "rekeyed",
        "unknown-to-peer",
        "deleted-by-peer",
    }


@pytest.mark.parametrize("seed", range(40))
def test_both_sides_agree_after_anything_under_loss_and_reordering(pair, assert_match, seed):
    """Section 2.25: both sides make, rekey and close SAs at random times; datagrams are lost, doubled and held back."""
    source = random.Random(seed)
    for number, peer in enumerate((pair.agent, pair.node)):
        peer.configure(retransmission=RetransmissionPolicy(tries=25, base=1.2))
        peer.random.seed(1000 * number + seed)
    pair.established()
    held = []
    for _ in range(60):
        if source.random() < 0.8:
            act(source, pair, source.choice((pair.agent, pair.node)))
        deliver_badly(source, pair, held)
        pair.network.now += source.choice((0.05, 0.2, 1.0))
        for peer in (pair.agent, pair.node):
            peer.endpoint.handle_timer(pair.network.now)
    pair.network.advance(pair.network.now + 400)
    ends = [{(sa.initiator_spi, sa.responder_spi): sa for sa in peer.sas()} for peer in (pair.agent, pair.node)]
    assert ends[0].keys() == ends[1].keys()
    for spis, sa in ends[0].items():
        assert sa.is_established
        assert_match(sa, ends[1][spis])
    for peer in (pair.agent, pair.node):
        made = {event.child.inbound_spi for event in peer.events(ChildEstablished)}
        closed = {event.child.inbound_spi for event in peer.events(ChildClosed)}
        assert closed <= made
        assert made - closed == {spi for sa in peer.sas() for spi in sa.children}
