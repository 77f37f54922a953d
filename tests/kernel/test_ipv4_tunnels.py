"""Tunnels over IPv4 with the kernel as the mobile node: its `sit` device, plain and in UDP by `fou`."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from bench.lab import receiving_end
from bench.lab.entering import inside
from control.daemon.tunnel_relay import TunnelRelay
from datapath.bindings import BindingMap, IPv4CareOfAddress
from datapath.counters import read_counters
from datapath.loader import LoaderOptions, load
from datapath.reasons import Reason
from datapath.unload import unload
from tests.kernel.network import run

pytestmark = pytest.mark.kernel

PIN_PATH = Path("/sys/fs/bpf/homeagent-ipv4")
AGENT, AGENT_IPV4 = IPv6Address("2001:db8:f::1"), IPv4Address("192.0.2.1")
CORRESPONDENT = IPv6Address("2001:db8:c::2")


@dataclass(frozen=True)
class Node:
    """A mobile node behind the kernel's own tunnel device."""

    name: str
    home: IPv6Address
    care_of: IPv4CareOfAddress
    mtu: int

    @property
    def tunnel(self) -> str:
        ends = f"type sit local {self.care_of.address} remote {AGENT_IPV4}"
        if self.care_of.udp_port is None:
            return ends
        return f"{ends} encap fou encap-sport {self.care_of.udp_port} encap-dport 4191"

    def start(self) -> None:
        run(f"ip netns add {self.name}")
        run(f"ip -n agent link add {self.name} type veth peer name eth0 netns {self.name}")
        address = self.care_of.address
        for place, device, prefix in (("agent", self.name, address - 1), (self.name, "eth0", address)):
            run(f"ip -n {place} addr add {prefix}/30 dev {device}")
            run(f"ip -n {place} link set {device} up")
        run(f"nsenter --net=/run/netns/{self.name} ethtool -K eth0 tx off gro on")
        run(f"ip -n {self.name} route add default via {address - 1}")
        if self.care_of.udp_port is not None:
            run(f"ip -n {self.name} fou add port {self.care_of.udp_port} ipproto 41")
        run(f"ip -n {self.name} link add mip {self.tunnel} ttl 64")
        run(f"ip -n {self.name} link set mip up")
        run(f"ip -n {self.name} addr add {self.home}/128 dev mip nodad")
        run(f"ip -n {self.name} -6 route add default dev mip")


PLAIN = Node("plain", IPv6Address("2001:db8:100::5"), IPv4CareOfAddress(IPv4Address("198.51.100.6"), AGENT_IPV4), 1480)
IN_UDP = Node(
    "udp", IPv6Address("2001:db8:100::6"), IPv4CareOfAddress(IPv4Address("198.51.100.10"), AGENT_IPV4, 20_000), 1472
)
NODES = pytest.mark.parametrize("node", [PLAIN, IN_UDP], ids=lambda node: node.name)


@pytest.fixture(scope="module")
def scene() -> Iterator[None]:
    names = ("agent", "host", PLAIN.name, IN_UDP.name)
    try:
        for module in ("sit", "fou"):
            run(f"modprobe {module}")
        for name in names[:2]:
            run(f"ip netns add {name}")
        run("ip -n agent link add core type veth peer name eth0 netns host")
        for name, device, address in (("agent", "core", "2001:db8:c::1"), ("host", "eth0", CORRESPONDENT)):
            run(f"ip -n {name} link set {device} up")
            run(f"ip -n {name} addr add {address}/64 dev {device} nodad")
        run("nsenter --net=/run/netns/host ethtool -K eth0 tx off gro on")
        with inside("host"):
            receiving_end.main("eth0")
        run("ip -n host -6 route add default via 2001:db8:c::1")
        run("ip -n agent link set lo up")
        run(f"ip -n agent addr add {AGENT_IPV4}/32 dev lo")
        run(f"ip -n agent addr add {AGENT}/128 dev lo")
        for node in (PLAIN, IN_UDP):
            node.start()
        with inside("agent"):
            for setting in ("ipv6.conf.all.forwarding", "ipv4.conf.all.forwarding", "ipv4.conf.all.accept_local"):
                run(f"sysctl -qw net.{setting}=1")
            options = LoaderOptions(
                ["core", PLAIN.name, IN_UDP.name], PIN_PATH, [AGENT], 64, home_agent_ipv4_addresses=[AGENT_IPV4]
            )
            assert load(options).verified_instructions < 500_000
        with BindingMap.open(PIN_PATH) as bindings:
            for node in (PLAIN, IN_UDP):
                bindings.install(node.home, node.care_of, AGENT)
        yield
    finally:
        with inside("agent"):
            unload(PIN_PATH)
        for name in names:
            run(f"ip netns del {name}")


