"""A full data path refuses by status 130, and gets more room under a running daemon without losing a packet."""

from __future__ import annotations

import sys

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import EchoProbes
from bench.lab.product import homeagent_command
from bench.lab.scene import Scene, SceneOptions
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.namespaces


def test_what_does_not_fit_is_refused_until_an_upgrade_makes_room(laboratory: Laboratory) -> None:
    credentials = Credentials("psk")
    subscribers = [credentials.subscriber(number, home_address(number)) for number in (1, 2)]
    scene = Scene(laboratory, credentials, subscribers, SceneOptions(cluster={"take_over": False}, max_bindings=1))
    early, late = (
        MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.failing) for subscriber in subscribers
    )
    scene.core.prime_neighbours(early.host, late.host)
    scene.load()
    scene.serve()
    early.start()
    early.events.wait_for("registered", PATIENCE_S)
    home_agent = scene.failing
    probes = EchoProbes(laboratory, scene.correspondent, 1, "--interval", "0.005")
    probes.set_target(0, early.subscriber.home_address)
    wait_until(probes.reach_all, "no ping is answered")
    before = home_agent.show_datapath()

    late.start()
    assert late.events.wait_for("registration-failed", PATIENCE_S)["reason"] == "refused-insufficient-resources"
    page = f"http://[{home_agent.host.address}]:9716/metrics"
    code = f"import urllib.request; print(urllib.request.urlopen({page!r}, timeout=60).read().decode())"
    metrics = home_agent.host.namespace.run([sys.executable, "-c", code])
    assert 'homeagent_mobility_errors_total{reason="insufficient-resources"}' in metrics
    assert [row["home_address"] for row in home_agent.bindings()] == [str(early.subscriber.home_address)]
    assert home_agent.status()["datapath"]["maps"]["bindings"] == {"entries": 1, "capacity": 1}

    written = home_agent.configuration.read_text()
    home_agent.configuration.write_text(written.replace("max_bindings = 1\n", "max_bindings = 8192\n"))
    command = homeagent_command("datapath", "upgrade", "--config", str(home_agent.configuration))
    assert "room for 8192 bindings" in home_agent.host.namespace.run(command)
    late.events.wait_for("registered", PATIENCE_S)
    probes.pause()
    wait_until(lambda: (row := probes.report()[0])["received"] >= row["sent"], probes.report)
    sent = probes.report()[0]["sent"]
    assert sent > 100
    after = home_agent.show_datapath()
    assert after["program"]["id"] != before["program"]["id"]
    assert {"entries": 2, "capacity": 8192}.items() <= after["maps"][0].items()
    assert home_agent.status()["datapath"]["maps"]["bindings"] == {"entries": 2, "capacity": 8192}
    counted = {reason: after["counters"][reason] - count for reason, count in before["counters"].items()}
    assert min(counted.values()) >= 0
    assert counted["forward-encapsulated"] >= sent / 2
