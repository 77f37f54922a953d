"""Real packets between namespaces: a correspondent, a home agent with the data path, and two mobile nodes."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from datapath.bindings import BindingMap
from datapath.counters import read_counters
from datapath.reasons import Reason

pytestmark = pytest.mark.namespaces

LOAD = """
import json, sys
from ipaddress import IPv6Address
from pathlib import Path
from datapath.loader import LoaderOptions, load
mode, pin_path, *interfaces = sys.argv[1:]
report = load(LoaderOptions(interfaces, Path(pin_path), [IPv6Address("2001:db8:f::1")], 64, mode))
print(json.dumps(report.to_dict()))
"""

UNLOAD = """
import json, sys
from pathlib import Path
from datapath.unload import unload
print(json.dumps(unload(Path(sys.argv[1])).to_dict()))
"""

# The mobile node's end of the tunnel: a TUN device with the home address, and IPv6-in-IPv6 on a raw socket.
MOBILE_NODE = """
import fcntl, os, select, socket, struct, subprocess, sys
home, care_of, home_agent = sys.argv[1:]
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH14x", b"mip", 0x0001 | 0x1000))
for command in (f"ip link set mip mtu 1400 up", f"ip addr add {home}/128 dev mip",
                f"ip -6 rule add from {home} lookup 100", f"ip -6 route add default dev mip table 100"):
    subprocess.run(command.split(), check=True)
outer = socket.socket(socket.AF_INET6, socket.SOCK_RAW, 41)
outer.bind((care_of, 0))
outer.connect((home_agent, 0))
print("ready", flush=True)
while True:
    for ready in select.select([tun, outer], [], [])[0]:
        if ready is tun:
            packet = os.read(tun, 2048)
            if packet[8:24] == socket.inet_pton(socket.AF_INET6, home):
                outer.send(packet)
        else:
            os.write(tun, outer.recv(65536))  # GRO merges what comes out of the tunnel
"""

# Sends back whatever comes, until the other side is done.
ECHO = """
import socket, sys
listener = socket.create_server((sys.argv[1], 7777), family=socket.AF_INET6)
print("ready", flush=True)
connection, _ = listener.accept()
while data := connection.recv(65536):
    connection.sendall(data)
