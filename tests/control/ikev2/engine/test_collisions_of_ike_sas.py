"""Exchanges about the IKE SA that cross (RFC 7296 sections 2.8.2 and 2.25.2), each with its sequence chart.

A is the home agent, which has begun the IKE SA, and B the mobile node.
"""

from __future__ import annotations

import pytest

from control.ikev2.events import ChildClosed, ChildEstablished, IkeClosed, IkeRekeyed
from control.ikev2.states import State
from tests.control.ikev2.engine.conftest import current

pytestmark = pytest.mark.collision

LOW, HIGH = 0x10, 0x80


def check_one_is_left(pair, assert_match, children=1):
    """Nothing was closed, both sides agree on the successor, and in the end nothing else is left."""
    pair.network.advance(pair.network.now + 300)
    a, b = current(pair)
    assert_match(a, b)
    assert len(a.children) == children
    assert pair.agent.sas() == [a]
    assert pair.node.sas() == [b]
    for peer in (pair.agent, pair.node):
        assert not peer.events(IkeClosed)
        assert not peer.events(ChildClosed)
    a.create_child(pair.request(name="afterwards"), pair.network.now)
    b.create_child(pair.request(name="afterwards"), pair.network.now)
    pair.network.run()
    assert_match(a, b)
    assert len(a.children) == children + 2
    return a, b


def both_rekey(pair):
    a, b = pair.established()
    a.rekey(pair.network.now)
    b.rekey(pair.network.now)
    return a, b


def both_requests_arrive(pair, next_nonces, nonces, other_nonces):
    """Both rekey, each with a nonce for its request and one for its response. The requests arrive; A's IKE SA."""
    a, b = pair.established()
    next_nonces(pair.agent, nonces)
    next_nonces(pair.node, other_nonces)
    a.rekey(pair.network.now)
    b.rekey(pair.network.now)
    (request,) = pair.network.take(pair.agent)
    (other_request,) = pair.network.take(pair.node)
    pair.network.deliver(request)
    pair.network.deliver(other_request)
    return a


@pytest.mark.parametrize("lowest", range(4))
def test_collision_both_rekey_the_ike_sa(pair, next_nonces, assert_match, lowest):
    """Section 2.8.2: the new SA made with the lowest of the four nonces goes, the other one inherits the children.

    A                                        B
    req1: SA(SPIa1), Ni1, KEi1   -->
                                 <--         req2: SA(SPIb1), Ni2, KEi2
    resp2: SA(SPIa2), Nr2        -->
                                 <--         resp1: SA(SPIb2), Nr1
    (both compare; say Ni1 or Nr1 is the lowest)
    req3: D(), under SPIa1/SPIb2 -->
                                 <--         req4: D(), under the old SA
    """
    a, b = pair.established()
    ni1, nr1, ni2, nr2 = (LOW if position == lowest else HIGH + position for position in range(4))
    next_nonces(pair.agent, [ni1, nr2])
    next_nonces(pair.node, [ni2, nr1])
    a.rekey(pair.network.now)
    b.rekey(pair.network.now)
    pair.network.run()
    a_survives = lowest in (2, 3)
    new_a, new_b = current(pair)
    assert (new_a.role.value == "initiator") is a_survives
    for peer in (pair.agent, pair.node):
        assert len(peer.events(IkeRekeyed)) == 1
        assert peer.endpoint.statistics["ike-rekeying-collisions"] == 1
    # The deletions have gone through at once; nothing had to expire.
    assert {sa.state for sa in (*pair.agent.sas(), *pair.node.sas())} == {State.ESTABLISHED, State.LINGERING}
    assert check_one_is_left(pair, assert_match) == (new_a, new_b)


def test_collision_both_rekey_and_only_one_notices(pair, assert_match):
    """Section 2.8.2, chart: A has finished before B's request reaches it.

    A                                        B
    req1                         -->
                                 <-- (late)  req2
                                 <--         resp1
    req3: D()                    -->
                                 <--         resp3: (), and B forgets req2
    (req2 arrives: A has closed the SA)
    """
    both_rekey(pair)
    (late,) = pair.network.take(pair.node)
    pair.network.run()
    (rekeyed,) = pair.node.events(IkeRekeyed)
    assert rekeyed.successor.role.value == "responder"
    pair.network.deliver(late)
    pair.network.run()
    assert pair.node.endpoint.statistics["retransmissions"] == 0
    check_one_is_left(pair, assert_match)


