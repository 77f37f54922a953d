"""A home agent whose IKEv2 is done by workers, and real mobile nodes, in memory."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv6Address

import pytest

from control.daemon.restart import renewals
from control.ike_workers.messages import Abandon, Configure, Delete, Describe, Rekeyed
from control.ike_workers.remote_endpoint import WORKER_LOST
from control.ike_workers.steering import worker_of
from control.ikev2.policy import LifetimePolicy
from control.mobile_node.events import RegistrationFailed

NODES = 6


@pytest.fixture
def scene(make_scene):
    scene = make_scene(NODES, workers=3)
    scene.register_all()
    return scene


def workers_of(agent):
    return [sa.worker for sa in agent.sessions]


def own_spi(sa):
    return sa.initiator_spi if sa.role.value == "initiator" else sa.responder_spi


def settle(scene, seconds=1.0):
    scene.network.run(lambda: False, seconds=seconds)


def test_ike_sas_that_nodes_begin_are_where_their_spis_say(scene):
    assert len(set(workers_of(scene.ha1))) > 1
    for sa in scene.ha1.sessions:
        assert worker_of(own_spi(sa), 3) == sa.worker
        assert {spi % 3 for spi in sa.children} == {sa.worker}


def test_a_takeover_takes_all_workers_in_turn(scene):
    to_recover = scene.to_recover()
    scene.fail_first()
    scene.ha2.recover(to_recover, scene.network.now)
    assert scene.network.run(lambda: scene.ha2.takeover.progress(scene.network.now).recovered == NODES)
    assert sorted(workers_of(scene.ha2)) == [0, 0, 1, 1, 2, 2]
    assert scene.ha2.endpoint.statistics["established"] == NODES
    assert scene.ha2.endpoint.statistics["retransmissions"] == 0


def test_the_nodes_of_a_killed_worker_get_new_ike_sas_and_keep_their_bindings(scene):
    agent, network = scene.ha1, scene.network
    cache = agent.registrations.rules.cache
    before = {str(sa.remote_identity): own_spi(sa) for sa in agent.sessions}
    victim = workers_of(agent)[0]
    expected = {str(sa.remote_identity) for sa in agent.sessions if sa.worker == victim}
    established = agent.endpoint.statistics["established"]
    bereft = agent.endpoint.kill(victim)
    assert set(bereft) == expected
    agent.process_ike_events(network.now)
    assert set(before) - {str(sa.remote_identity) for sa in agent.sessions} == expected
    assert len(agent.sessions._signalling._ipsec) == NODES - len(expected)
    assert len(cache.bindings()) == NODES
    assert agent.endpoint.statistics["established"] == established  # counters do not go back
    agent.recover(renewals(agent, bereft, network.wall), network.now)
    assert network.run(lambda: agent.takeover.recovered_total == len(expected))
    for sa in agent.sessions:
        changed = own_spi(sa) != before[str(sa.remote_identity)]
        assert changed is (str(sa.remote_identity) in expected)
    assert not [event for event in network.node_events if isinstance(event, RegistrationFailed)]


def test_attempts_in_a_killed_worker_fail_and_are_repeated(scene):
    to_recover = scene.to_recover()
    scene.fail_first()
    agent, network = scene.ha2, scene.network
    agent.recover(to_recover, network.now)
    agent.handle_timer(network.now)
    agent.endpoint.pump()
    doomed = len(agent.endpoint._workers[0].sas)
    assert doomed > 0
    assert agent.endpoint.kill(0) == []
    agent.process_ike_events(network.now)
    assert agent.takeover.failures[WORKER_LOST] == doomed
    assert network.run(lambda: agent.takeover.progress(network.now).recovered == NODES)


def test_what_tells_a_peer_of_a_child_sa_waits_until_that_is_at_work(make_scene, monkeypatch):
    scene = make_scene(1, workers=2)
    agent, node, network = scene.ha1, scene.nodes[0], scene.network
    withheld = []
    command = agent.endpoint.command
    monkeypatch.setattr(agent.endpoint, "command", lambda worker, order: withheld.append((worker, order)))
    node.register(agent.address, "ha1.example.org", network.now)
    settle(scene, 0.3)
    assert len(agent.sessions) == 1
    assert len(agent.sessions._signalling._ipsec) == 1
    assert not node.ipsec.list()
    (waiting,) = [each for each in withheld if type(each[1]).__name__ == "Installed"]
    monkeypatch.undo()
    command(*waiting)
    settle(scene, 0.1)
    assert node.ipsec.list()


def test_workers_ask_for_home_addresses_only_as_long_as_a_node_has_none(make_scene):
    scene = make_scene(2, workers=2, pooled=True)
    scene.register_all()
    questions = scene.ha1.endpoint.questions
    assert [type(question) for question in questions] == [Configure, Configure]
    assert [node.home_address for node in scene.nodes] == [
        scene.ha1.directory.home_address(node.identity) for node in scene.nodes
    ]
    node = scene.nodes[0]
    node.register(scene.ha1.address, "ha1.example.org", scene.network.now)
    assert scene.network.run(lambda: node.registered)
    assert len(questions) == 2


@pytest.mark.parametrize(
    "lifetimes",
    [LifetimePolicy(ike_s=70.0, child_s=20.0), LifetimePolicy(ike_s=30.0, child_s=0.0)],
    ids=["both", "ike"],
)
@pytest.mark.parametrize("side", ["agent_lifetimes", "node_lifetimes"])
def test_registrations_outlive_the_keys_of_workers(make_scene, side, lifetimes):
    never = LifetimePolicy(ike_s=0.0, child_s=0.0)
    scene = make_scene(2, workers=2, **{"agent_lifetimes": never, "node_lifetimes": never, side: lifetimes})
    scene.register_all()
    before = {own_spi(sa) for sa in scene.ha1.sessions}
    settle(scene, 300)
    assert not before & {own_spi(sa) for sa in scene.ha1.sessions}
    assert len(scene.ha1.sessions) == len(scene.ha1.sessions._signalling._ipsec) == len(scene.ha1.endpoint) == 2
    for sa, node in zip(scene.ha1.sessions, scene.nodes, strict=True):
        assert set(sa.children) == {outbound.spi for _, outbound in node.ipsec.list()}
        accepted = scene.ha1.registrations.messages["out", "binding-acknowledgement", "0"]
        node._registrar.registration.update_now(scene.network.now)
        node._enrolment.run(scene.network.now)
        assert scene.network.run(
            lambda accepted=accepted: (
                scene.ha1.registrations.messages["out", "binding-acknowledgement", "0"] == accepted + 1
            ),
            seconds=1,
        )
    assert not [slug for slug in scene.ha1.statistics if slug.startswith("esp-")]


def test_an_agent_that_stands_down_forgets_at_once_what_its_workers_have(scene):
    scene.ha1.stand_down(scene.network.now)
    assert len(scene.ha1.sessions) == len(scene.ha1.endpoint) == len(scene.ha1.sessions._signalling._ipsec) == 0
    settle(scene)
    assert [len(worker._endpoint) for worker in scene.ha1.endpoint.running] == [0, 0, 0]
    assert len(scene.ha1.sessions) == 0


def test_an_ike_sa_that_is_deleted_loses_its_children_at_once_and_its_peer_learns_of_it(scene):
    node = scene.nodes[0]
    sa = scene.ha1.sessions.current(node.identity)
    sa.delete(scene.network.now)
    scene.ha1.process_ike_events(scene.network.now)
    assert not sa.children
    assert not sa.is_established
    assert scene.network.run(lambda: scene.ha1.sessions.current(node.identity) is None)
    assert scene.network.run(lambda: sa not in scene.ha1.sessions and not node.ipsec.list(), seconds=5)


def test_nodes_that_move_are_followed_by_their_ike_sas(scene):
    agent, network = scene.ha1, scene.network
    for index, node in enumerate(scene.nodes):
        network.move(node, IPv6Address(f"2001:db8:d::{index}"))
    assert network.run(lambda: all(node.registered for node in scene.nodes))
    settle(scene)
    for node in scene.nodes:
        sa = agent.sessions.current(node.identity)
        assert sa.remote_address == node.care_of_address
        theirs = agent.endpoint.running[sa.worker]._by_number[sa.number]
        assert theirs.remote == sa.remote
    assert agent.statistics["ike-sas-moved"] == NODES


def test_what_is_described_is_what_the_worker_has(scene):
    endpoint = scene.ha1.endpoint
    sa = next(iter(scene.ha1.sessions))
    theirs = endpoint.running[sa.worker]._by_number[sa.number]
    theirs.heard(scene.network.now + 5)
    endpoint.command_all(Describe(1))
    endpoint.pump()
    assert sa.last_heard_at == scene.network.now + 5
    assert sa.lifetimes.ike.rekey_at == theirs.lifetimes.ike.rekey_at
    assert set(sa.lifetimes.children) == set(sa.children)


def test_a_node_that_has_lost_all_it_knew_ends_its_ike_sas_in_other_workers(make_scene):
    scene = make_scene(1, workers=3)
    agent, node, network = scene.ha1, scene.nodes[0], scene.network
    node.endpoint.connect = partial(node.endpoint.connect, initial_contact=True)
    workers = set()
    for _ in range(12):
        node.register(agent.address, "ha1.example.org", network.now)
        assert network.run(lambda: node.registered)
        settle(scene)
        (sa,) = agent.sessions
        workers.add(sa.worker)
        assert len(agent.endpoint) == len(agent.sessions._signalling._ipsec) == 1
        for lost in list(node.endpoint.sas()):
            lost.abandon(network.now)
        node._process_ike_events(network.now)
    assert len(workers) > 1
    assert [len(worker._by_number) for worker in agent.endpoint.running] == [
        int(sa.worker == index) for index in range(3)
    ]


@pytest.mark.parametrize("how", ["delete", "abandon"])
def test_an_ike_sa_that_is_ended_while_its_worker_rekeys_it_ends(make_scene, how):
    scene = make_scene(1, workers=2)
    scene.register_all()
    agent, node, network = scene.ha1, scene.nodes[0], scene.network
    (sa,) = agent.sessions
    worker = agent.endpoint.running[sa.worker]
    worker._by_number[sa.number].rekey(network.now)
    assert network.run(lambda: agent.endpoint.statistics["ike-rekeyed"] == 1)
    (newer,) = agent.sessions
    assert newer is not sa
    # As if the daemon had decided it before it heard of that.
    agent.endpoint.command(sa.worker, Delete(sa.number) if how == "delete" else Abandon(sa.number))
    assert network.run(lambda: not agent.endpoint and not list(agent.sessions))
    assert not worker._by_number
    assert not agent.sessions._signalling._ipsec.list()
    assert network.run(lambda: how == "abandon" or not node.ipsec.list())


def test_a_successor_of_what_was_closed_meanwhile_is_closed_as_well(make_scene):
    scene = make_scene(1, workers=2)
    scene.register_all()
    agent, node, network = scene.ha1, scene.nodes[0], scene.network
    (sa,) = agent.sessions
    endpoint = agent.endpoint
    endpoint.running[sa.worker]._by_number[sa.number].rekey(network.now)
    reported = []
    receive = endpoint.receive

    def close_first(worker, message):
        if any(isinstance(each, Rekeyed) for each in message.happened) and not reported:
            reported.append(message)
            sa.delete(network.now)
        return receive(worker, message)

    endpoint.receive = close_first
    assert network.run(lambda: bool(reported))
    assert network.run(lambda: not endpoint and not list(agent.sessions) and not node.ipsec.list())


def test_a_child_near_its_limit_is_replaced_by_the_worker_that_has_it(scene):
    agent = scene.ha1
    sa = next(iter(agent.sessions))
    old = next(iter(sa.children.values()))
    for _ in range(2):
        sa.replace_child(old, scene.network.now)
    settle(scene)
    assert old.inbound_spi not in sa.children
    assert len(sa.children) == 1
    assert agent.endpoint.statistics["child-rekeyed"] == 1
