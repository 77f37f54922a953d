"""A node whose ESP goes in UDP, behind a NAT or because it wants to: real daemons, XDP, pings, and a takeover."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from bench.lab.addresses import home_address
from bench.lab.credentials import Credentials
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import EchoProbes
from bench.lab.scene import Scene, SceneOptions
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.namespaces

OUTSIDE = IPv6Address("2001:db8:7a7::1")
TRANSLATION = """
table ip6 hatest {{
  chain inwards {{ type nat hook prerouting priority -100; ip6 daddr {outside} dnat to {inside}; }}
  chain outwards {{ type nat hook postrouting priority 100; ip6 saddr {inside} snat to {outside}; }}
}}
"""


@pytest.mark.parametrize("translated", [True, False], ids=["behind a NAT", "forced"])
def test_a_node_registers_is_reached_and_taken_over_with_esp_in_udp(laboratory: Laboratory, translated: bool) -> None:
    credentials = Credentials("psk")
    subscriber = credentials.subscriber(1, home_address(1))
    scene = Scene(laboratory, credentials, [subscriber], SceneOptions(ike={}))
    changes = {} if translated else {"nat_traversal": "force"}
    node = MobileNodeAgent(laboratory, scene.core, credentials, subscriber, scene.failing, changes=changes)
    reached = node.host.address
    scene.core.prime_neighbours(node.host)
    if translated:
        rules = TRANSLATION.format(outside=OUTSIDE, inside=reached)
        scene.core.namespace.run(["nft", "-f", "-"], stdin=rules)
        reached = OUTSIDE
    scene.load()
    scene.serve()
    node.start()
    node.events.wait_for("registered", PATIENCE_S)
    probes = EchoProbes(laboratory, scene.correspondent, 1, "--interval", "0.02")
    probes.set_target(0, subscriber.home_address)
    wait_until(probes.reach_all, "no ping is answered")
    for home_agent in (scene.failing, scene.surviving):
        if home_agent is scene.surviving:
            probes.mark(scene.fail())
            wait_until(probes.are_answered, "the node is not reachable through ha2")
        (binding,) = home_agent.bindings()
        assert binding["care_of_address"] == str(reached)
        (row,) = (row for row in home_agent.sas() if row["state"] == "established")
        assert row["remote"] == f"[{reached}]:4500"
