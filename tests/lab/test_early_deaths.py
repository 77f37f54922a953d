"""A daemon that dies again and again right after its start."""

from __future__ import annotations

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.scene import Scene, SceneOptions
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces


def test_its_nodes_are_taken_over_though_it_is_started_again_each_time(laboratory: Laboratory) -> None:
    credentials = Credentials("psk")
    subscriber = credentials.subscriber(1, home_address(1))
    # Long enough for a start on a busy machine: nobody is to take it for a failure.
    scene = Scene(laboratory, credentials, [subscriber], SceneOptions(cluster={"lease_s": 15.0}))
    scene.register([MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.failing)])
    dying, other = scene.failing, scene.surviving
    for _ in range(2):
        dying.daemon.kill()
        dying.serve(died_by_itself=True)
        dying.wait_ready()
    assert len(dying.bindings()) == 1
    assert other.bindings() == []

    # It is started again at once, and yet:
    dying.daemon.kill()
    dying.serve(died_by_itself=True)
    wait_until(lambda: len(other.bindings()) == 1, "the node was not taken over")
    dying.wait_ready()
    assert (dying.status()["state"], dying.bindings()) == ("active", [])
