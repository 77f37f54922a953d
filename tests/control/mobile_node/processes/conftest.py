"""Two network namespaces, with the processes under test in one and small home agents on real sockets in the other."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from ipaddress import IPv6Address, IPv6Network

import pytest

from bench.lab.entering import inside
from control.mobility.extension_headers import encapsulate
from control.mobility.home_registration import HomeRegistration
from control.sockets.ike_udp import IkeSocket
from control.sockets.packet import CareOfSender
from control.sockets.tun import TunDevice
from tests.waiting import PATIENCE_S

KEY = "a key shared by the node and its home agents"
NODE_IDENTITY = "mn1@mn.example.org"
CARE_OF_ADDRESS = IPv6Address("2001:db8:c0::11")
GATEWAY = IPv6Address("2001:db8:c0::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::11")
HA1 = IPv6Address("2001:db8:a1::1")
HA2 = IPv6Address("2001:db8:a2::1")
CORRESPONDENT = IPv6Address("2001:db8:cc::1")


def run(*command, inside=None, **options):
    prefix = ("nsenter", f"--net=/run/netns/{inside}", "--") if inside else ()
    options = {"check": True, "capture_output": True, "text": True, "timeout": PATIENCE_S, **options}
    return subprocess.run((*prefix, *command), **options)


class Link:
    """Two namespaces with a veth between them: the node's, and one of home agents with a correspondent behind them."""

    def __init__(self, name):
        self.node = f"{name}-mn"
        self.home = f"{name}-ha"
        self.stack = ExitStack()

    def __enter__(self):
        quiet = "for f in all default; do for k in accept_dad dad_transmits router_solicitations accept_ra; do "
        quiet += "echo 0 > /proc/sys/net/ipv6/conf/$f/$k; done; done"
        for namespace in (self.node, self.home):
            run("ip", "netns", "add", namespace)
            self.stack.callback(run, "ip", "netns", "delete", namespace, check=False)
            run("sh", "-c", quiet, inside=namespace)
        run("ip", "-n", self.node, "link", "add", "eth0", "type", "veth", "peer", "name", "core0", "netns", self.home)
        for namespace, device in ((self.node, "eth0"), (self.home, "core0"), (self.node, "lo"), (self.home, "lo")):
            run("ip", "-n", namespace, "link", "set", device, "up")
        run("ip", "-n", self.node, "address", "add", f"{CARE_OF_ADDRESS}/64", "dev", "eth0", "nodad")
        run("ip", "-n", self.home, "address", "add", f"{GATEWAY}/64", "dev", "core0", "nodad")
        run("ip", "-n", self.node, "-6", "route", "add", "default", "via", str(GATEWAY))
        for address in (HA1, HA2):
            run("ip", "-n", self.home, "address", "add", f"{address}/128", "dev", "lo", "nodad")
        device = json.loads(run("ip", "-n", self.node, "-json", "link", "show", "dev", "eth0").stdout)[0]
        self.node_mac = device["address"]
        return self

    def __exit__(self, *_):
        self.stack.close()


class RealHomeAgent:
    """A small home agent on real sockets; a TUN device leads to the correspondent, which is this host's kernel."""

    def __init__(self, link, agent, tun):
        self.agent = agent
        with inside(link.home):
            self.ike = IkeSocket(agent.address)
            self.packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
            self.packets.setsockopt(263, 23, 1)
            self.packets.bind(("core0", 0x86DD))
            self.sender = CareOfSender("core0", agent.address)
            self.tun = TunDevice(tun)
        run("ip", "-n", link.home, "link", "set", tun, "addrgenmode", "none")
        run("ip", "-n", link.home, "link", "set", tun, "mtu", "1460", "up")
        self.dead = False

    def serve(self, seconds, until=lambda: False):
        """Be the home agent for some time, or until something holds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            select.select([self.ike, self.packets, self.tun], [], [], 0.02)
            now = time.monotonic()
            for data, peer in self.ike.receive():
                self.agent.receive_ike(data, self.ike.local, peer, now)
            self._read_packets(now)
            for packet in self.tun.receive():
                binding = self.agent.cache.get(IPv6Address(packet[24:40]))
                if binding is not None:
                    self.sender.send(encapsulate(self.agent.address, binding.care_of_address, packet))
            self.agent.handle_timer(now)
            self.ike.send(self.agent.datagrams_to_send())
            for packet in self.agent.packets_to_send():
                self.sender.send(packet)
        return until()

    def _read_packets(self, now):
        with suppress(BlockingIOError):
            for _ in range(256):
                packet = self.packets.recv(65575)
                if packet[24:40] == self.agent.address.packed and packet[6] in (41, 60):
                    self.agent.receive_packet(packet, now)
        inner, self.agent.inner = self.agent.inner, []
        for packet in inner:
            self.tun.send(packet)

    def close(self):
        for part in (self.ike, self.packets, self.sender, self.tun):
            part.close()


class Follower:
    """Reads JSON lines of a file that grows."""

    def __init__(self, path):
        self.path = path

    def rows(self, event=None):
        if not self.path.exists():
            return []
        lines = self.path.read_text().splitlines()
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        return [row for row in rows if event is None or row["event"] == event]


@pytest.fixture
def follower():
    return Follower


@pytest.fixture
def in_namespace():
    return inside


@pytest.fixture
def link():
    with Link(f"hamn{os.getpid()}") as made:
        yield made


@pytest.fixture
def real_home_agents(link, small_home_agent):
    """Two home agents; call with which one the correspondent's packets go through."""
    agents = [
        RealHomeAgent(link, small_home_agent(HA1, "ha1.example.org", "2001:db8:100::/64"), "tun1"),
        RealHomeAgent(link, small_home_agent(HA2, "ha2.example.org", "2001:db8:100::/48"), "tun2"),
    ]
    agents[1].agent.rules = HomeRegistration(HA2, [IPv6Network("2001:db8::/32")], 3600.0, agents[1].agent.cache)
    run("ip", "-n", link.home, "address", "add", f"{CORRESPONDENT}/128", "dev", "lo", "nodad")
    yield agents
    for agent in agents:
        agent.close()


@pytest.fixture
def agent_process(link, tmp_path):
    """The real agent in the node's namespace: (process, its events)."""
    configuration = tmp_path / "mobile-node.toml"
    configuration.write_text(
        f"""
        [mobile_node]
        identity = "{NODE_IDENTITY}"
        home_address = "{HOME_ADDRESS}"
        home_agent = "{HA1}"
        home_agent_identity = "ha1.example.org"
        trusted_home_agents = ["*.example.org"]
        care_of_interface = "eth0"
        authentication = "shared-key"
        shared_key = "{KEY}"
        [key_export]
        esp = "esp_sa"
        """
    )
    events = tmp_path / "events.jsonl"
    code = "import sys, pathlib; from control.mobile_daemon.agent import run_agent; "
    code += "sys.exit(run_agent(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))"
    command = ("nsenter", f"--net=/run/netns/{link.node}", "--", sys.executable, "-c", code)
    process = subprocess.Popen(
        (*command, str(configuration), str(events)), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    yield process, Follower(events)
    process.kill()
    process.communicate()
