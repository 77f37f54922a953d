"""Home agent and mobile node while the keys between them are replaced, in memory."""

from __future__ import annotations

import pytest

from control.ikev2.policy import LifetimePolicy
from control.mobile_node.events import Deregistered, IkeStarted, RegistrationFailed

NEVER = LifetimePolicy(ike_s=0.0, child_s=0.0)
SHORT = LifetimePolicy(ike_s=70.0, child_s=20.0)


def sas(scene, agent=None):
    """Both ends of the IKE SA with the first node."""
    agent = agent or scene.ha1
    node = scene.nodes[0]
    mine = agent.sessions.current(node.identity)
    (theirs,) = node.endpoint.sas_with(agent.endpoint.configuration.local_identity)
    assert mine.local_spi == theirs.remote_spi
    assert {child.inbound_spi for child in mine.children.values()} == {
        child.outbound_spi for child in theirs.children.values()
    }
    return mine, theirs


def pass_time(scene, seconds):
    end = scene.network.now + seconds
    scene.network.run(lambda: scene.network.now >= end, seconds)


def refresh(scene, agent=None):
    """A Binding Update and its acknowledgement go through now, under ESP."""
    agent, node = agent or scene.ha1, scene.nodes[0]
    accepted = agent.registrations.messages["out", "binding-acknowledgement", "0"]
    node._registrar.registration.update_now(scene.network.now)
    node._enrolment.run(scene.network.now)
    assert scene.network.run(
        lambda: agent.registrations.messages["out", "binding-acknowledgement", "0"] == accepted + 1, seconds=1
    )
    assert scene.network.run(lambda: node.registered, seconds=1)


def nothing_was_lost(scene):
    """The node has noticed nothing: no attempt of its own, no refused packet on either side."""
    node = scene.nodes[0]
    assert not [
        event
        for event in scene.network.node_events
        if isinstance(event, RegistrationFailed | Deregistered)
        or (isinstance(event, IkeStarted) and event.home_agent != scene.ha1.address)
    ]
    assert node.ipsec.statistics.keys() <= {"protected", "unprotected"}
    assert not [slug for agent in (scene.ha1, scene.ha2) for slug in agent.statistics if slug.startswith("esp-")]


@pytest.mark.parametrize("by_agent", [True, False])
@pytest.mark.parametrize("what", ["child", "ike"])
def test_signalling_goes_on_under_new_keys_whoever_replaces_them(make_scene, by_agent, what):
    scene = make_scene(agent_lifetimes=NEVER, node_lifetimes=NEVER)
    scene.register_all()
    agent, node = sas(scene)
    before = dict(agent.children)
    side = agent if by_agent else node
    if what == "child":
        side.rekey_child(next(iter(side.children)), scene.network.now)
    else:
        side.rekey(scene.network.now)
    scene.network.run(lambda: False, seconds=1)
    new_agent, new_node = sas(scene)
    assert (new_agent is agent) is (new_node is node) is (what == "child")
    assert (set(new_agent.children) == set(before)) is (what == "ike")
    refresh(scene)
    (association,) = scene.ha1.sessions._signalling._ipsec.list()
    assert association[0].spi in new_agent.children
    assert association[0].usage.packets >= 1
    assert association[1].usage.packets >= 1
    assert len(scene.nodes[0].ipsec) == 1
    nothing_was_lost(scene)


def test_keys_that_were_replaced_are_exported_too(make_scene):
    scene = make_scene(agent_lifetimes=NEVER, node_lifetimes=NEVER)
    scene.register_all()
    agent, _ = sas(scene)
    agent.rekey_child(next(iter(agent.children)), scene.network.now)
    scene.network.run(lambda: False, seconds=1)
    (child,) = sas(scene)[0].children.values()
    assert len(scene.exported) == 2
    assert [each.spi for each in scene.exported[-1]] == [child.inbound_spi, child.outbound_spi]


@pytest.mark.parametrize(("agent_lifetimes", "node_lifetimes"), [(SHORT, NEVER), (NEVER, SHORT), (SHORT, SHORT)])
def test_a_registration_outlives_its_keys(make_scene, agent_lifetimes, node_lifetimes):
    """Ten minutes with a child SA of 20 and an IKE SA of 70 seconds, and a Binding Update every seven."""
    scene = make_scene(agent_lifetimes=agent_lifetimes, node_lifetimes=node_lifetimes)
    scene.register_all()
    first, _ = sas(scene)
    for _ in range(85):
        pass_time(scene, 7.0)
        refresh(scene)
    pass_time(scene, 1.0)
    agent, _ = sas(scene)
    assert agent is not first
    statistics = scene.ha1.endpoint.statistics
    assert statistics["ike-rekeyed"] >= 8
    assert statistics["child-rekeyed"] >= 25
    assert statistics["established"] == 1
    assert len(scene.ha1.sessions) == 1
    assert len(scene.exported) >= 25
    nothing_was_lost(scene)
    pass_time(scene, 1.0)
    assert len(scene.ha1.endpoint) <= 3


def test_a_node_taken_over_and_rekeyed_keeps_its_new_home_address(make_scene):
    """The home address the new agent assigned in IKE_AUTH is still what its successors' children are for."""
    scene = make_scene(same_prefix=False, agent_lifetimes=SHORT, node_lifetimes=SHORT)
    scene.register_all()
    scene.fail_first()
    scene.ha2.recover(scene.to_recover(), scene.network.now)
    node = scene.nodes[0]
    assert scene.network.run(lambda: node.home_agent == scene.ha2.address and node.registered)
    address = node.home_address
    for _ in range(30):
        pass_time(scene, 10.0)
        refresh(scene, scene.ha2)
    assert node.home_address == address
    assert scene.ha2.endpoint.statistics["ike-rekeyed"] >= 3
    assert len(sas(scene, scene.ha2)[0].children) == 2
    assert node.ipsec.statistics.keys() <= {"protected", "unprotected"}


def test_rekeying_survives_loss(make_scene):
    scene = make_scene(agent_lifetimes=SHORT, node_lifetimes=SHORT)
    scene.register_all()
    scene.network.loss = 0.2
    pass_time(scene, 600.0)
    scene.network.loss = 0.0
    pass_time(scene, 40.0)
    assert scene.nodes[0].registered
    assert scene.ha1.endpoint.statistics["ike-rekeyed"] >= 4
    sas(scene)
    refresh(scene)


def test_an_agent_that_stands_down_forgets_rekeyed_sas_as_well(make_scene):
    scene = make_scene(agent_lifetimes=NEVER, node_lifetimes=NEVER)
    scene.register_all()
    sas(scene)[0].rekey(scene.network.now)
    scene.network.run(lambda: False, seconds=1)
    scene.ha1.stand_down(scene.network.now)
    assert len(scene.ha1.sessions) == 0
    assert not scene.ha1.sessions._signalling._ipsec.list()
    assert scene.ha1.next_timer() is None or len(scene.ha1.endpoint) <= 1


def test_a_node_that_closes_after_rekeying_tells_its_home_agent(make_scene):
    scene = make_scene(agent_lifetimes=NEVER, node_lifetimes=NEVER)
    scene.register_all()
    sas(scene)[1].rekey(scene.network.now)
    scene.network.run(lambda: False, seconds=1)
    scene.nodes[0].close(scene.network.now)
    scene.network.run(lambda: False, seconds=1)
    assert len(scene.ha1.sessions) == 0
