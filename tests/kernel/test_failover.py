"""The failover of the demonstration with the kernel's IPsec at both home agents, after a movement and before a restart.

The mobile nodes are real agents, which do their own ESP. Everything is one story, told in order by several tests.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest

from bench.lab.addresses import home_address
from bench.lab.capture import Capture
from bench.lab.credentials import Credentials
from bench.lab.entering import inside
from bench.lab.home_agent import HomeAgentUnderTest
from bench.lab.laboratory import Laboratory
from bench.lab.mobile_nodes import MobileNodeAgent
from bench.lab.scene import Scene, SceneOptions
from control.mobility.extension_headers import Ipv6Packet, parse_ipv6
from control.wire import WireError
from datapath.show import show
from tests.kernel.network import run
from tests.lab.moving_node import MovingNode, check_movement, check_takeover
from tests.waiting import PATIENCE_S, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(900)]

NODES = 2
ESP, MOBILITY = 50, 135
# Much waits here for an emulated processor: a lease must not lapse for that.
CLUSTER = {"lease_s": 12.0, "heartbeat_s": 2.0}
IKE = {"liveness_interval_s": 10.0}
OURS = 0x6D


@dataclass(frozen=True)
class State:
    """One of ``ip -s xfrm state``."""

    source: IPv6Address
    destination: IPv6Address
    spi: int
    reqid: int
    packets: int


def states_at(agent: HomeAgentUnderTest) -> list[State]:
    text = agent.host.namespace.run(["ip", "-s", "xfrm", "state"])
    found = re.finditer(
        r"^src (\S+) dst (\S+)\n\s+proto esp spi (0x[0-9a-f]+)\S*\s+reqid (\d+).*?lifetime current:\s+\d+\(bytes\), "
        r"(\d+)\(packets\)",
        text,
        re.MULTILINE | re.DOTALL,
    )
    return [
        State(IPv6Address(source), IPv6Address(destination), int(spi, 16), int(reqid), int(packets))
        for source, destination, spi, reqid, packets in (match.groups() for match in found)
    ]


def frames(path: Path) -> Iterator[bytes]:
    """The frames of a capture file, as far as it is complete."""
    data = path.read_bytes()
    position = 24
    while position + 16 <= len(data):
        (length,) = struct.unpack_from("<I", data, position + 8)
        yield data[position + 16 : position + 16 + length]
        position += 16 + length


def signalling(path: Path) -> list[Ipv6Packet]:
    """The packets of a capture that are ESP or Mobility Header, in whatever extension headers."""
    found = []
    for frame in frames(path):
        try:
            packet = parse_ipv6(frame[14:])
        except WireError:
            continue
        if packet.next_header in (ESP, MOBILITY):
            found.append(packet)
    return found


class Story:
    def __init__(self, laboratory: Laboratory) -> None:
        credentials = Credentials("psk")
        subscribers = [credentials.subscriber(number, home_address(number)) for number in range(1, NODES + 1)]
        self.homes = [subscriber.home_address for subscriber in subscribers]
        self.scene = Scene(
            laboratory, credentials, subscribers, SceneOptions(cluster=CLUSTER, ike=IKE, back_end="auto")
        )
        self.nodes = [
            MobileNodeAgent(
                laboratory, self.scene.core, credentials, each, self.scene.failing, moves=each.number == NODES
            )
            for each in subscribers
        ]
        self.scene.core.prime_neighbours(*(node.host for node in self.nodes))
        self.scene.load()
        self.scene.serve(PATIENCE_S)
        directory = laboratory.subdirectory("captures")
        self.captures = {
            device: Capture(laboratory, self.scene.core.namespace, device, directory / f"{device}.pcap")
            for device in ("ha1", "ha2")
        }
        for capture in self.captures.values():
            capture.wait_started()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.events.wait_for("registered", PATIENCE_S)
        self.moving = MovingNode(laboratory, self.scene, self.nodes[-1], ping_interval_s=0.25)

    def essence(self, agent: HomeAgentUnderTest) -> set[tuple[str, str]]:
        return {(row["home_address"], row["care_of_address"]) for row in agent.bindings()}

    def ping(self, home: IPv6Address, count: int = 3) -> str:
        namespace = self.scene.correspondent.namespace
        command = namespace.enter_command(["ping", "-6", "-q", "-c", str(count), "-i", "0.2", "-W", "3", str(home)])
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def wait_answered(self) -> None:
        for home in self.homes:
            wait_until(lambda home=home: " 0% packet loss" in self.ping(home), f"no answer from {home}")


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    run("modprobe tun")
    with Laboratory("kernel") as laboratory:
        try:
            yield Story(laboratory)
        except BaseException:
            for path in sorted(laboratory.directory.glob("*.err")):
                print(f"--- {path.name}\n{path.read_text()[-3000:]}")
            raise


def check_protected(story: Story, device: str, agent: HomeAgentUnderTest) -> Counter[str]:
    """What went over the wire: only ESP, with the mobile node's address in an extension header, of SPIs we know."""
    spis = {state.spi for state in states_at(agent)}
    kinds: Counter[str] = Counter()
    for packet in signalling(story.captures[device].path):
        assert packet.next_header == ESP, f"a Mobility Header in the clear: {packet}"
        inbound = packet.home_address_option is not None
        assert inbound or packet.routing_header_2 is not None
        assert (packet.home_address_option or packet.routing_header_2) in story.homes
        if int.from_bytes(packet.payload[:4], "big") in spis:
            kinds["in" if inbound else "out"] += 1
    return kinds


