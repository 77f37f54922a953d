"""An IKE SA is closed while the peer closes or rekeys it (RFC 7296 section 2.25.2), each with its sequence chart.

A is the home agent, which has begun the IKE SA, and B the mobile node.
"""

from __future__ import annotations

import pytest

from control.ikev2.events import ChildClosed, IkeClosed, IkeRekeyed

pytestmark = pytest.mark.collision


def test_collision_rekeying_of_an_ike_sa_that_the_peer_is_closing(pair):
    """Section 2.25.2: TEMPORARY_FAILURE, and the deletion goes its way.

    A                                        B
    req1: D()                    --> (late)
                                 <--         req2: rekey the IKE SA
    resp2: N(TEMPORARY_FAILURE)  -->
    (req1 arrives)
                                 <--         resp1: ()
    """
    a, b = pair.established()
    a.delete(pair.network.now)
    (deletion,) = pair.network.take(pair.agent)
    b.rekey(pair.network.now)
    pair.network.run()
    assert pair.agent.endpoint.statistics["temporary-failures-answered"] == 1
    pair.network.deliver(deletion)
    pair.network.advance(pair.network.now + 60)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["deleted"]
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["deleted-by-peer"]
    assert not pair.node.events(IkeRekeyed)
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)


def test_collision_closing_of_an_ike_sa_that_this_side_is_rekeying(pair):
    """Section 2.25.2: it is closed as usual, and the own request forgotten.

    A                                        B
    req1: rekey the IKE SA       --> (late)
                                 <--         req2: D()
    resp2: ()                    -->
    """
    a, b = pair.established()
    a.rekey(pair.network.now)
    (late,) = pair.network.take(pair.agent)
    b.delete(pair.network.now)
    pair.network.run()
    pair.network.deliver(late)
    pair.network.advance(pair.network.now + 60)
    assert [event.reason for event in pair.agent.events(IkeClosed)] == ["deleted-by-peer"]
    assert [event.reason for event in pair.node.events(IkeClosed)] == ["deleted"]
    assert len(pair.agent.events(ChildClosed)) == 1
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)


def test_collision_both_close_the_ike_sa(pair):
    """Section 2.25.2: both answer as usual and forget their own request.

    A                                        B
    req1: D()                    -->
                                 <--         req2: D()
    resp2: ()                    -->
                                 <--         resp1: ()
    """
    a, b = pair.established()
    a.delete(pair.network.now)
    b.delete(pair.network.now)
    pair.network.run()
    for peer in (pair.agent, pair.node):
        assert [event.reason for event in peer.events(IkeClosed)] == ["deleted"]
    pair.network.advance(pair.network.now + 60)
    assert (len(pair.agent.endpoint), len(pair.node.endpoint)) == (0, 0)
