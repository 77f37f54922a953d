"""Giving the data path other maps under a running daemon: it waits, goes over to them, and no packet is lost."""

from __future__ import annotations

import time

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import EchoProbes
from bench.lab.product import homeagent_command
from bench.lab.scene import Scene, SceneOptions

pytestmark = pytest.mark.namespaces


def test_a_running_daemon_goes_over_to_the_maps_of_an_upgrade(laboratory: Laboratory) -> None:
    credentials = Credentials("psk")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in (1, 2)]
    scene = Scene(laboratory, credentials, subscribers, SceneOptions(cluster={"take_over": False}))
    early, late = (
        MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.failing) for subscriber in subscribers
    )
    scene.core.prime_neighbours(early.host, late.host)
    scene.load()
    scene.serve()
    early.start()
    early.events.wait_for("registered", 30)
    home_agent = scene.failing
    probes = EchoProbes(laboratory, scene.correspondent, 1, "--interval", "0.005")
    probes.set_target(0, early.subscriber.home_address)
    while probes.reached < 1:
        probes.poll()
        time.sleep(0.02)
    before = home_agent.show_datapath()

    written = home_agent.configuration.read_text()
    home_agent.configuration.write_text(written.replace("max_bindings = 4096", "max_bindings = 8192"))
    command = homeagent_command("datapath", "upgrade", "--config", str(home_agent.configuration))
    assert "room for 8192 bindings" in home_agent.host.namespace.run(command)

    late.start()
    late.events.wait_for("registered", 30)
    probes.pause()
    deadline = time.monotonic() + 10
    while (row := probes.report()[0])["received"] < row["sent"]:
        assert time.monotonic() < deadline, row
        time.sleep(0.1)
    assert row["sent"] > 100
    after = home_agent.show_datapath()
    assert after["program"]["id"] != before["program"]["id"]
    assert {"entries": 2, "capacity": 8192}.items() <= after["maps"][0].items()
    assert home_agent.status()["datapath"]["maps"]["bindings"] == {"entries": 2, "capacity": 8192}
    counted = {reason: after["counters"][reason] - count for reason, count in before["counters"].items()}
    assert min(counted.values()) >= 0
    assert counted["forward-encapsulated"] >= row["sent"] / 2