def test_collision_rekeying_of_an_ike_sa_that_was_rekeyed_and_is_being_closed(pair, assert_match):
    """Section 2.8.2: the peer's request comes while this side is closing the old SA: TEMPORARY_FAILURE.

    A                                        B
    req1                         -->
                                 <-- (late)  req2
                                 <--         resp1
    req3: D()                    --> (late)
    (req2 arrives)
    resp2: N(TEMPORARY_FAILURE)  -->         (B takes the SA of req1)
    (req3 arrives)
                                 <--         resp3: ()
    """
    both_rekey(pair)
    (request,) = pair.network.take(pair.agent)
    (late_request,) = pair.network.take(pair.node)
    pair.network.deliver(request)
    (response,) = pair.network.take(pair.node)
    pair.network.deliver(response)
    (late_deletion,) = pair.network.take(pair.agent)
    pair.network.deliver(late_request)
    assert pair.agent.endpoint.statistics["temporary-failures-answered"] == 1
    (failure,) = pair.network.take(pair.agent)
    pair.network.deliver(failure)
    assert len(pair.node.events(IkeRekeyed)) == 1
    pair.network.deliver(late_deletion)
    check_one_is_left(pair, assert_match)


def test_collision_the_winner_is_used_before_the_loser_has_compared(pair, next_nonces, assert_match):
    """Section 2.8.2: B has compared and uses its own new SA, while its answer to A is late.

    A                                        B
    req1                         -->
                                 <--         req2
    resp2                        -->
                                 <-- (late)  resp1
                                 <-- (lost)  req4: D(), under the old SA
                                 <--         req5: under the SA of req2
    resp5                        -->         (A takes that SA)
    """
    both_requests_arrive(pair, next_nonces, [LOW, HIGH], [HIGH, HIGH])
    (late,) = pair.network.take(pair.node)
    (response,) = pair.network.take(pair.agent)
    pair.network.deliver(response)
    pair.network.take(pair.node)
    (rekeyed,) = pair.node.events(IkeRekeyed)
    (undecided,) = [sa for sa in pair.agent.sas() if sa.state is State.UNDECIDED]
    rekeyed.successor.create_child(pair.request(name="early"), pair.network.now)
    pair.network.run()
    assert undecided.is_established
    pair.network.deliver(late)
    check_one_is_left(pair, assert_match, children=2)


@pytest.mark.parametrize("kind", ["liveness", "deletion of the old SA"])
def test_collision_other_signs_that_the_peer_has_compared(pair, next_nonces, assert_match, kind):
    """Section 2.8.2: B has compared and sends another request under the new SA, or deletes the old one before resp1."""
    both_requests_arrive(pair, next_nonces, [LOW, HIGH], [HIGH, HIGH])
    pair.network.take(pair.node)
    (response,) = pair.network.take(pair.agent)
    pair.network.deliver(response)
    deletions = pair.network.take(pair.node)
    (rekeyed,) = pair.node.events(IkeRekeyed)
    if kind == "liveness":
        rekeyed.successor.probe_liveness(pair.network.now)
    else:
        for deletion in deletions:
            pair.network.deliver(deletion)
    pair.network.run()
    assert len(pair.agent.events(IkeRekeyed)) == 1
    check_one_is_left(pair, assert_match)


def test_collision_the_loser_is_deleted_before_this_side_has_compared(pair, next_nonces, assert_match):
    """Section 2.8.2: B has compared and deletes its own new SA, while its answer to A is late.

    A                                        B
    req1                         -->
                                 <--         req2, lowest nonce
    resp2                        -->
                                 <-- (late)  resp1
                                 <--         req4: D(), under the SA of req2
    resp4                        -->
    (resp1 arrives: A takes its own SA)
    req3: D(), under the old SA  -->
    """
    a = both_requests_arrive(pair, next_nonces, [HIGH, HIGH], [LOW, HIGH])
    (late,) = pair.network.take(pair.node)
    pair.network.run()
    assert not pair.agent.events(IkeRekeyed)
    assert a.is_established
    pair.network.deliver(late)
    pair.network.run()
    assert current(pair)[0].role.value == "initiator"
    check_one_is_left(pair, assert_match)


def test_collision_the_peer_has_finished_and_forgotten_the_old_sa(pair, assert_match):
    """Section 2.8.2: A's request and B's deletion of the old SA are lost for good; the SA of B's request serves on.

    A                                        B
    req1                         --> (lost, and each repetition)
                                 <--         req2
    resp2                        -->
                                 <-- (lost)  req3: D()
    """
    both_rekey(pair)
    pair.network.take(pair.agent)
    (request,) = pair.network.take(pair.node)
    pair.network.deliver(request)
    (response,) = pair.network.take(pair.agent)
    pair.network.deliver(response)
    pair.network.keep = lambda datagram: False
    pair.network.advance(pair.network.now + 100)
    pair.network.keep = lambda datagram: True
    assert len(pair.agent.events(IkeRekeyed)) == len(pair.node.events(IkeRekeyed)) == 1
    check_one_is_left(pair, assert_match)


