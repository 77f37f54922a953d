"""Another list of nodes is put in force while the home agent serves."""

from __future__ import annotations

import pickle
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from control.home_agent.directory import AddressTaken, AuthorisedNode, DirectoryChange, NodeDirectory
from control.home_agent.events import TimelineEvent
from control.ike_workers.messages import Authorise

PREFIX = IPv6Network("2001:db8:100::/64")
MN1 = AuthorisedNode("mn1@example.org", PREFIX[1], b"one")
MN2 = AuthorisedNode("mn2@example.org", PREFIX[2], b"two")
POOLED = AuthorisedNode("pooled@example.org", None, b"three")
BY_HAND = AuthorisedNode("hand@example.org", PREFIX[9], static=("a pair",))  # type: ignore[arg-type]


def replaced(directory: NodeDirectory, nodes: list[AuthorisedNode]) -> DirectoryChange:
    change = directory.compare(nodes)
    directory.require_free_addresses(nodes, change)
    directory.replace(nodes, change)
    return change


def test_what_differs() -> None:
    directory = NodeDirectory([MN1, MN2, POOLED], [PREFIX])
    new = AuthorisedNode("new@example.org", PREFIX[7], b"key")
    other_key = replace(MN2, shared_key=b"other")
    change = replaced(directory, [MN1, other_key, new])
    assert change == DirectoryChange(("new@example.org",), ("pooled@example.org",), ("mn2@example.org",))
    assert directory.find("mn2@example.org") is other_key
    assert directory.home_address("new@example.org") == PREFIX[7]
    assert directory.find("pooled@example.org") is None
    assert replaced(directory, [MN1, other_key, new]) == DirectoryChange()


def test_assigned_addresses_stay_and_those_of_removed_nodes_come_back() -> None:
    directory = NodeDirectory([MN1, POOLED], [PREFIX])
    assigned = directory.assign("pooled@example.org", None)
    replaced(directory, [POOLED])
    assert directory.home_address("pooled@example.org") == assigned
    assert directory.home_address("mn1@example.org") is None
    # What was subscribed may be assigned from now on.
    later = AuthorisedNode("later@example.org", None, b"key")
    replaced(directory, [POOLED, later])
    assert directory.assign("later@example.org", PREFIX[1]) == PREFIX[1]
    replaced(directory, [later])
    again = AuthorisedNode("again@example.org", None, b"key")
    replaced(directory, [later, again])
    assert directory.assign("again@example.org", None, assigned) == assigned


def test_a_node_with_an_assigned_address_can_be_subscribed_with_it_and_nobody_else() -> None:
    directory = NodeDirectory([MN1, POOLED], [PREFIX])
    assigned = directory.assign("pooled@example.org", None)
    greedy = AuthorisedNode("greedy@example.org", assigned, b"key")
    with pytest.raises(AddressTaken) as taken:
        replaced(directory, [POOLED, greedy])
    assert (taken.value.identity, taken.value.owner) == ("greedy@example.org", "pooled@example.org")
    assert directory.find("greedy@example.org") is None
    replaced(directory, [MN1, replace(POOLED, home_address=assigned)])
    assert directory.home_address("pooled@example.org") == assigned
    # It leaves it: another one can have it at once.
    replaced(directory, [greedy])
    assert directory.home_address("greedy@example.org") == assigned


def test_a_node_that_comes_from_another_home_agent_does_not_get_what_somebody_else_has_here() -> None:
    other = AuthorisedNode("other@example.org", None, b"four")
    directory = NodeDirectory([MN1, POOLED, other], [PREFIX], [PREFIX[3]], autoconfiguration=True)
    assert directory.claim("pooled@example.org", PREFIX[0x77])
    for taken in (PREFIX[0x77], PREFIX[1], PREFIX[3]):
        assigned = directory.assign("other@example.org", taken)
        assert assigned not in (PREFIX[0x77], PREFIX[1], PREFIX[3])
        directory.release("other@example.org")
    assert directory.assign("other@example.org", PREFIX[0x78]) == PREFIX[0x78]
    assert directory.home_address("pooled@example.org") == PREFIX[0x77]


def test_nodes_keyed_by_hand_wait_for_a_restart() -> None:
    directory = NodeDirectory([MN1, BY_HAND], [PREFIX])
    change = replaced(directory, [MN1, replace(MN2, static=("another pair",))])
    assert change == DirectoryChange(deferred=("hand@example.org", "mn2@example.org"))
    assert directory.find("hand@example.org") is BY_HAND
    assert directory.home_address("hand@example.org") == PREFIX[9]
    assert directory.find("mn2@example.org") is None


@pytest.fixture
def scene(make_scene_of_any_workers):
    scene = make_scene_of_any_workers(3)
    scene.register_all()
    return scene


def authorise(scene, nodes):
    replaced(scene.ha1.directory, nodes)
    if hasattr(scene.ha1.endpoint, "command_all"):
        scene.ha1.endpoint.command_all(Authorise(pickle.dumps(nodes)))
    return scene.ha1.dismiss_unauthorised(scene.network.now)


def test_a_removed_node_loses_binding_and_security_associations_and_cannot_come_back(scene):
    agent = scene.ha1
    kept = [node for node in agent.directory if node.identity != "mn2@example.org"]
    [binding] = authorise(scene, kept)
    assert (binding.identity, binding.home_address) == ("mn2@example.org", PREFIX[2])
    assert sorted(each.identity for each in agent.registrations.rules.cache.bindings()) == [
        "mn1@example.org",
        "mn3@example.org",
    ]
    closing = agent.sessions.current("mn2@example.org")
    assert not closing.is_established
    assert not closing.children
    assert agent.dismiss_unauthorised(scene.network.now) == []
    assert scene.network.run(lambda: bool(scene.network.happened(TimelineEvent.NODE_DISMISSED)), seconds=5)
    assert [each.node for each in scene.network.happened(TimelineEvent.NODE_DISMISSED)] == ["mn2@example.org"]
    scene.nodes[1].register(agent.address, "ha1.example.org", scene.network.now)
    assert scene.network.run(lambda: bool(scene.network.happened(TimelineEvent.IKE_REFUSED)), seconds=30)
    refused = scene.network.happened(TimelineEvent.IKE_REFUSED)[0]
    assert refused.detail["detail"] == "unknown-peer: mn2@example.org"
    # The others have not noticed anything.
    assert scene.nodes[0].registered
    assert scene.nodes[2].registered


def test_a_node_with_another_key_keeps_what_it_has_until_it_comes_anew(scene):
    agent = scene.ha1
    changed = [
        replace(node, shared_key=b"new") if node.identity == "mn1@example.org" else node for node in agent.directory
    ]
    assert authorise(scene, changed) == []
    assert agent.sessions.current("mn1@example.org") is not None
    scene.network.run(lambda: False, seconds=1)
    scene.nodes[0].register(agent.address, "ha1.example.org", scene.network.now)
    scene.network.run(lambda: False, seconds=1)
    assert len(agent.registrations.rules.cache.bindings()) == 3


def test_a_node_with_another_home_address_has_to_register_anew(scene):
    agent = scene.ha1
    moved = [
        replace(node, home_address=IPv6Address("2001:db8:100::77")) if node.identity == "mn3@example.org" else node
        for node in agent.directory
    ]
    [binding] = authorise(scene, moved)
    assert binding.home_address == PREFIX[3]
    assert agent.directory.home_address("mn3@example.org") == IPv6Address("2001:db8:100::77")
    assert agent.registrations.rules.cache.get(PREFIX[3]) is None
