"""What the tunnel carries and how large, by real senders: iperf3, and path MTU discovery past kernel routers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from datapath.counters import read_counters
from datapath.reasons import Reason
from tests.datapath.hosts import HOME_AGENT, Hosts, ping, running_hosts
from tests.waiting import wait_until

pytestmark = pytest.mark.namespaces

MEGABYTE = 1_000_000
WINDOW = ("--window", "64K")
"""A sender stops when its last bytes are in this buffer: the receiver has all before them."""


# The daemon's part: takes what the kernel has put together back to the data path.
RELAY = """
import asyncio, sys
from ipaddress import IPv6Address
from pathlib import Path
from control.daemon.tunnel_relay import TunnelRelay
loop = asyncio.new_event_loop()
relay = TunnelRelay(IPv6Address(sys.argv[1]), Path(sys.argv[2]), loop)
print("ready", flush=True)
loop.run_forever()
"""


@pytest.fixture
def loaded(hosts) -> Hosts:
    """The hosts, at work; next hops are known."""
    hosts.load()
    hosts.install()
    for home in hosts.homes:
        assert ping(hosts.correspondent, home, count=1)[0] == 1
    return hosts


@contextmanager
def iperf3_server(host, address: object) -> Iterator[None]:
    server = subprocess.Popen(
        [*host.entering, "iperf3", "--server", "--bind", str(address), "--forceflush"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        while "listening" not in (line := server.stdout.readline()):
            assert line, server.wait()
        yield
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def iperf3(host, address: object, *options: str, size: int) -> dict[str, Any]:
    """Sends so many bytes to the server, or has it send them; what both ends counted at the end."""
    command = [*host.entering, "iperf3", "--client", str(address), "--json", "--bytes", str(size), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    report = json.loads(done.stdout)
    assert "error" not in report, report["error"]
    return report["end"]


def iperf3_both_ways(hosts: Hosts, home: object, *options: str, size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """From the correspondent to the first node, then back."""
    with iperf3_server(hosts.nodes[0], home):
        there = iperf3(hosts.correspondent, home, *options, size=size)
        return there, iperf3(hosts.correspondent, home, "--reverse", *options, size=size)


def path_mtu(host, destination: object, options: str = "") -> int:
    """What the host's kernel knows of the way, 0 if nothing in particular."""
    words = host.run(f"ip -6 route get {destination} {options}").split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else 0


def let_node_receive_1500_bytes(node) -> None:
    """Its correspondents are offered segments that fill a packet of 1500 bytes; its own packets fit its tunnel."""
    node.run("ip link set mip mtu 1500")
    node.run("ip -6 route replace default dev mip table 100 mtu 1340 advmss 1440")


def narrow_the_link(hosts: Hosts, number: int, mtu: int) -> None:
    """The link between router and node: inside the tunnel."""
    hosts.nodes[number].run(f"ip link set eth0 mtu {mtu}")
    hosts.core.run(f"ip link set mn{number + 1} mtu {mtu}")


def ping_too_big(hosts: Hosts, home: object) -> None:
    """An echo request that does not fit; it is over when the error has come."""
    assert ping(hosts.correspondent, home, count=1, options="-s 1412 -M do")[0] == 0


def test_tcp_in_both_directions(loaded):
    home = next(iter(loaded.homes))
    before = read_counters(loaded.pin_path)

    there, back = iperf3_both_ways(loaded, home, *WINDOW, size=3 * MEGABYTE)

    for direction in (there, back):
        assert direction["sum_sent"]["bytes"] >= 3 * MEGABYTE
        assert direction["sum_received"]["bytes"] > 2 * MEGABYTE
    counted = loaded.counted(before)
    assert counted[Reason.FORWARD_ENCAPSULATED] > 1500  # segments of at most 1340 bytes
    assert counted[Reason.FORWARD_DECAPSULATED] > 1500
    assert not {reason for reason in counted if reason.name.startswith("DROP")}