def test_collision_both_rekey_and_one_closes(pair):
    """Section 2.25.2: both have answered when A's application closes the IKE SA: all three SAs go, on both sides.

    A                                        B
    req1                         -->
                                 <--         req2
    resp2                        -->
    (A's application deletes the IKE SA)
                                 <--         resp1
    req3, req4: D(), under the new SAs; req5: D() under the old one
    """
    a, _ = both_rekey(pair)
    for datagram in pair.network.gather():
        pair.network.deliver(datagram)
    a.delete(pair.network.now)
    pair.network.advance(pair.network.now + 300)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["deleted"]
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["deleted-by-peer"]
    assert len(pair.node.events(ChildClosed)) == len(pair.node.events(ChildEstablished)) == 1
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)


def test_collision_the_peers_new_sa_is_used_while_this_side_closes_the_old_one(pair):
    """Sections 2.8.2 and 2.25.2: what A closes is not taken up again, and the SA of B's request goes with it.

    A                                        B
    req1: rekey the IKE SA       --> (lost)
                                 <--         req2: rekey the IKE SA
    resp2                        -->
    (A is told to close the IKE SA)
                                 <--         req3: () under the SA of req2
    resp3: () under it           -->
                                 <--         req4: D() under the old SA
    resp4: () under it           -->
    req5: D() under that of req2 -->
    """
    a, b = pair.established()
    a.rekey(pair.network.now)
    pair.network.take(pair.agent)
    b.rekey(pair.network.now)
    pair.network.deliver(pair.network.take(pair.node)[0])
    (response,) = pair.network.take(pair.agent)
    a.delete(pair.network.now)
    pair.network.deliver(response)
    late = pair.network.take(pair.node)
    (rekeyed,) = pair.node.events(IkeRekeyed)
    rekeyed.successor.probe_liveness(pair.network.now)
    (probe,) = pair.network.take(pair.node)
    pair.network.deliver(probe)
    for datagram in late:
        pair.network.deliver(datagram)
    pair.network.advance(pair.network.now + 100)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["deleted"]
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["deleted-by-peer"]
    assert not pair.agent.events(IkeRekeyed)
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)


@pytest.mark.parametrize("what", ["create", "rekey"])
def test_collision_a_child_is_asked_for_while_the_ike_sa_is_rekeyed(pair, assert_match, what):
    """Section 2.25.2: TEMPORARY_FAILURE; it is tried again under the new SA.

    A                                        B
    req1: rekey the IKE SA       --> (late)
                                 <--         req2: create or rekey a child
    resp2: N(TEMPORARY_FAILURE)  -->
    (req1 arrives)
                                 <--         resp1
    req3: D()                    -->
    (B waits)
                                 <--         req4: create or rekey a child, under the new SA
    """
    a, b = pair.established()
    a.rekey(pair.network.now)
    (late,) = pair.network.take(pair.agent)
    if what == "create":
        b.create_child(pair.request(name="second"), pair.network.now)
    else:
        b.rekey_child(next(iter(b.children)), pair.network.now)
    pair.network.run()
    assert pair.agent.endpoint.statistics["temporary-failures-answered"] == 1
    pair.network.deliver(late)
    pair.network.advance(pair.network.now + 30)
    assert_match(*current(pair))
    assert len(pair.node.events(ChildEstablished)) == len(pair.agent.events(ChildEstablished)) == 2
    assert len(current(pair)[0].children) == (2 if what == "create" else 1)


def test_collision_a_child_is_deleted_while_the_ike_sa_is_rekeyed(pair, assert_match):
    """Section 2.25.2: the deletion is answered as usual; the rekeying waits, as B is busy with a child.

    A                                        B
    req1: rekey the IKE SA       --> (late)
                                 <--         req2: D(SPIb1)
    (req1 arrives)
                                 <--         resp1: N(TEMPORARY_FAILURE)
    resp2: D(SPIa1)              -->
    """
    a, b = pair.established()
    a.rekey(pair.network.now)
    (late,) = pair.network.take(pair.agent)
    b.delete_child(next(iter(b.children)), pair.network.now)
    (deletion,) = pair.network.take(pair.node)
    pair.network.deliver(late)
    pair.network.deliver(deletion)
    pair.network.advance(pair.network.now + 30)
    assert [event.reason for event in pair.agent.events(ChildClosed)] == ["deleted-by-peer"]
    assert_match(*current(pair))
    assert len(pair.agent.events(IkeRekeyed)) == 1
    assert not current(pair)[0].children
