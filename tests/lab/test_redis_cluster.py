"""Home agents whose state store is a Redis server that dies, comes back empty, and is there when one of them dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.redis_server import RedisServer
from bench.lab.scene import Scene, SceneOptions
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces

STORED = ("HLEN", "{homeagent}:bindings:ha1")


def test_a_server_that_dies_and_forgets_costs_no_binding(laboratory: Laboratory, tmp_path: Path) -> None:
    credentials = Credentials("psk")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in (1, 2)]
    with RedisServer(tmp_path) as redis:
        scene = Scene(laboratory, credentials, subscribers, SceneOptions(store=redis.url))
        nodes = [MobileNodeAgent(laboratory, scene.core, credentials, each, scene.failing) for each in subscribers]
        scene.register(nodes)
        assert redis.command(*STORED) == "2"
        before, after = scene.failing, scene.surviving
        token = before.status()["lease"]["token"]

        redis.kill()
        wait_until(lambda: before.status()["state"] == "fenced", "the lease did not count as lost without the store")
        assert len(before.bindings()) == 2
        assert before.show_datapath()["maps"][0]["entries"] == 2
        redis.start()
        wait_until(lambda: before.status()["state"] == "active", "the lease was not renewed when the store was back")
        assert before.status()["lease"]["token"] == token

        redis.empty()
        wait_until(lambda: redis.command(*STORED) == "2", "what is served was not written again")
        wait_until(lambda: before.status()["state"] == "active", "no lease after the store was emptied")
        assert len(before.bindings()) == 2
        assert "lease-lost" not in [row["event"] for row in before.past_events()]
        wait_until(lambda: len(after.status()["peers"]) == 1, "the other agent is no member again")

        scene.fail()
        wait_until(lambda: len(after.bindings()) == 2, "the nodes were not brought back")
        assert redis.command("HLEN", "{homeagent}:bindings:ha2") == "2"
