"""The agent with a real kernel around it: TUN device, packet socket, routes, filter."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from ipaddress import IPv6Address
from itertools import groupby

import pytest

from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.namespaces

HA1 = IPv6Address("2001:db8:a1::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::11")
OTHER_HOME_ADDRESS = IPv6Address("2001:db8:200::11")
CORRESPONDENT = IPv6Address("2001:db8:cc::1")

_SIZE = 3_000_000
_RECEIVE = """
import hashlib, socket
server = socket.create_server(("::", 7000), family=socket.AF_INET6)
print("ready", flush=True)
connection = server.accept()[0]
digest, size = hashlib.sha256(), 0
while data := connection.recv(65536):
    digest.update(data)
    size += len(data)
print(size, digest.hexdigest())
"""
_SEND = """
import random, socket, sys
connection = socket.create_connection((sys.argv[1], 7000), 60, (sys.argv[2], 0))
connection.sendall(random.Random(1).randbytes(int(sys.argv[3])))
connection.close()
"""


def run(*command, inside, **options):
    options = {"check": True, "capture_output": True, "text": True, "timeout": PATIENCE_S, **options}
    return subprocess.run(("nsenter", f"--net=/run/netns/{inside}", "--", *command), **options)


def in_background(link, namespace, *command):
    enter = ("nsenter", f"--net=/run/netns/{namespace}", "--")
    return subprocess.Popen((*enter, *command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def registered(link, agents, process_and_events):
    """Serve as HA1 until the node is registered; routes towards the home address lead there."""
    process, events = process_and_events
    run("ip", "-6", "route", "replace", "2001:db8:100::/64", "dev", "tun1", inside=link.home)
    run("ip", "-6", "route", "replace", "2001:db8:200::/64", "dev", "tun2", inside=link.home)
    assert agents[0].serve(PATIENCE_S, lambda: bool(events.rows("registered"))), (process.poll(), events.rows())
    return process, events


def finish(process, agent):
    agent.serve(PATIENCE_S, lambda: process.poll() is not None)
    return process.poll()


def ping_succeeds(link, agent, namespace, *arguments):
    ping = in_background(link, namespace, "ping", "-6", "-n", "-c", "3", "-i", "0.05", "-W", "20", *arguments)
    agent.serve(PATIENCE_S, lambda: ping.poll() is not None)
    output = ping.communicate()[0]
    assert " 0% packet loss" in output, output
    return output


def test_programs_use_the_home_address(link, real_home_agents, agent_process):
    registered(link, real_home_agents, agent_process)
    ping_succeeds(link, real_home_agents[0], link.home, "-I", str(CORRESPONDENT), str(HOME_ADDRESS))
    # No address is named: the kernel chooses the home address because the route leads over the TUN device.
    ping_succeeds(link, real_home_agents[0], link.node, str(CORRESPONDENT))
    # The care-of address stays reachable as itself.
    run("ping", "-6", "-n", "-c", "1", "-W", "20", "2001:db8:c0::11", inside=link.home)
    device = json.loads(run("ip", "-json", "-6", "address", "show", "dev", "mip0", inside=link.node).stdout)[0]
    assert device["mtu"] == 1460
    assert [entry["local"] for entry in device["addr_info"]] == [str(HOME_ADDRESS)]


def test_the_kernel_stays_silent_about_packets_of_mobile_ipv6(link, real_home_agents, agent_process):
    registered(link, real_home_agents, agent_process)
    before = run("cat", "/proc/net/snmp6", inside=link.node).stdout
    ping_succeeds(link, real_home_agents[0], link.home, "-I", str(CORRESPONDENT), str(HOME_ADDRESS))
    after = run("cat", "/proc/net/snmp6", inside=link.node).stdout
    for counter in ("Icmp6OutParmProblems", "Icmp6OutDestUnreachs"):
        values = [next(line.split()[1] for line in text.splitlines() if counter in line) for text in (before, after)]
        assert values == ["0", "0"], counter


def test_bulk_data_survives_the_tunnel(link, real_home_agents, agent_process):
    """Also when the receiving device merges segments, whose checksums are then unfinished."""
    registered(link, real_home_agents, agent_process)
    run("ethtool", "-K", "eth0", "gro", "on", inside=link.node)
    agent = real_home_agents[0]
    expected = f"{_SIZE} {hashlib.sha256(random.Random(1).randbytes(_SIZE)).hexdigest()}"
    routes = ((link.home, link.node, HOME_ADDRESS, CORRESPONDENT), (link.node, link.home, CORRESPONDENT, HOME_ADDRESS))
    for source, sink, address, own in routes:
        receiver = in_background(link, sink, sys.executable, "-c", _RECEIVE)
        assert receiver.stdout.readline() == "ready\n"
        sender = in_background(link, source, sys.executable, "-c", _SEND, str(address), str(own), str(_SIZE))
        agent.serve(PATIENCE_S, lambda receiver=receiver: receiver.poll() is not None)
        sender.kill()
        assert sender.communicate()[0] == ""
        assert receiver.communicate()[0].strip() == expected


def test_it_is_taken_over_with_a_new_home_address(link, real_home_agents, agent_process):
    _, events = registered(link, real_home_agents, agent_process)
    new = real_home_agents[1]
    new.agent.bootstrap(time.monotonic(), OTHER_HOME_ADDRESS, assign=True)
    assert new.serve(PATIENCE_S, lambda: len(events.rows("registered")) == 2)
    # A Binding Update is sent again where its answer takes long.
    names = [name for name, _ in groupby(row["event"] for row in events.rows())]
    assert names[-5:] == [
        "ike-established",
        "home-agent-switch",
        "home-address-assigned",
        "binding-update-sent",
        "registered",
    ]
    device = json.loads(run("ip", "-json", "-6", "address", "show", "dev", "mip0", inside=link.node).stdout)[0]
    assert [entry["local"] for entry in device["addr_info"]] == [str(OTHER_HOME_ADDRESS)]
    ping_succeeds(link, new, link.home, "-I", str(CORRESPONDENT), str(OTHER_HOME_ADDRESS))
    ping_succeeds(link, new, link.node, str(CORRESPONDENT))
    assert events.rows("first-tunnelled-packet")[-1]["home_agent"] == str(new.agent.address)


def test_it_leaves_in_good_order(link, real_home_agents, agent_process):
    process, events = registered(link, real_home_agents, agent_process)
    agent = real_home_agents[0]
    process.send_signal(signal.SIGTERM)
    assert finish(process, agent) == 0
    assert events.rows("deregistered")[0]["acknowledged"] is True
    assert agent.agent.cache.get(HOME_ADDRESS) is None
    assert events.rows()[-1]["event"] == "stopped"
    assert "mip0" not in run("ip", "link", inside=link.node).stdout
    assert "9716" not in run("ip", "-6", "rule", inside=link.node).stdout
    assert "bpf" not in run("tc", "filter", "show", "dev", "eth0", "ingress", inside=link.node).stdout


def test_the_agent_leaves_although_the_home_agent_is_dead(link, real_home_agents, agent_process):
    process, events = registered(link, real_home_agents, agent_process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 0
    assert not events.rows("deregistered")


def test_it_can_be_killed_and_started_again(link, real_home_agents, agent_process, tmp_path):
    """What a killed agent left behind in the kernel is no obstacle."""
    process, events = registered(link, real_home_agents, agent_process)
    process.kill()
    process.wait()
    again = in_background(link, link.node, *process.args[3:])
    try:
        assert real_home_agents[0].serve(PATIENCE_S, lambda: len(events.rows("registered")) == 2)
        ping_succeeds(link, real_home_agents[0], link.node, str(CORRESPONDENT))
        assert run("ip", "-6", "rule", inside=link.node).stdout.count("9716") == 2
    finally:
        again.kill()
        again.communicate()


def test_keys_are_exported_for_their_owner_only(link, real_home_agents, agent_process, tmp_path):
    registered(link, real_home_agents, agent_process)
    key_file = tmp_path / "esp_sa"
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert len(key_file.read_text().splitlines()) == 2
