"""Exchanges about child SAs that cross (RFC 7296 sections 2.8.1 and 2.25.1), each with its sequence chart.

A is the home agent, which has begun the IKE SA, and B the mobile node.
"""

from __future__ import annotations

import itertools

import pytest

from control.ikev2.events import ChildClosed, ChildEstablished, ChildFailed, IkeClosed

pytestmark = pytest.mark.collision

LOW, HIGH = 0x10, 0x80


def only_child(sa):
    (child,) = sa.children.values()
    return child


def closings(peer):
    return [(event.child.inbound_spi, event.reason) for event in peer.events(ChildClosed)]


def rekey_from_both_sides(pair):
    a, b = pair.established()
    old_a, old_b = only_child(a), only_child(b)
    a.rekey_child(old_a, pair.network.now)
    b.rekey_child(old_b, pair.network.now)
    return a, b, old_a, old_b


@pytest.mark.parametrize("lowest", range(4))
def test_collision_both_rekey_the_same_child(pair, next_nonces, assert_match, lowest):
    """Section 2.8.1, first chart: the pair made with the lowest of the four nonces is closed by who asked for it.

    A                                        B
    req1: N(REKEY_SA,SPIa1), Ni1 -->
                                 <--         req2: N(REKEY_SA,SPIb1), Ni2
    (both answer as usual)
    resp2: Nr2                   -->
                                 <--         resp1: Nr1
    (both compare; say Ni1 or Nr1 is the lowest: A closes the pair of req1, B the old one)
    req3: D(SPIa2)               -->
                                 <--         req4: D(SPIb1)
                                 <--         resp3: D(SPIb3)
    resp4: D(SPIa1)              -->
    """
    a, b = pair.established()
    old_a, old_b = only_child(a), only_child(b)
    ni1, nr1, ni2, nr2 = (LOW if position == lowest else HIGH + position for position in range(4))
    next_nonces(pair.agent, [ni1, nr2])
    next_nonces(pair.node, [ni2, nr1])
    a.rekey_child(old_a, pair.network.now)
    b.rekey_child(old_b, pair.network.now)
    pair.network.run()
    assert_match(a, b)
    a_survives = lowest in (2, 3)
    assert only_child(a).initiated is a_survives
    assert only_child(b).initiated is not a_survives
    assert (old_a.inbound_spi, "rekeyed") in closings(pair.agent)
    assert (old_b.inbound_spi, "rekeyed") in closings(pair.node)
    # Who loses never puts its own pair to work; the other side had to, as it cannot know.
    winner, loser = (pair.agent, pair.node) if a_survives else (pair.node, pair.agent)
    assert len(winner.events(ChildEstablished)) == 3
    assert [reason for _, reason in closings(winner)] == ["rekeyed", "rekeyed"]
    assert len(loser.events(ChildEstablished)) == 2
    assert [reason for _, reason in closings(loser)] == ["rekeyed"]
    for peer in (pair.agent, pair.node):
        assert peer.endpoint.statistics["child-rekeying-collisions"] == 1
        assert not peer.events(IkeClosed)


def test_collision_both_rekey_and_only_one_notices(pair, assert_match):
    """Section 2.8.1, second chart: A's request is lost, and B has finished before it comes again.

    A                                        B
    req1: N(REKEY_SA,SPIa1)      --> (lost)
                                 <--         req2: N(REKEY_SA,SPIb1)
    resp2                        -->
                                 <--         req3: D(SPIb1)
    resp3: D(SPIa1)              -->
    resend req1                  -->
                                 <--         resp1: N(CHILD_SA_NOT_FOUND)
    (A knows of the collision and ignores the error)
    """
    a, b, old_a, old_b = rekey_from_both_sides(pair)
    (lost,) = pair.network.take(pair.agent)
    pair.network.run()
    assert closings(pair.agent) == [(old_a.inbound_spi, "rekeyed")]
    assert closings(pair.node) == [(old_b.inbound_spi, "rekeyed")]
    pair.network.deliver(lost)
    pair.network.run()
    assert pair.node.endpoint.statistics["refused-child-sa-not-found"] == 1
    assert_match(a, b)
    assert only_child(b).initiated
    assert len(pair.agent.events(ChildEstablished)) == len(pair.node.events(ChildEstablished)) == 2


