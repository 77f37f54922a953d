"""A stranger throws everything at a serving home agent: it counts, it answers nothing it should not, it serves on."""

from __future__ import annotations

import re
import sys
import time
from ipaddress import IPv6Network
from pathlib import Path

import pytest

from bench.lab.addresses import home_address
from bench.lab.counters import counter_changes
from bench.lab.credentials import Credentials
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.scene import Scene, SceneOptions
from control.home_agent.refusals import REFUSALS_PER_S
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.namespaces

SCRIPT = Path(__file__).with_name("hostile_stranger.py")
ROOT = Path(__file__).parents[2]


REFUSED = re.compile(r"ike-refused peer=2001:db8:bad::1 role=responder claimed=\S+ reason=authentication-failed ")


def test_a_stranger_changes_nothing_and_is_told_of_in_the_log_as_refused_only(laboratory: Laboratory) -> None:
    credentials = Credentials("psk")
    subscriber = credentials.subscriber(1, home_address(1))
    scene = Scene(laboratory, credentials, [subscriber], SceneOptions(cluster={"take_over": False}))
    node = MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.failing)
    stranger = scene.core.attach("stranger", IPv6Network("2001:db8:bad::/64"), "eth0")
    scene.core.prime_neighbours(node.host, stranger)
    scene.load()
    scene.serve()
    node.start()
    node.events.wait_for("registered", PATIENCE_S)
    agent = scene.failing
    bindings = [(row["home_address"], row["care_of_address"], row["sequence_number"]) for row in agent.bindings()]
    shown, log = agent.show_datapath(), agent.daemon.errors.read_text()

    begun = time.monotonic()
    command = [sys.executable, str(SCRIPT), str(stranger.address), str(agent.host.address)]
    command += [str(subscriber.home_address), str(node.host.address), "1"]
    stranger.namespace.run(["env", f"PYTHONPATH={ROOT}", *command])

    status = agent.status()
    after = [(row["home_address"], row["care_of_address"], row["sequence_number"]) for row in agent.bindings()]
    assert after == bindings
    assert status["ike_sas"]["established"] == 1
    assert status["ike_sas"]["half-open"] <= 512
    told = agent.daemon.errors.read_text().removeprefix(log).splitlines()
    # Who gives a name and a wrong key may be a node with a mistake in its settings; all else is counted, not logged.
    assert all(REFUSED.search(line) for line in told), told
    assert len(told) <= REFUSALS_PER_S * (1 + time.monotonic() - begun)
    counted = counter_changes(shown, agent.show_datapath())
    # Of 400 each, some of which may not fit the queue of a busy machine.
    assert counted["drop-tunnel-wrong-care-of-address"] >= 200
    assert counted["drop-forged-care-of-address"] >= 200
    assert counted.get("forward-decapsulated", 0) == 0
    assert counted["pass-home-address-swapped"] >= 200
    # It still serves: its node is reached through the tunnel.
    ping = ["sh", "-c", f"ping -6 -c 1 -W 1 {subscriber.home_address} >/dev/null && echo reached || true"]
    wait_until(lambda: "reached" in scene.correspondent.namespace.run(ping), "the node is not reached any more")
