"""Real packets between namespaces: a correspondent, a home agent with the data path, and two mobile nodes."""

from __future__ import annotations

import pytest

from datapath.bindings import BindingMap
from datapath.counters import read_counters
from datapath.reasons import Reason
from tests.datapath.hosts import HOME_AGENT, ping
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.namespaces

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
connection = socket.create_connection((address, 7777), timeout=60)
def send():
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
back = bytearray()
while part := connection.recv(65536):
    back += part
print(len(back) if back == data else "changed")
"""


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
    server.communicate(timeout=PATIENCE_S)

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

    ping(hosts.nodes[0], HOME_AGENT, count=2, options=f"-I {home}", patience_s=1)

    wait_until(lambda: hosts.counted(before).get(Reason.PASS_DECAPSULATED_LOCAL) == 2, lambda: hosts.counted(before))


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
        *f"ping -n -i 0.01 -W 20 -c 400 {home}".split(),
    )

    reports = [hosts.load() for _ in range(2)]

    said = running.communicate(timeout=PATIENCE_S)[0]
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
        assert bindings.reconcile(bindings.entries()) == ([], [], [], [])


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
    before = read_counters(hosts.pin_path)[Reason.FORWARD_ENCAPSULATED]
    running = hosts.correspondent.start(
        "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)",
        *f"ping -n -i 0.01 -W 20 -c 100 {home}".split(),
    )
    wait_until(lambda: read_counters(hosts.pin_path)[Reason.FORWARD_ENCAPSULATED] > before, "nothing is sent")
    daemon.kill()
    daemon.communicate()

    said = running.communicate(timeout=PATIENCE_S)[0]

    assert " 100 received" in said, said


def test_unloading_ends_it(hosts):
    hosts.load()
    hosts.install()
    home = next(iter(hosts.homes))

    report = hosts.unload()

    assert sorted(report["detached"]) == ["cn0", "core0"]
    assert not hosts.pin_path.exists()
    assert "xdp" not in hosts.agent.run("ip link show")
    assert ping(hosts.correspondent, home, count=1, patience_s=2)[0] == 0