def test_collision_both_rekey_and_the_error_overtakes_the_deletion(pair, assert_match):
    """Section 2.8.1, second chart: A's request comes again while B is closing the old child.

    A                                        B
    req1: N(REKEY_SA,SPIa1)      --> (late)
                                 <--         req2: N(REKEY_SA,SPIb1)
    resp2                        -->
                                 <-- (late)  req3: D(SPIb1)
    (req1 arrives)
                                 <--         resp1: N(TEMPORARY_FAILURE), as B is closing it
    (req3 arrives)
    resp3: D(SPIa1)              -->
    """
    a, b, _, _ = rekey_from_both_sides(pair)
    (late_request,) = pair.network.take(pair.agent)
    (request,) = pair.network.take(pair.node)
    pair.network.deliver(request)
    (response,) = pair.network.take(pair.agent)
    pair.network.deliver(response)
    (late_deletion,) = pair.network.take(pair.node)
    pair.network.deliver(late_request)
    (failure,) = pair.network.take(pair.node)
    pair.network.deliver(failure)
    assert pair.agent.endpoint.statistics["child-rekeying-failed-temporary-failure"] == 1
    pair.network.deliver(late_deletion)
    pair.network.advance(pair.network.now + 60)
    assert_match(a, b)
    assert len(pair.agent.events(ChildEstablished)) == 2


def test_collision_both_rekey_and_the_redundant_pair_goes_before_this_side_has_compared(
    pair, next_nonces, assert_match
):
    """Section 2.8.1: B compares first, finds its own pair redundant and closes it, while B's answer to A is late.

    A                                        B
    req1: N(REKEY_SA,SPIa1)      -->
                                 <--         req2: N(REKEY_SA,SPIb1), lowest nonce
    resp2                        -->
                                 <-- (late)  resp1
                                 <--         req4: D(SPIb2)
    resp4: D(SPIa3)              -->
    (resp1 arrives: nothing is left to compare with)
    req3: D(SPIa1)               -->
                                 <--         resp3: D(SPIb1)
    """
    a, b = pair.established()
    next_nonces(pair.agent, [HIGH, HIGH])
    next_nonces(pair.node, [LOW, HIGH])
    a.rekey_child(only_child(a), pair.network.now)
    b.rekey_child(only_child(b), pair.network.now)
    (request,) = pair.network.take(pair.agent)
    (other_request,) = pair.network.take(pair.node)
    pair.network.deliver(request)
    pair.network.deliver(other_request)
    (late,) = pair.network.take(pair.node)
    pair.network.run()
    assert len(a.children) == 1
    pair.network.deliver(late)
    pair.network.run()
    assert_match(a, b)
    assert only_child(a).initiated
    assert {reason for _, reason in closings(pair.agent)} <= {"rekeyed", "deleted-by-peer"}


def test_collision_rekeying_of_a_child_that_the_peer_is_closing(pair):
    """Section 2.25.1: the answer is TEMPORARY_FAILURE, and the deletion goes its way.

    A                                        B
    req1: D(SPIa1)               --> (late)
                                 <--         req2: N(REKEY_SA,SPIb1)
    resp2: N(TEMPORARY_FAILURE)  -->
    (req1 arrives)
                                 <--         resp1: D(SPIb1), as usual
    (B has nothing left to rekey)
    """
    a, b = pair.established()
    a.delete_child(only_child(a), pair.network.now)
    (deletion,) = pair.network.take(pair.agent)
    b.rekey_child(only_child(b), pair.network.now)
    pair.network.run()
    assert pair.agent.endpoint.statistics["temporary-failures-answered"] == 1
    assert pair.node.endpoint.statistics["child-rekeying-failed-temporary-failure"] == 1
    pair.network.deliver(deletion)
    pair.network.advance(pair.network.now + 60)
    assert not a.children
    assert not b.children
    assert [reason for _, reason in closings(pair.node)] == ["deleted-by-peer"]
    assert a.is_established
    assert b.is_established


