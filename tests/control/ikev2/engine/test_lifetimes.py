"""When SAs are rekeyed by themselves, and what happens when that does not succeed (RFC 7296 section 2.8)."""

from __future__ import annotations

import pytest

from control.ikev2 import reception
from control.ikev2.events import ChildClosed, ChildEstablished, IkeClosed, IkeRekeyed
from control.ikev2.numbers import ExchangeType, NotifyType
from control.ikev2.payloads import NotifyPayload
from control.ikev2.policy import LifetimePolicy
from control.ikev2.states import State


def configure(pair, **lifetimes):
    pair.agent.configure(lifetimes=LifetimePolicy(**{"ike_s": 0.0, "child_s": 0.0, **lifetimes}))


def test_the_defaults_are_four_hours_and_one():
    assert (LifetimePolicy().ike_s, LifetimePolicy().child_s) == (14400.0, 3600.0)


def test_with_zero_nothing_is_rekeyed(pair):
    configure(pair)
    sa, _ = pair.established()
    assert pair.agent.endpoint.next_timer() is None
    assert sa.lifetimes.ike is None
    assert not sa.lifetimes.children


@pytest.mark.parametrize("what", ["ike", "child"])
def test_the_time_is_shortened_at_random(pair, what):
    configure(pair, jitter=0.2, **{f"{what}_s": 1000.0})
    times = set()
    for _ in range(40):
        sa, _ = pair.established()
        (lifetime,) = [sa.lifetimes.ike] if what == "ike" else sa.lifetimes.children.values()
        times.add(lifetime.rekey_at - pair.network.now)
        assert lifetime.expires_at == pair.network.now + 1100.0
    assert 800.0 < min(times) < 830.0
    assert 970.0 < max(times) <= 1000.0
    assert pair.agent.endpoint.next_timer() == pair.network.now + min(times)


def test_a_child_is_rekeyed_when_its_time_comes_and_again(pair, assert_match):
    configure(pair, child_s=100.0)
    sa, other = pair.established()
    started = pair.network.now
    pair.network.advance(started + 79)
    assert len(pair.agent.events(ChildEstablished)) == 1
    pair.network.advance(started + 101)
    assert len(pair.agent.events(ChildEstablished)) == 2
    pair.network.advance(started + 1000)
    assert 9 <= len(pair.agent.events(ChildEstablished)) - 1 <= 12
    assert_match(sa, other)
    assert len(sa.children) == len(sa.lifetimes.children) == 1


def test_the_ike_sa_is_rekeyed_when_its_time_comes_and_again(pair):
    configure(pair, ike_s=100.0)
    pair.established()
    started = pair.network.now
    pair.network.advance(started + 79)
    assert not pair.agent.events(IkeRekeyed)
    pair.network.advance(started + 1000)
    assert 9 <= len(pair.agent.events(IkeRekeyed)) <= 12


def test_the_lifetimes_of_children_go_on_under_the_new_ike_sa(pair):
    configure(pair, ike_s=150.0, child_s=200.0, jitter=0.0)
    sa, _ = pair.established()
    started = pair.network.now
    pair.network.advance(started + 151)
    (successor,) = pair.agent.endpoint.sas_with(pair.node.identity)
    assert successor is not sa
    assert [lifetime.rekey_at for lifetime in successor.lifetimes.children.values()] == [started + 200]
    pair.network.advance(started + 201)
    assert len(pair.agent.events(ChildEstablished)) == 2


def test_who_has_the_shorter_lifetimes_rekeys(pair):
    configure(pair, child_s=100.0)
    pair.node.configure(lifetimes=LifetimePolicy(ike_s=0.0, child_s=300.0))
    pair.established()
    pair.network.advance(pair.network.now + 1000)
    assert all(event.child.initiated for event in pair.agent.events(ChildEstablished))


@pytest.mark.parametrize("refusal", [NotifyType.NO_ADDITIONAL_SAS, NotifyType.NO_PROPOSAL_CHOSEN])
@pytest.mark.parametrize("what", ["ike", "child"])
def test_what_is_never_rekeyed_ends_with_the_ike_sa(pair, monkeypatch, refusal, what):
    """Section 2.8: if rekeying fails, the IKE SA and its children must be closed."""
    configure(pair, jitter=0.0, **{f"{what}_s": 1000.0})
    pair.established()
    started = pair.network.now
    monkeypatch.setitem(
        reception._ANSWERS,
        (State.ESTABLISHED, ExchangeType.CREATE_CHILD_SA),
        lambda sa, payloads, now: (NotifyPayload(refusal),),
    )
    pair.network.advance(started + 1099)
    assert not pair.agent.events(IkeClosed)
    attempts = pair.agent.endpoint.statistics["sent-create-child-sa-request"]
    assert attempts in (1, 2)
    pair.network.advance(started + 1101)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["expired"]
    assert [event.reason for event in pair.agent.events(ChildClosed)] == ["ike-closed"]
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["deleted-by-peer"]


def test_a_replaced_child_that_the_peer_never_deletes_is_closed_when_it_expires(pair):
    configure(pair, child_s=1000.0, jitter=0.0)
    sa, other = pair.established()
    old = next(iter(sa.children))
    other.rekey_child(next(iter(other.children)), pair.network.now)
    (request,) = pair.network.take(pair.node)
    pair.network.deliver(request)
    pair.network.take(pair.agent)
    # The node never hears of it, and never deletes the old one.
    other.exchanges.end_current()
    started = pair.network.now
    pair.network.keep = lambda datagram: False
    pair.network.advance(started + 999)
    assert old in sa.children
    assert old in sa.superseded
    pair.network.advance(started + 1101)
    assert ("rekeyed", old) in [(event.reason, event.child.inbound_spi) for event in pair.agent.events(ChildClosed)]
