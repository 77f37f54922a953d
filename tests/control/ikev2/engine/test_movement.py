"""One side of an IKE SA has another address: where its messages go from then on."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from msgspec.structs import replace

from control.ikev2.address import SocketAddress
from control.ikev2.events import IkeClosed, PeerAlive

NEW = SocketAddress(IPv6Address("2001:db8:c9::9"))


def relocate(pair):
    """The node is reached at another address only."""
    pair.network.peers[NEW] = pair.network.peers.pop(pair.node.address)
    pair.node.address = NEW


def test_requests_go_to_the_new_address(pair):
    agent, node = pair.established()
    relocate(pair)
    assert agent.move(pair.network.now, remote=NEW)
    assert node.move(pair.network.now, local=NEW)
    pair.network.carried.clear()
    for sa in (agent, node):
        sa.probe_liveness(pair.network.now)
    pair.network.run()
    assert pair.agent.events(PeerAlive)
    assert pair.node.events(PeerAlive)
    assert {pair.agent.address, NEW} == {end for each in pair.network.carried for end in (each.local, each.remote)}


def test_nothing_happens_where_nothing_changes(pair):
    agent, _ = pair.established()
    agent.probe_liveness(pair.network.now)
    pair.network.take(pair.agent)
    assert not agent.move(pair.network.now, remote=agent.remote)
    assert not pair.network.take(pair.agent)


def test_the_request_under_way_is_sent_to_the_new_address_at_once(pair):
    agent, _ = pair.established()
    agent.probe_liveness(pair.network.now)
    (lost,) = pair.network.take(pair.agent)
    agent.move(pair.network.now, remote=NEW)
    (again,) = pair.network.take(pair.agent)
    assert again == replace(lost, remote=NEW)


def test_the_new_address_gets_all_tries(pair):
    agent, _ = pair.established()
    agent.probe_liveness(pair.network.now)
    for _ in range(3):
        pair.network.now = pair.agent.endpoint.next_timer()
        pair.agent.endpoint.handle_timer(pair.network.now)
    assert len(pair.network.take(pair.agent)) == 4
    agent.move(pair.network.now, remote=NEW)
    sent = 0
    while not pair.agent.events(IkeClosed):
        sent += len(pair.network.take(pair.agent))
        pair.network.now = pair.agent.endpoint.next_timer()
        pair.agent.endpoint.handle_timer(pair.network.now)
    assert sent == pair.agent.configuration.retransmission.tries - 1


@pytest.mark.parametrize("by_agent", [True, False])
def test_an_ike_sa_that_is_rekeyed_meanwhile_follows_as_well(pair, by_agent):
    agent, node = pair.established()
    rekeying = agent if by_agent else node
    rekeying.rekey(pair.network.now)
    pair.network.gather()  # lost
    relocate(pair)
    agent.move(pair.network.now, remote=NEW)
    node.move(pair.network.now, local=NEW)
    pair.network.run()
    (new_agent,) = [sa for sa in pair.agent.sas() if sa.is_established]
    (new_node,) = [sa for sa in pair.node.sas() if sa.is_established]
    assert new_agent is not agent
    assert (new_agent.remote, new_node.local) == (NEW, NEW)


def test_an_answer_goes_to_where_the_request_came_from_and_moves_nothing(pair):
    agent, node = pair.established()
    relocate(pair)
    node.move(pair.network.now, local=NEW)
    node.probe_liveness(pair.network.now)
    pair.network.run()
    assert pair.node.events(PeerAlive)
    assert agent.remote != NEW, "only a protected message that says so may move it"