def test_collision_deletion_of_a_child_that_this_side_is_rekeying(pair):
    """Section 2.25.1: the deletion is answered as usual, and nothing is rekeyed.

    A                                        B
                                 <-- (late)  req2: D(SPIb1)
    req1: N(REKEY_SA,SPIa1)      -->
                                 <--         resp1: N(TEMPORARY_FAILURE)   (late)
    (req2 arrives)
    resp2: D(SPIa1)              -->
    (resp1 arrives)
    """
    a, b = pair.established()
    old = only_child(a)
    b.delete_child(only_child(b), pair.network.now)
    (deletion,) = pair.network.take(pair.node)
    a.rekey_child(old, pair.network.now)
    (request,) = pair.network.take(pair.agent)
    pair.network.deliver(request)
    (failure,) = pair.network.take(pair.node)
    pair.network.deliver(deletion)
    assert closings(pair.agent) == [(old.inbound_spi, "deleted-by-peer")]
    pair.network.deliver(failure)
    pair.network.advance(pair.network.now + 60)
    assert not a.children
    assert not b.children
    assert len(pair.agent.events(ChildEstablished)) == 1


def test_collision_both_close_the_same_child(pair):
    """Sections 1.4.1 and 2.25.1: both answer without a Delete payload.

    A                                        B
    req1: D(SPIa1)               -->
                                 <--         req2: D(SPIb1)
    resp2: ()                    -->
                                 <--         resp1: ()
    """
    a, b = pair.established()
    a.delete_child(only_child(a), pair.network.now)
    b.delete_child(only_child(b), pair.network.now)
    pair.network.run()
    assert [reason for _, reason in closings(pair.agent)] == ["deleted"]
    assert [reason for _, reason in closings(pair.node)] == ["deleted"]
    assert a.is_established
    assert b.is_established


def test_collision_both_close_the_same_replaced_child(pair, assert_match):
    """Section 2.25.1: A has rekeyed and closes the old child; B's application closes it at the same time.

    A                                        B
    req1: N(REKEY_SA,SPIa1)      -->
                                 <--         resp1
    req3: D(SPIa1)               --> (late)
                                 <--         req2: D(SPIb1)
    resp2: ()                    -->
    (req3 arrives)
                                 <--         resp3: ()
    """
    a, b = pair.established()
    old_a, old_b = only_child(a), only_child(b)
    a.rekey_child(old_a, pair.network.now)
    for peer in (pair.agent, pair.node):
        (datagram,) = pair.network.take(peer)
        pair.network.deliver(datagram)
    (late,) = pair.network.take(pair.agent)
    b.delete_child(old_b, pair.network.now)
    (deletion,) = pair.network.take(pair.node)
    pair.network.deliver(deletion)
    assert closings(pair.agent) == [(old_a.inbound_spi, "rekeyed")]
    (response,) = pair.network.take(pair.agent)
    _, sealed = response.data[:32], response.data[32:]
    pair.network.deliver(late)
    pair.network.deliver(response)
    pair.network.run()
    # An empty body: only IV, padding length and integrity check.
    assert len(sealed) == b.cipher.body_size(0)
    assert_match(a, b)
    assert closings(pair.node) == [(old_b.inbound_spi, "rekeyed")]


def test_collision_deletion_of_a_child_that_does_not_exist(pair):
    """Section 2.25.1: it is answered without a Delete payload.

    A                                        B
    req1: D(SPIa1)               -->         (B has lost the child)
                                 <--         resp1: ()
    """
    a, b = pair.established()
    b.remove_child(only_child(b).inbound_spi, "lost")
    a.delete_child(only_child(a), pair.network.now)
    pair.network.run()
    assert a.is_established
    assert not pair.agent.events(IkeClosed)
    assert len(closings(pair.agent)) == 1