def test_udp_in_both_directions(loaded):
    home = next(iter(loaded.homes))
    # The node's end is a loop in Python, which a busy machine may keep waiting: what comes in a second fits its socket.
    pace = ("--udp", "--bitrate", "1M", "--length", "1200")
    before = read_counters(loaded.pin_path)

    there, back = iperf3_both_ways(loaded, home, *pace, size=MEGABYTE // 4)

    assert there["sum"]["packets"] >= 208
    assert back["sum"]["packets"] >= 208
    for direction in (there, back):
        assert direction["sum"]["lost_packets"] < direction["sum"]["packets"] / 10
    counted = loaded.counted(before)
    assert counted[Reason.FORWARD_ENCAPSULATED] >= there["sum"]["packets"]
    assert counted[Reason.FORWARD_DECAPSULATED] >= back["sum"]["packets"]
    assert not {reason for reason in counted if reason.name.startswith("DROP")}


@pytest.mark.parametrize(
    ("link_mtu", "learned", "answered"),
    [
        (1500, 1460, Reason.REPLY_PACKET_TOO_BIG),
        (1400, 1360, Reason.PASS_TUNNEL_ERROR_RELAYED),
    ],
    ids=["first link", "link inside the tunnel"],
)
def test_a_sender_of_1500_bytes_learns_what_fits(loaded, link_mtu, learned, answered):
    """Path MTU discovery by TCP: the segments that are lost are sent again, smaller."""
    home = next(iter(loaded.homes))
    let_node_receive_1500_bytes(loaded.nodes[0])
    narrow_the_link(loaded, 0, link_mtu)
    before = read_counters(loaded.pin_path)

    there, back = iperf3_both_ways(loaded, home, *WINDOW, size=2 * MEGABYTE)

    for direction in (there, back):
        assert direction["sum_sent"]["bytes"] >= 2 * MEGABYTE
        assert direction["sum_received"]["bytes"] > MEGABYTE
    assert path_mtu(loaded.correspondent, home) == learned
    assert loaded.counted(before)[answered] >= 1


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_the_home_agent_remembers_a_narrow_link_inside_the_tunnel(hosts, mode):
    hosts.load(mode)
    hosts.install()
    home, other_home = hosts.homes
    for each in (home, other_home):
        ping(hosts.correspondent, each, count=1)
    narrow_the_link(hosts, 0, 1400)
    before = read_counters(hosts.pin_path)

    # The router inside tells the home agent, and that the correspondent.
    ping_too_big(hosts, home)
    counted = hosts.counted(before)
    assert counted[Reason.PASS_TUNNEL_ERROR_RELAYED] == 1
    assert Reason.REPLY_PACKET_TOO_BIG not in counted
    assert path_mtu(hosts.correspondent, home) == 1360

    # Whoever else sends such a packet is answered by the home agent.
    hosts.correspondent.run("ip -6 route flush cache")
    assert path_mtu(hosts.correspondent, home) == 0
    ping_too_big(hosts, home)
    counted = hosts.counted(before)
    assert counted[Reason.PASS_TUNNEL_ERROR_RELAYED] == 1
    assert counted[Reason.REPLY_PACKET_TOO_BIG] == 1
    assert path_mtu(hosts.correspondent, home) == 1360

    # What fits arrives, and the other node's tunnel is as wide as before.
    assert ping(hosts.correspondent, home, count=1, options="-s 1312 -M do")[0] == 1
    ping(hosts.correspondent, other_home, count=1, options="-s 1412 -M do")
    assert hosts.counted(before)[Reason.REPLY_PACKET_TOO_BIG] == 1


def test_a_mobile_node_learns_of_a_narrow_link_in_front_of_another(loaded):
    home, other_home = loaded.homes
    narrow_the_link(loaded, 1, 1380)
    ping(loaded.nodes[0], other_home, count=1, options=f"-I {home}")

    ping(loaded.nodes[0], other_home, count=1, options=f"-I {home} -s 1352 -M do", patience_s=1)

    learned = partial(path_mtu, loaded.nodes[0], other_home, f"from {home}")
    wait_until(lambda: learned() == 1340, learned)
    assert ping(loaded.nodes[0], other_home, count=1, options=f"-I {home} -s 1292 -M do")[0] == 1


def test_a_link_of_the_least_mtu_inside_the_tunnel_carries_everything_in_fragments(loaded):
    """The correspondent is told 1280 bytes, the least there is; with the outer header in front they do not fit."""
    home = next(iter(loaded.homes))
    narrow_the_link(loaded, 0, 1280)
    relay = loaded.agent.start(RELAY, str(HOME_AGENT), str(loaded.pin_path))
    try:
        assert relay.stdout.readline() == "ready\n"
        ping(loaded.correspondent, home, count=1, options="-s 1400")
        assert path_mtu(loaded.correspondent, home) == 1280
        before = read_counters(loaded.pin_path)

        received, said = ping(loaded.correspondent, home, options="-s 1400")
        counted = loaded.counted(before)
        longer, _ = ping(loaded.correspondent, home, options="-s 20000")
    finally:
        relay.kill()
        relay.communicate()

    assert (received, longer) == (5, 5), said
    # There and back, of the two fragments that the pinging hosts make the first one is too long, the second is not.
    assert (counted[Reason.FORWARD_IN_FRAGMENTS], counted[Reason.FORWARD_ENCAPSULATED]) == (5, 5)
    assert (counted[Reason.PASS_FRAGMENT], counted[Reason.FORWARD_DECAPSULATED]) == (10, 10)
    assert not {reason for reason in counted if reason.name.startswith(("DROP", "PASS_DECAPSULATED"))}


def test_a_node_that_is_gone_is_unreachable_to_its_correspondent(loaded):
    home, care_of = next(iter(loaded.homes.items()))
    loaded.core.run(f"ip -6 route add unreachable {care_of}/128")

    received, said = ping(loaded.correspondent, home, count=1)

    assert received == 0
    assert f"From {HOME_AGENT}" in said
    assert "Address unreachable" in said


def test_a_home_agent_with_one_arm(namespaces, pin_path):
    """In and out by one interface: pings of a correspondent and another node, bulk both ways, and what fits learned."""
    with running_hosts(namespaces, pin_path, one_arm=True) as hosts:
        assert [(row["name"], row["actual_mode"]) for row in hosts.load()["interfaces"]] == [("core0", "native")]
        hosts.install()
        home, other_home = hosts.homes
        for each in hosts.homes:
            assert ping(hosts.correspondent, each, count=1)[0] == 1
        before = read_counters(hosts.pin_path)

        assert ping(hosts.correspondent, home)[0] == 5
        assert ping(hosts.nodes[0], other_home, options=f"-I {home}")[0] == 5
        counted = hosts.counted(before)
        assert {reason: counted[reason] for reason in THROUGH} == dict(zip(THROUGH, (5, 5, 10), strict=True))

        there, back = iperf3_both_ways(hosts, home, *WINDOW, size=MEGABYTE)
        for direction in (there, back):
            assert direction["sum_sent"]["bytes"] >= MEGABYTE
            assert direction["sum_received"]["bytes"] > MEGABYTE / 2
        counted = hosts.counted(before)
        assert counted[Reason.FORWARD_ENCAPSULATED] > 500
        assert counted[Reason.FORWARD_DECAPSULATED] > 500
        assert not {reason for reason in counted if reason.name.startswith("DROP")}

        narrow_the_link(hosts, 0, 1400)
        ping_too_big(hosts, home)
        assert path_mtu(hosts.correspondent, home) == 1360


THROUGH = (Reason.FORWARD_ENCAPSULATED, Reason.FORWARD_DECAPSULATED, Reason.FORWARD_REENCAPSULATED)
