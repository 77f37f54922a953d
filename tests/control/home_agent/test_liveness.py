"""What silence costs a node: its security associations, never its binding."""

from __future__ import annotations

import dataclasses

import pytest


@pytest.fixture
def scene(make_scene):
    scene = make_scene()
    environment = scene.ha1.endpoint._environment
    environment.configuration = dataclasses.replace(environment.configuration, liveness_interval_s=300.0)
    scene.register_all()
    return scene


def bindings(scene):
    return scene.ha1.registrations.rules.cache.bindings()


def test_a_silent_node_loses_its_associations_and_keeps_its_binding(scene):
    [binding] = bindings(scene)
    care_of_address = scene.nodes[0].settings.care_of_address
    node = scene.network.nodes.pop(care_of_address)
    assert scene.network.run(lambda: not scene.ha1.sessions, seconds=500)
    assert scene.network.now < 450
    assert not scene.ha1._signalling._ipsec.list()
    assert list(bindings(scene)) == [binding]
    assert not scene.ha1.expire(scene.network.wall)
    # It comes back as it always would: its Binding Updates stay unanswered, so it begins anew.
    scene.network.nodes[care_of_address] = node
    assert scene.network.run(lambda: bool(scene.ha1.sessions), seconds=4000)
    assert scene.network.run(lambda: node.registered, seconds=60)
    assert len(list(bindings(scene))) == 1


def test_a_node_that_answers_keeps_everything(scene):
    assert not scene.network.run(lambda: not scene.ha1.sessions, seconds=1800)
    assert len(scene.ha1._signalling._ipsec.list()) == 1
    assert scene.ha1.endpoint.statistics["liveness-probes"] >= 3