def test_collision_the_application_closes_a_child_while_it_is_rekeyed(pair):
    """Section 2.25.1: what comes of the rekeying is closed as well.

    A                                        B
    req1: N(REKEY_SA,SPIa1)      -->
    (A's application closes the child; D(SPIa1) waits for the window)
                                 <--         resp1: SPIb2
    req3: D(SPIa1)               -->
                                 <--         resp3: D(SPIb1)
    req5: D(SPIa2)               -->
                                 <--         resp5: D(SPIb2)
    """
    a, b = pair.established()
    a.rekey_child(only_child(a), pair.network.now)
    a.delete_child(only_child(a), pair.network.now)
    pair.network.run()
    assert not a.children
    assert not b.children
    assert len(pair.agent.events(ChildEstablished)) == 1


@pytest.mark.parametrize("what", ["create", "rekey"])
def test_collision_deletion_of_a_child_that_this_side_has_not_heard_of(pair, assert_match, what):
    """Section 2.25.1: the deletion of what B has made overtakes B's answer.

    A                                        B
    req1: create or rekey        -->
                                 <-- (late)  resp1: SPIb2
                                 <--         req2: D(SPIb2)
    resp2: ()                    -->
    (resp1 arrives: nothing is left of it)
    """
    a, b = pair.established()
    old = only_child(a)
    if what == "create":
        a.create_child(pair.request(name="second"), pair.network.now)
    else:
        a.rekey_child(old, pair.network.now)
    (request,) = pair.network.take(pair.agent)
    pair.network.deliver(request)
    (late,) = pair.network.take(pair.node)
    b.delete_child(list(b.children)[-1], pair.network.now)
    pair.network.run()
    pair.network.deliver(late)
    pair.network.run()
    assert_match(a, b)
    assert only_child(a) is old
    failed = [(event.name, event.reason) for event in pair.agent.events(ChildFailed)]
    assert failed == ([("second", "deleted-by-peer")] if what == "create" else [])


def test_collision_deletion_of_a_child_that_this_side_has_not_heard_of_and_of_another_one(pair, assert_match):
    """Section 2.25.1: a second deletion does not make A forget the first one.

    A                                        B
    req1: create                 -->
                                 <-- (late)  resp1: SPIb2
                                 <--         req2: D(SPIb2)
    resp2: ()                    -->
                                 <--         req3: D(SPIb1)
    resp3: D(SPIa1)              -->
    (resp1 arrives: nothing is left of it)
    """
    a, b = pair.established()
    a.create_child(pair.request(name="second"), pair.network.now)
    (request,) = pair.network.take(pair.agent)
    pair.network.deliver(request)
    (late,) = pair.network.take(pair.node)
    for spi in reversed(list(b.children)):
        b.delete_child(spi, pair.network.now)
        pair.network.run()
    pair.network.deliver(late)
    pair.network.run()
    assert_match(a, b)
    assert not a.children


def test_collision_rekeying_of_a_child_that_this_side_has_not_heard_of(pair, assert_match):
    """Section 2.25.1: B rekeys what it has just made before its answer arrives.

    A                                        B
    req1: create a child         -->
                                 <-- (late)  resp1: SPIb2
                                 <--         req2: N(REKEY_SA,SPIb2)
    resp2: N(TEMPORARY_FAILURE)  -->
    (resp1 arrives; B waits)
                                 <--         req3: N(REKEY_SA,SPIb2)
    """
    a, b = pair.established()
    a.create_child(pair.request(name="second"), pair.network.now)
    (request,) = pair.network.take(pair.agent)
    pair.network.deliver(request)
    (late,) = pair.network.take(pair.node)
    b.rekey_child(list(b.children)[-1], pair.network.now)
    pair.network.run()
    pair.network.deliver(late)
    pair.network.advance(pair.network.now + 30)
    assert_match(a, b)
    assert len(a.children) == 2
    assert [event.replaces is not None for event in pair.node.events(ChildEstablished)] == [False, False, True]