def pinging(place: str, destination: IPv6Address, size: int = 56, *options: str) -> list[str]:
    """The command that sends three."""
    command = ["nsenter", f"--net=/run/netns/{place}", "ping", "-6", "-n", "-c3", "-i0.5", "-W30", "-w60", f"-s{size}"]
    return [*command, *options, str(destination)]


def ping(*arguments: Any) -> str:
    """Sends three and returns what ping says."""
    return subprocess.run(pinging(*arguments), capture_output=True, text=True, check=False).stdout


def all_came_back(said: str) -> bool:
    # With a deadline, ping sends more than three where answers are late.
    counts = re.search(r"(\d+) packets transmitted, (\d+) received", said)
    return counts is not None and int(counts[1]) == int(counts[2]) >= 3


def counted(before: dict[Reason, int]) -> set[Reason]:
    after = read_counters(PIN_PATH)
    return {reason for reason in Reason if after[reason] != before[reason]}


@NODES
def test_both_ways(scene: None, node: Node) -> None:
    """The first packet finds no neighbour: the kernel sends it, from an address of its own."""
    run("ip -n agent neigh flush all")
    before = read_counters(PIN_PATH)

    assert all_came_back(ping("host", node.home))
    assert all_came_back(ping(node.name, CORRESPONDENT))

    assert counted(before) >= {
        Reason.PASS_ENCAPSULATED_NO_NEIGHBOUR,
        Reason.FORWARD_ENCAPSULATED,
        Reason.FORWARD_DECAPSULATED,
    }


def test_from_node_to_node(scene: None) -> None:
    before = read_counters(PIN_PATH)

    assert all_came_back(ping(PLAIN.name, IN_UDP.home))
    assert all_came_back(ping(IN_UDP.name, PLAIN.home))

    assert Reason.FORWARD_REENCAPSULATED in counted(before)


@NODES
def test_a_correspondent_learns_the_size_of_the_tunnel(scene: None, node: Node) -> None:
    assert all_came_back(ping("host", node.home, node.mtu - 48, "-M", "do"))
    said = ping("host", node.home, node.mtu - 47, "-M", "do")

    assert not all_came_back(said)
    assert re.search(rf"mtu\W+{node.mtu}\b", said), said


@NODES
def test_the_smallest_ipv6_packet_passes_a_link_that_is_too_small_for_the_tunnel(scene: None, node: Node) -> None:
    """In fragments, which the kernel makes and the node's puts together."""
    run(f"ip -n agent route add {node.care_of.address}/32 dev {node.name} mtu lock 1200")
    before = read_counters(PIN_PATH)

    assert all_came_back(ping("host", node.home, 1280 - 48))

    run(f"ip -n agent route del {node.care_of.address}/32 dev {node.name}")
    assert Reason.PASS_ENCAPSULATED_TO_FRAGMENT in counted(before)


@NODES
def test_what_a_node_sends_in_fragments_is_put_together(scene: None, node: Node) -> None:
    run(f"ip -n {node.name} link set mip {node.tunnel} ttl inherit nopmtudisc")
    run(f"ip -n {node.name} route replace {AGENT_IPV4} via {node.care_of.address - 1} mtu lock 800")
    before = read_counters(PIN_PATH)
    loop = asyncio.new_event_loop()
    with inside("agent"), closing(loop), closing(TunnelRelay(AGENT, PIN_PATH, loop, [AGENT_IPV4])):
        command = pinging(node.name, CORRESPONDENT, 1200)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            while running.poll() is None:
                loop.run_until_complete(asyncio.sleep(0.05))
            said = running.communicate()[0]

    assert all_came_back(said), said
    after = read_counters(PIN_PATH)
    assert after[Reason.PASS_IPV4_FRAGMENT] - before[Reason.PASS_IPV4_FRAGMENT] == 6
    assert after[Reason.FORWARD_DECAPSULATED] - before[Reason.FORWARD_DECAPSULATED] == 3
