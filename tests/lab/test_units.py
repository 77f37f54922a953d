"""A home agent under the restrictions of its systemd units, as far as they can be had without systemd."""

from __future__ import annotations

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.product import homeagent_command
from bench.lab.scene import Scene, SceneOptions
from tests.units import DAEMON, DATA_PATH, restricted
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces


def command_of_a_unit(*arguments: str) -> list[str]:
    unit = {"datapath": DATA_PATH, "serve": DAEMON}[arguments[0]]
    return [*restricted(unit), *homeagent_command(*arguments)]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_home_agent_works_under_its_units(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr("bench.lab.home_agent.homeagent_command", command_of_a_unit)
    credentials = Credentials("cert")
    subscriber = credentials.subscriber(1, home_address(1))
    options = SceneOptions(ike={"workers": workers}, routes={"announce": True})
    scene = Scene(laboratory, credentials, [subscriber], options)
    scene.register([MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.failing)])
    agent = scene.failing

    upgrade = command_of_a_unit("datapath", "upgrade", "--config", str(agent.configuration))
    assert "maps kept" in agent.host.namespace.run(upgrade)
    scene.fail()
    wait_until(lambda: len(scene.surviving.bindings()) == 1, "the node was not taken over")
    agent.daemon.wait(20.0)
    unload = command_of_a_unit("datapath", "unload", "--config", str(agent.configuration))
    assert "unloaded" in agent.host.namespace.run(unload)