@pytest.mark.parametrize("first", ["create", "rekey", "delete"])
def test_collision_rekeying_of_the_ike_sa_while_the_peer_is_busy_with_a_child(pair, assert_match, first):
    """Section 2.25.1: TEMPORARY_FAILURE to the one, and (2.25.2) to the other; both succeed later.

    A                                        B
    req1: create, rekey or D()   -->
                                 <--         req2: rekey the IKE SA
    resp2: N(TEMPORARY_FAILURE)  -->
                                 <--         resp1: N(TEMPORARY_FAILURE), to a deletion as usual
    (both wait)
    req3                         -->
                                 <--         resp3
                                 <--         req4: rekey the IKE SA
    resp4                        -->
    """
    a, b = pair.established()
    a.create_child(pair.request(name="second"), pair.network.now)
    pair.network.run()
    if first == "create":
        a.create_child(pair.request(name="third"), pair.network.now)
    elif first == "rekey":
        a.rekey_child(next(iter(a.children)), pair.network.now)
    else:
        a.delete_child(next(iter(a.children)), pair.network.now)
    b.rekey(pair.network.now)
    pair.network.run()
    assert pair.agent.endpoint.statistics["temporary-failures-answered"] == 1
    assert pair.node.endpoint.statistics["ike-rekeying-failed-temporary-failure"] == 1
    pair.network.advance(pair.network.now + 60)
    (new_a,) = pair.agent.endpoint.sas_with(pair.node.identity)
    (new_b,) = pair.node.endpoint.sas_with(pair.agent.identity)
    assert_match(new_a, new_b)
    expected = {"create": 3, "rekey": 2, "delete": 1}
    assert len(new_a.children) == expected[first]


def test_temporary_failures_for_minutes_close_the_ike_sa(pair):
    """Section 2.25: the state of the two sides is out of step.

    A                                        B
    req: create a child          -->
                                 <--         N(TEMPORARY_FAILURE)
    (waits; again and again for five minutes)
    req: D()                     -->
    """
    a, b = pair.established()
    a.create_child(pair.request(name="never"), pair.network.now)
    started = pair.network.now
    b.rekeying = _Forever()
    pair.network.advance(started + 290)
    assert a.is_established
    assert not pair.agent.events(IkeClosed)
    sent = pair.agent.endpoint.statistics["sent-create-child-sa-request"]
    assert 290 / 10 <= sent <= 290 / 5 + 1
    pair.network.advance(started + 400)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["out-of-sync"]
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["deleted-by-peer"]


class _Forever:
    """A rekeying that never comes to an end."""

    has_rival = False

    def drop(self, now):
        pass


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("seed", range(8))
def test_crossing_exchanges_in_any_order_leave_both_sides_with_the_same_children(pair, assert_match, order, seed):
    """Section 2.25: rekeying, creation and deletion from both sides at once: the two sides agree in the end."""
    pair.agent.random.seed(seed)
    pair.node.random.seed(seed + 100)
    a, b = pair.established()
    for name in ("second", "third"):
        a.create_child(pair.request(name=name), pair.network.now)
    pair.network.run()
    spis = list(a.children)
    actions = [
        lambda sa, spi: sa.rekey_child(spi, pair.network.now),
        lambda sa, spi: sa.create_child(pair.request(name="more"), pair.network.now),
        lambda sa, spi: sa.delete_child(spi, pair.network.now),
    ]
    twins = {child.outbound_spi: child.inbound_spi for child in b.children.values()}
    for position, action in enumerate(order):
        actions[action](a, spis[position])
        actions[order[(position + seed) % 3]](b, twins[spis[(position + seed // 3) % 3]])
    pair.network.advance(pair.network.now + 120)
    assert_match(a, b)
    assert not a.superseded
    assert not b.superseded