def check_states(agent: HomeAgentUnderTest, homes: list[IPv6Address], pairs: int) -> None:
    """For each node that many pairs, of which one was used both ways."""
    states = states_at(agent)
    assert len(states) == 2 * pairs * len(homes)
    assert {state.reqid >> 24 for state in states} == {OURS}
    address = agent.host.address
    for home in homes:
        assert sum(state.packets for state in states if (state.source, state.destination) == (home, address)) >= 1
        assert sum(state.packets for state in states if (state.source, state.destination) == (address, home)) >= 1


def status_on_the_kernel(agent: HomeAgentUnderTest) -> dict[str, Any]:
    status = agent.status()
    assert status["ipsec"] == {"back_end": "kernel", "reason": "this kernel can"}
    return status


def shown(agent: HomeAgentUnderTest) -> dict[str, Any]:
    """What `homeagent datapath show` would say, which would take half a minute to start."""
    with inside(agent.host.namespace.name):
        return show(agent.pin_path)


def test_nodes_register_by_the_kernel_s_esp(story: Story) -> None:
    ha1 = story.scene.failing
    assert status_on_the_kernel(ha1)["bindings"] == NODES
    assert shown(ha1)["home_link"]["kind"] == "dummy"
    check_states(ha1, story.homes, pairs=1)
    assert min(check_protected(story, "ha1", ha1)[way] for way in ("in", "out")) >= NODES
    story.wait_answered()


def test_a_node_that_moves_keeps_its_keys_and_its_traffic(story: Story) -> None:
    before = {state.spi for state in states_at(story.scene.failing)}
    check_movement(story.moving, soft=False)
    assert {state.spi for state in states_at(story.scene.failing)} == before


def test_the_other_home_agent_brings_them_back_by_the_kernel_s_esp(story: Story) -> None:
    ha2 = story.scene.surviving
    assert states_at(ha2) == []
    check_takeover(story.moving)
    wait_until(lambda: ha2.status()["takeover"]["recovered"] == NODES, "not every node returned")
    story.wait_answered()
    places = (*(node.host for node in story.nodes[:-1]), story.moving.there)
    assert story.essence(ha2) == {
        (str(home), str(place.address)) for home, place in zip(story.homes, places, strict=True)
    }
    check_states(ha2, story.homes, pairs=2)  # for the Mobility Header and for prefix discovery
    # A Home Agent Switch and an acknowledgement to each node, an update from each.
    kinds = check_protected(story, "ha2", ha2)
    assert kinds["out"] >= 2 * NODES
    assert kinds["in"] >= NODES
    counters = shown(ha2)["counters"]
    assert counters["forward-with-routing-header"] >= 2 * NODES
    assert counters.get("drop-home-link-unprotected", 0) == 0


def test_a_killed_daemon_finds_its_bindings_and_begins_with_new_associations(story: Story) -> None:
    ha2 = story.scene.surviving
    before, left_over = story.essence(ha2), {state.spi for state in states_at(ha2)}
    assert left_over
    ha2.daemon.kill()
    assert {state.spi for state in states_at(ha2)} == left_over
    story.wait_answered()
    ha2.serve()
    ha2.wait_ready(PATIENCE_S)
    assert story.essence(ha2) == before
    # An attempt that an emulated node answers too late is made again after a while, or the node comes by itself.
    wait_until(lambda: ha2.status()["child_sas"] >= 2 * NODES, "there are no new security associations", 3 * PATIENCE_S)
    assert not {state.spi for state in states_at(ha2)} & left_over
    story.wait_answered()
    check_protected(story, "ha2", ha2)
