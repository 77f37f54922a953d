"""A home link with hosts on it: they find a mobile node by neighbour discovery, and follow it to another home agent."""

from __future__ import annotations

import re
from ipaddress import IPv6Address

import pytest

from bench.lab.addresses import HOME_PREFIX, home_address, home_agent_prefix
from bench.lab.credentials import Credentials
from bench.lab.home_agent import HomeAgentOptions, HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.namespaces import Namespace
from bench.lab.product import bench_command
from bench.lab.topology import RoutedCore
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces

TIMEOUT_S = 120.0
LINK = "home0"


class HomeNetwork:
    """A bridge with hosts and two home agents on it, which reach the mobile nodes by a routed core."""

    def __init__(self, laboratory: Laboratory, nodes: int) -> None:
        self.laboratory = laboratory
        self.core = RoutedCore(laboratory)
        self.bridge = laboratory.namespace("bridge")
        self.bridge.ip(["link add br0 type bridge mcast_snooping 0", "link set br0 up"])
        credentials = Credentials("psk")
        subscribers = [credentials.subscriber(number, home_address(number)) for number in range(1, nodes + 1)]
        options = HomeAgentOptions(
            home_prefixes=[HOME_PREFIX],
            store=laboratory.subdirectory("cluster") / "state.db",
            cluster={"lease_s": 4.0, "heartbeat_s": 0.5},
            home_links=[LINK],
        )
        self.home_agents: list[HomeAgentUnderTest] = []
        for number in (1, 2):
            host = self.core.attach(f"ha{number}", home_agent_prefix(number), "core0")
            host.namespace.sysctl({"net.ipv6.conf.all.forwarding": "1"})
            self.plug(host.namespace, LINK, HOME_PREFIX[number])
            self.home_agents.append(HomeAgentUnderTest(laboratory, host, credentials, subscribers, options))
        self.nodes = [
            MobileNodeAgent(laboratory, self.core, credentials, subscriber, self.home_agents[0])
            for subscriber in subscribers
        ]
        for agent in self.home_agents:
            agent.begin_load()
        for agent in self.home_agents:
            agent.finish_load()
        for agent in self.home_agents:
            agent.serve()
            agent.wait_ready()

    def host(self, role: str, address: IPv6Address) -> Namespace:
        """A host on the link."""
        namespace = self.laboratory.namespace(role)
        self.plug(namespace, "eth0", address)
        return namespace

    def plug(self, namespace: Namespace, device: str, address: IPv6Address) -> None:
        port = f"{namespace.role}-port"
        self.bridge.ip([f"link add {port} type veth peer name {device} netns {namespace.name}"])
        namespace.offloads(device, tx=False)
        self.bridge.offloads(port, tx=False, gro=True)
        namespace.ip([f"link set {device} up", f"address add {address}/64 dev {device} nodad"])
        self.bridge.ip([f"link set {port} up master br0"])
        self.bridge.run(bench_command("receiving_end", port))


def neighbour(host: Namespace, address: IPv6Address) -> str:
    """The Ethernet address that the host has in its cache, or nothing."""
    found = re.search(r"lladdr (\S+)", host.run(["ip", "-6", "neigh", "show", str(address), "dev", "eth0"]))
    return found[1] if found else ""


def pings(host: Namespace, target: IPv6Address, count: int = 5) -> int:
    """How many of so many pings are answered."""
    output = host.run(["sh", "-c", f"ping -6 -c {count} -i 0.2 -W 20 -q {target} || true"])
    found = re.search(r"(\d+) received", output)
    assert found, output
    return int(found[1])


def link_address(agent: HomeAgentUnderTest) -> str:
    found = re.search(r"link/ether (\S+)", agent.host.namespace.run(["ip", "link", "show", LINK]))
    assert found
    return found[1]


def metric(agent: HomeAgentUnderTest, name: str, label: str) -> float:
    code = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
    url = f"http://[{agent.host.address}]:9716/metrics"
    text = agent.host.namespace.run(["python3", "-c", code, url])
    found = re.search(rf'^{name}\{{[a-z]+="{label}"\}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_hosts_find_a_node_by_neighbour_discovery_and_follow_it_to_the_home_agent_that_takes_over(laboratory):
    network = HomeNetwork(laboratory, nodes=1)
    failing, surviving = network.home_agents
    host = network.host("host", HOME_PREFIX[0x77])
    (node,) = network.nodes
    home = node.subscriber.home_address
    node.start()
    node.events.wait_for("registered", TIMEOUT_S)

    assert pings(host, home) == 5
    assert neighbour(host, home) == link_address(failing)
    counted = failing.show_datapath()["counters"]
    assert counted["reply-neighbour-advertisement"] >= 1
    assert counted["forward-encapsulated"] + counted["pass-encapsulated-no-neighbour"] >= 5
    # Another host that uses the address itself would disturb: its kernel asks first, and is told.
    other = network.host("other", HOME_PREFIX[0x78])
    other.sysctl({"net.ipv6.conf.eth0.accept_dad": "1", "net.ipv6.conf.eth0.dad_transmits": "1"})
    other.ip([f"address add {home}/64 dev eth0"])
    wait_until(
        lambda: "dadfailed" in other.run(["ip", "-6", "address", "show", "dev", "eth0"]), "the address is defended"
    )

    # Only the daemon: its program goes on, and must not be heard any more.
    failing.daemon.kill()
    wait_until(lambda: len(surviving.bindings()) == 1, "ha2 takes over")
    wait_until(lambda: neighbour(host, home) == link_address(surviving), "the host is told")
    node.events.wait_for("registered", TIMEOUT_S)  # which is later than the binding, and then it listens to ha2

    assert pings(host, home) == 5
    for _ in range(3):
        host.ip(["neigh flush dev eth0"])
        assert pings(host, home, 2) == 2
        assert neighbour(host, home) == link_address(surviving)
    answered = surviving.show_datapath()["counters"]["reply-neighbour-advertisement"]
    assert answered >= 3
    before = failing.show_datapath()["counters"]["reply-neighbour-advertisement"]
    host.ip(["neigh flush dev eth0"])
    assert pings(host, home, 2) == 2
    assert failing.show_datapath()["counters"]["reply-neighbour-advertisement"] == before


def test_a_home_address_that_a_host_uses_is_refused_until_the_host_is_gone(laboratory):
    network = HomeNetwork(laboratory, nodes=1)
    (node,) = network.nodes
    home = node.subscriber.home_address
    squatter = network.host("squatter", home)

    node.start()
    home_agent = network.home_agents[0]
    wait_until(
        lambda: metric(home_agent, "homeagent_mobility_errors_total", "duplicate-address-detection-failed") >= 1,
        "the registration is refused",
    )
    assert home_agent.bindings() == []

    squatter.ip([f"address del {home}/64 dev eth0"])
    node.events.wait_for("registered", 2 * TIMEOUT_S)
    assert metric(home_agent, "homeagent_home_link_events_total", "unsolicited-advertisement") >= 1
