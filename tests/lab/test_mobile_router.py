"""Networks behind mobile routers: reachable from everywhere, and still so when the home agent has failed."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest

from bench.lab.addresses import home_address
from bench.lab.counters import counter_changes
from bench.lab.credentials import Credentials
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.probing import EchoProbes
from bench.lab.scene import Scene, SceneOptions
from bench.lab.topology import STANDBY_METRIC, Host
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.namespaces

NETWORKS = [IPv6Network("2001:db8:701::/56"), IPv6Network("2001:db8:702::/56")]
#: On the link behind each router there is one of the subnets of its prefix only.
LINKS = [IPv6Network("2001:db8:701:7::/64"), IPv6Network("2001:db8:702:7::/64")]
NOWHERE = IPv6Address("2001:db8:701:9::1")


class Routers:
    """Two mobile routers, the second of which leaves it to the home agent to know its prefix."""

    def __init__(self, laboratory: Laboratory, *, deregister_on_exit: bool = False) -> None:
        credentials = Credentials("psk")
        subscribers = [
            credentials.subscriber(number, home_address(number), network) for number, network in enumerate(NETWORKS, 1)
        ]
        # A new daemon of ha1 is to be there before ha2 thinks that ha1 has failed.
        options = SceneOptions(mobility={"mobile_routers": True}, cluster={"lease_s": 12.0}, back_end="userspace")
        self.scene = Scene(laboratory, credentials, subscribers, options)
        core = self.scene.core
        for network in NETWORKS:
            core.route(network, self.scene.failing.host)
            core.route(network, self.scene.surviving.host, STANDBY_METRIC)
        self.agents = [
            MobileNodeAgent(
                laboratory,
                core,
                credentials,
                subscriber,
                self.scene.failing,
                changes={"mobile_network_mode": mode, "deregister_on_exit": deregister_on_exit},
            )
            for subscriber, mode in zip(subscribers, ("explicit", "implicit"), strict=True)
        ]
        self.hosts = [agent.attach_network(link) for agent, link in zip(self.agents, LINKS, strict=True)]
        self.scene.register(self.agents)
        self.probes = EchoProbes(laboratory, self.scene.correspondent, 2, "--interval", "0.05")
        for number, host in enumerate(self.hosts):
            self.probes.set_target(number, host.address)
        wait_until(self.probes.reach_all, "the networks do not answer")

    def all_reach_all(self) -> None:
        """Hosts of both networks, the correspondent, and the routers' home addresses."""
        correspondent = self.scene.correspondent
        one, two = self.hosts
        for source, destination in ((one, correspondent), (one, two), (two, one), (correspondent, two)):
            ping(source, destination.address)
        ping(one, home_address(2))

    def answers_since(self, moment: float) -> None:
        self.probes.mark(moment)
        wait_until(self.probes.are_answered, "the networks do not answer any more")


def ping(source: Host, destination: IPv6Address) -> None:
    source.namespace.run(["ping", "-6", "-n", "-c", "3", "-i", "0.2", "-W", "5", str(destination)])


def networks_of(rows: list[dict[str, object]]) -> dict[object, object]:
    return {row["identity"]: row["mobile_network_prefixes"] for row in rows}


def test_networks_behind_mobile_routers(laboratory: Laboratory) -> None:
    routers = Routers(laboratory)
    scene, expected = routers.scene, {f"mn{n}@mn.example.org": [str(NETWORKS[n - 1])] for n in (1, 2)}
    routers.all_reach_all()
    assert networks_of(scene.failing.bindings()) == expected
    assert scene.failing.status()["mobile_network_prefixes"] == 2

    # What its network has not, the router says itself; nothing circles.
    before = scene.failing.show_datapath()
    ended = scene.correspondent.namespace.run(["sh", "-c", f"ping -6 -n -c 1 -W 5 {NOWHERE} || true"], timeout_s=30.0)
    changes = counter_changes(before, scene.failing.show_datapath())
    assert "Destination unreachable" in ended
    assert f"From {LINKS[0][1]}" in ended or f"From {home_address(1)}" in ended
    assert changes.get("drop-tunnel-back", 0) == 0

    # A new daemon still has the networks, and packets do not notice.
    scene.failing.daemon.kill()
    scene.failing.serve()
    scene.failing.wait_ready(PATIENCE_S)
    assert networks_of(scene.failing.bindings()) == expected
    routers.all_reach_all()

    routers.answers_since(scene.fail())
    wait_until(lambda: networks_of(scene.surviving.bindings()) == expected, "ha2 does not have both routers")
    routers.all_reach_all()


def test_a_network_goes_with_its_router(laboratory: Laboratory) -> None:
    routers = Routers(laboratory, deregister_on_exit=True)
    scene, agent = routers.scene, routers.agents[0]
    agent.process.stop(PATIENCE_S)
    wait_until(lambda: len(scene.failing.bindings()) == 1, "it is still bound")
    assert scene.failing.status()["mobile_network_prefixes"] == 1
    assert scene.failing.status()["datapath"]["maps"]["mobile_networks"]["entries"] == 1
    before = scene.failing.show_datapath()
    target = str(routers.hosts[0].address)
    scene.correspondent.namespace.run(["sh", "-c", f"ping -6 -n -c 1 -W 1 {target} || true"], timeout_s=30.0)
    assert counter_changes(before, scene.failing.show_datapath()).get("pass-not-ours", 0) >= 1
    # What the agent has changed around itself is undone.
    namespace = agent.host.namespace
    assert namespace.run(["cat", "/proc/sys/net/ipv6/conf/all/forwarding"]).strip() == "0"
    assert "unreachable" not in namespace.run(["ip", "-6", "route", "show"])
    agent.start()
    wait_until(lambda: len(scene.failing.bindings()) == 2, "it is not bound again")
    routers.all_reach_all()