connection.close()
"""

# Sends so many bytes and prints how many came back unchanged.
TRANSFER = """
import socket, sys, threading
address, size = sys.argv[1], int(sys.argv[2])
data = bytes(range(256)) * (size // 256 + 1)
data = data[:size]
connection = socket.create_connection((address, 7777), timeout=10)
def send():
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
back = bytearray()
while part := connection.recv(65536):
    back += part
print(len(back) if back == data else "changed")
"""

HOME_AGENT = IPv6Address("2001:db8:f::1")


@dataclass
class Hosts:
    """The namespaces, and the processes running in them."""

    agent: object
    correspondent: object
    pin_path: Path
    nodes: list = field(default_factory=list)
    homes: dict[IPv6Address, IPv6Address] = field(default_factory=dict)

    def load(self, mode: str = "auto") -> dict:
        done = self.agent.python(LOAD, mode, str(self.pin_path), "cn0", "core0")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def unload(self) -> dict:
        done = self.agent.python(UNLOAD, str(self.pin_path))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def install(self) -> None:
        with BindingMap.open(self.pin_path) as bindings:
            for home, care_of in self.homes.items():
                bindings.install(home, care_of, HOME_AGENT)

    def counted(self, before: dict[Reason, int]) -> dict[Reason, int]:
        after = read_counters(self.pin_path)
        return {reason: after[reason] - before[reason] for reason in Reason if after[reason] != before[reason]}


def connect(router, port: str, host, interface: str, prefix: str) -> None:
    """A link with address ::1 on the router's side and ::5 on the host's, which takes it for its default route."""
    router.run(f"ip link add {port} type veth peer name {interface} netns {host.name}")
    for namespace, end, address in ((router, port, f"{prefix}::1"), (host, interface, f"{prefix}::5")):
        namespace.sysctl(f"net.ipv6.conf.{end}.accept_dad", "0")
        namespace.run(f"ip link set {end} up")
        namespace.run(f"ip addr add {address}/64 dev {end}")
        # Native XDP sees what a local socket left of the checksum; only NAPI on the far end takes redirected frames.
        namespace.run(f"ethtool -K {end} tx off gro {'off' if port.startswith('mn') else 'on'}")
    host.run(f"ip -6 route add default via {prefix}::1")


@contextmanager
def mobile_node(host, home: IPv6Address, care_of: IPv6Address) -> Iterator[None]:
    process = host.start(MOBILE_NODE, str(home), str(care_of), str(HOME_AGENT))
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stdin.close()


@pytest.fixture
def hosts(namespaces, pin_path) -> Iterator[Hosts]:
    """The correspondent on one interface of the home agent, a router with the mobile nodes on the other.

    The kernel of a mobile node would merge what the home agent sends (GRO) and leave its checksums unfinished, which a
    raw socket cannot tell; the router in between forwards it as segments.
    """
    agent, correspondent, core, first, second = (namespaces(name) for name in ("ha", "cn", "core", "mn1", "mn2"))
    for router in (agent, core):
        router.sysctl("net.ipv6.conf.all.forwarding", "1")
    connect(agent, "cn0", correspondent, "eth0", "2001:db8:c")
    connect(core, "ha", agent, "core0", "2001:db8:f:ff")
    connect(core, "mn1", first, "eth0", "2001:db8:f:1")
    connect(core, "mn2", second, "eth0", "2001:db8:f:2")
    agent.run(f"ip addr add {HOME_AGENT}/128 dev core0")
    agent.run("ip -6 route add unreachable 2001:db8:100::/64")
    core.run(f"ip -6 route add {HOME_AGENT} via 2001:db8:f:ff::5")
    core.run("ip -6 route add default via 2001:db8:f:ff::5")
    homes = {
        IPv6Address("2001:db8:100::5"): IPv6Address("2001:db8:f:1::5"),
        IPv6Address("2001:db8:100::6"): IPv6Address("2001:db8:f:2::5"),
    }
    (home, care_of), (other_home, other_care_of) = homes.items()
    with mobile_node(first, home, care_of), mobile_node(second, other_home, other_care_of):
        yield Hosts(agent, correspondent, pin_path, [first, second], homes)


def ping(host, destination: object, *, count: int = 5, options: str = "") -> tuple[int, str]:
    """Answers received, and what ping said."""
    done = host.start(
        "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)",
        *f"ping -n -i 0.05 -W 5 -c {count} {options} {destination}".split(),
    )
    said = done.communicate(timeout=60)[0]
    return int(re.search(r"(\d+) received", said)[1]), said


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_pings_through_both_directions(hosts, mode):
    report = hosts.load(mode)
    assert [row["actual_mode"] for row in report["interfaces"]] == [mode] * 2
    hosts.install()
    home = next(iter(hosts.homes))
    ping(hosts.correspondent, home, count=1)  # resolves the neighbours, by the kernel's slow path
    before = read_counters(hosts.pin_path)

    received, said = ping(hosts.correspondent, home)

    assert received == 5, said
    counted = hosts.counted(before)
    assert counted[Reason.FORWARD_ENCAPSULATED] == 5
    assert counted[Reason.FORWARD_DECAPSULATED] == 5
    with BindingMap.open(hosts.pin_path) as bindings:
        usage = bindings.usage(home)
    assert (usage.encapsulated_packets, usage.decapsulated_packets) == (6, 6)


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_a_bulk_transfer_fits_the_tunnel_both_ways(hosts, mode):
    """Segments must reach XDP as they were sent: merged ones (GRO) would be too big for the tunnel."""
    hosts.load(mode)
    hosts.install()
    home = next(iter(hosts.homes))
    ping(hosts.correspondent, home, count=1)
    server = hosts.nodes[0].start(ECHO, str(home))
    assert server.stdout.readline() == "ready\n"
    before = read_counters(hosts.pin_path)

    client = hosts.correspondent.python(TRANSFER, str(home), "2000000")
    server.communicate(timeout=30)

    assert client.stdout == "2000000\n", client.stderr
    counted = hosts.counted(before)
    assert counted[Reason.FORWARD_ENCAPSULATED] > 1000
    assert counted[Reason.FORWARD_DECAPSULATED] > 1000
    assert Reason.REPLY_PACKET_TOO_BIG not in counted
    assert Reason.PASS_DECAPSULATED_SLOW_PATH not in counted


def test_the_first_packet_arrives_although_no_neighbour_is_known(hosts):
    hosts.load()
    hosts.install()
    home = next(iter(hosts.homes))
    for port in ("cn0", "core0"):
        hosts.agent.run(f"ip -6 neigh flush dev {port}")
    before = read_counters(hosts.pin_path)

    received, said = ping(hosts.correspondent, home, count=1)

    assert received == 1, said
    assert Reason.PASS_ENCAPSULATED_NO_NEIGHBOUR in hosts.counted(before)


def test_from_one_mobile_node_to_another(hosts):
    hosts.load()
    hosts.install()
    home, other_home = hosts.homes
    ping(hosts.nodes[0], other_home, count=1, options=f"-I {home}")
    before = read_counters(hosts.pin_path)

    received, said = ping(hosts.nodes[0], other_home, options=f"-I {home}")

    assert received == 5, said
    assert hosts.counted(before)[Reason.FORWARD_REENCAPSULATED] == 10


def test_the_home_agent_itself_answers_through_the_tunnel(hosts):
    """The request leaves the tunnel here; the answer is the kernel's own, which XDP does not see."""
    hosts.load()
    hosts.install()
    home = next(iter(hosts.homes))
    before = read_counters(hosts.pin_path)

    ping(hosts.nodes[0], HOME_AGENT, count=2, options=f"-I {home}")

    assert hosts.counted(before)[Reason.PASS_DECAPSULATED_LOCAL] == 2


def test_a_packet_too_big_reaches_the_correspondent(hosts):
    hosts.load()
    hosts.install()
    home = next(iter(hosts.homes))

    ping(hosts.correspondent, home, count=1)
    ping(hosts.correspondent, home, count=1, options="-s 1440 -M do")
    assert "mtu 1460" in hosts.correspondent.run(f"ip -6 route get {home}")
    # From now on the correspondent makes fragments that fit the tunnel.
    before = read_counters(hosts.pin_path)
    ping(hosts.correspondent, home, count=1, options="-s 1440 -M dont")

    counted = hosts.counted(before)
    assert Reason.REPLY_PACKET_TOO_BIG not in counted
    assert counted[Reason.FORWARD_ENCAPSULATED] == 2


def test_traceroute_sees_the_home_agent(hosts):
    hosts.load()
    hosts.install()
    home = next(iter(hosts.homes))

    ping(hosts.correspondent, home, count=1)  # resolves the neighbours: an error waits for no resolution that fails
    _, said = ping(hosts.correspondent, home, count=3, options="-t 1")

    assert f"From {HOME_AGENT}" in said
    assert "Time exceeded" in said


def test_loading_again_during_a_ping_loses_nothing(hosts):
    hosts.load()
    hosts.install()
    home = next(iter(hosts.homes))
    ping(hosts.correspondent, home, count=2)
    running = hosts.correspondent.start(
        "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)",
        *f"ping -n -i 0.01 -W 5 -c 400 {home}".split(),
    )

    reports = [hosts.load() for _ in range(2)]

    said = running.communicate(timeout=60)[0]
    assert " 400 received" in said, said
    assert all(report["maps_reused"] for report in reports)


def test_nothing_but_the_pins_is_needed(hosts):
    """The loader is gone and no process holds the maps; traffic flows, and a new process finds the bindings."""
    hosts.load()
    hosts.install()
    home = next(iter(hosts.homes))
    ping(hosts.correspondent, home, count=1)

    received, said = ping(hosts.correspondent, home, count=20)

    assert received == 20, said
    with BindingMap.open(hosts.pin_path) as bindings:
        assert len(bindings) == 2
        assert bindings.reconcile(bindings.entries()) == ([], [], [])


def test_a_killed_daemon_loses_nothing(hosts):
    hosts.load()
    hosts.install()
    home = next(iter(hosts.homes))
    ping(hosts.correspondent, home, count=1)
    daemon = hosts.agent.start(
        "import sys, time; from pathlib import Path; from datapath.bindings import BindingMap\n"
        "bindings = BindingMap.open(Path(sys.argv[1])); print(len(bindings), flush=True); time.sleep(60)",
        str(hosts.pin_path),
    )
    assert daemon.stdout.readline() == "2\n"
    running = hosts.correspondent.start(
        "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)",
        *f"ping -n -i 0.01 -W 5 -c 100 {home}".split(),
    )
    time.sleep(0.3)
    daemon.kill()
    daemon.communicate()

    said = running.communicate(timeout=60)[0]

    assert " 100 received" in said, said


def test_unloading_ends_it(hosts):
    hosts.load()
    hosts.install()
    home = next(iter(hosts.homes))

    report = hosts.unload()

    assert sorted(report["detached"]) == ["cn0", "core0"]
    assert not hosts.pin_path.exists()
    assert "xdp" not in hosts.agent.run("ip link show")
    assert ping(hosts.correspondent, home, count=1)[0] == 0
