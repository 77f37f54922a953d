"""Real VLAN devices, which not every kernel has: a home agent with one arm, a trunk of two VLANs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from bench.lab import receiving_end
from bench.lab.entering import inside
from control.daemon.tunnel_relay import TunnelRelay
from control.mobility.extension_headers import build_ipv6
from datapath.bindings import BindingMap
from datapath.counters import read_counters
from datapath.loader import LoaderOptions, LoadReport, load
from datapath.netlink import interface_state, vlan_devices
from datapath.preflight import examine_interface
from datapath.reasons import Reason
from datapath.show import show
from datapath.unload import unload
from datapath.verification import VERIFIER_LIMIT
from datapath.vlans import VlanMaps
from tests.kernel.network import run

pytestmark = pytest.mark.kernel

PIN_PATH = Path("/sys/fs/bpf/homeagent-vlan")
AGENT, HOME = IPv6Address("2001:db8:f::1"), IPv6Address("2001:db8:100::5")
CORRESPONDENT, CARE_OF = IPv6Address("2001:db8:c::2"), IPv6Address("2001:db8:f::5")
NARROW = IPv6Address("2001:db8:e::5")
"""A care-of address with a path of the least MTU."""
NO_NEXT_HEADER, IPV6_IN_IPV6, FRAGMENT = 59, 41, 44
ETHERTYPE_IPV6 = 0x86DD


@pytest.fixture(scope="module")
def trunk() -> Iterator[LoadReport]:
    """`agent` and `others`, a trunk between them; VLAN 10 leads to a correspondent, 20 to a care-of address."""
    try:
        run("modprobe 8021q")
        for name in ("agent", "others"):
            run(f"ip netns add {name}")
        run("ip -n agent link add trunk type veth peer name trunk netns others")
        for name, host in (("agent", 1), ("others", 2)):
            with inside(name):
                run("ip link set lo up")
                run("sysctl -qw net.ipv6.conf.all.forwarding=1")
                run("sysctl -qw net.ipv6.conf.default.accept_dad=0")
                run("ethtool -K trunk tx off txvlan off rxvlan off gro on")
                run("ip link set trunk up")
                for identifier, network in ((10, "c"), (20, "f")):
                    run(f"ip link add link trunk name trunk.{identifier} type vlan id {identifier}")
                    run(f"ip link set trunk.{identifier} up")
                    last = 5 if (network, host) == ("f", 2) else host
                    run(f"ip address add 2001:db8:{network}::{last}/64 dev trunk.{identifier} nodad")
        with inside("others"):
            receiving_end.main("trunk")
        with inside("agent"):
            for address in (CORRESPONDENT, CARE_OF):
                run(f"ping -6 -c 1 -w 20 {address}")
            report = load(
                LoaderOptions(
                    ["trunk"], PIN_PATH, [AGENT], 64, vlans=True, home_links=["trunk.10"], mobile_networks=True
                )
            )
        yield report
    finally:
        with contextlib.suppress(AssertionError), inside("agent"):
            unload(PIN_PATH)
        for name in ("agent", "others"):
            run(f"ip netns del {name}")


def link_address(namespace: str, device: str) -> bytes:
    words = run(f"ip -n {namespace} link show {device}").split()
    return bytes.fromhex(words[words.index("link/ether") + 1].replace(":", ""))


def tap(device: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETHERTYPE_IPV6))
    opened.bind((device, ETHERTYPE_IPV6))
    opened.settimeout(60)
    return opened


def heard(opened: socket.socket, source: IPv6Address, next_header: int) -> bytes:
    """The next packet from an address that is not neighbour discovery of its."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        packet = opened.recv(2048)
        if (packet[6], packet[8:24]) == (next_header, source.packed):
            return packet
    raise AssertionError(f"nothing from {source}")


def test_the_verifier_accepts_the_program_and_it_is_attached_natively(trunk: LoadReport) -> None:
    assert os.uname().release.endswith("-cloud-amd64")
    assert [(row.name, str(row.actual_mode)) for row in trunk.interfaces] == [("trunk", "native")]
    assert 0 < trunk.verified_instructions < VERIFIER_LIMIT / 2


def test_packets_come_in_by_one_vlan_and_leave_by_the_other(trunk: LoadReport) -> None:
    with inside("agent"):
        assert {(device.name, device.identifier) for device in vlan_devices()} == {("trunk.10", 10), ("trunk.20", 20)}
        with contextlib.closing(BindingMap.open(PIN_PATH)) as bindings:
            bindings.install(HOME, CARE_OF, AGENT)
        run(f"ping -6 -c 1 -w 20 {CARE_OF}")  # the kernel hears and speaks through the program
    there, back = (link_address("agent", f"trunk.{identifier}") for identifier in (10, 20))
    inner = build_ipv6(CORRESPONDENT, HOME, NO_NEXT_HEADER, b"there", hop_limit=61)
    answer = build_ipv6(HOME, CORRESPONDENT, NO_NEXT_HEADER, b"back", hop_limit=33)
    with inside("others"), tap("trunk.10") as correspondent, tap("trunk.20") as node:
        correspondent.sendto(inner, ("trunk.10", ETHERTYPE_IPV6, 0, 0, there))
        tunnelled = heard(node, AGENT, IPV6_IN_IPV6)
        outer = build_ipv6(CARE_OF, AGENT, IPV6_IN_IPV6, answer)
        node.sendto(outer, ("trunk.20", ETHERTYPE_IPV6, 0, 0, back))
        stripped = heard(correspondent, HOME, NO_NEXT_HEADER)
    assert tunnelled[6:8] == bytes((IPV6_IN_IPV6, 64))
    assert tunnelled[40:] == inner[:7] + bytes((60,)) + inner[8:]
    assert stripped == answer[:7] + bytes((32,)) + answer[8:]
    with inside("agent"):
        counters = read_counters(PIN_PATH)
        assert counters[Reason.FORWARD_ENCAPSULATED] == 1
        assert counters[Reason.FORWARD_DECAPSULATED] == 1

    # A host on VLAN 10 that takes the home prefix for on-link finds the node there.
    with inside("others"):
        run("ip address add 2001:db8:100::77/64 dev trunk.10 nodad")
        with tap("trunk.20") as node:
            # Nobody answers the echo request itself.
            pinging = subprocess.Popen(["ping", "-6", "-I", "trunk.10", str(HOME)], stdout=subprocess.DEVNULL)
            echo = heard(node, AGENT, IPV6_IN_IPV6)
            pinging.kill()
            pinging.wait()
    assert echo[40 + 24 : 40 + 40] == HOME.packed
    with inside("agent"):
        assert read_counters(PIN_PATH)[Reason.REPLY_NEIGHBOUR_ADVERTISEMENT] >= 1


def test_fragments_come_in_by_one_vlan_and_leave_by_the_other(trunk: LoadReport) -> None:
    with inside("agent"):
        run(f"ip -6 route add {NARROW} via {CARE_OF} dev trunk.20 mtu lock 1280")
        with contextlib.closing(BindingMap.open(PIN_PATH)) as bindings:
            bindings.install(HOME, NARROW, AGENT)
        before = read_counters(PIN_PATH)
        relay_loop = asyncio.new_event_loop()
        relay = TunnelRelay(AGENT, PIN_PATH, relay_loop)
    there, back = (link_address("agent", f"trunk.{identifier}") for identifier in (10, 20))
    inner = build_ipv6(CORRESPONDENT, HOME, NO_NEXT_HEADER, bytes(range(248)) * 5, hop_limit=61)
    answer = build_ipv6(HOME, CORRESPONDENT, NO_NEXT_HEADER, bytes(range(240)) * 6, hop_limit=33)
    with inside("others"), tap("trunk.10") as correspondent, tap("trunk.20") as node:
        correspondent.sendto(inner, ("trunk.10", ETHERTYPE_IPV6, 0, 0, there))
        fragments = [heard(node, AGENT, FRAGMENT) for _ in range(2)]
        for at, more in ((0, 1), (1232, 0)):
            header = struct.pack("!BBHI", IPV6_IN_IPV6, 0, at | more, 7)
            fragment = build_ipv6(NARROW, AGENT, FRAGMENT, header + answer[at:][: 1232 if more else None])
            node.sendto(fragment, ("trunk.20", ETHERTYPE_IPV6, 0, 0, back))
        with inside("agent"), contextlib.closing(relay):
            deadline = time.monotonic() + 60
            while not relay.statistics["tunnel-returned"] and time.monotonic() < deadline:
                relay_loop.run_until_complete(asyncio.sleep(0.05))
        relay_loop.close()
        stripped = heard(correspondent, HOME, NO_NEXT_HEADER)
    assert b"".join(fragment[48:] for fragment in fragments) == inner[:7] + bytes((60,)) + inner[8:]
    assert {fragment[24:40] for fragment in fragments} == {NARROW.packed}
    assert stripped == answer[:7] + bytes((32,)) + answer[8:]
    with inside("agent"):
        after = read_counters(PIN_PATH)
    wanted = {Reason.FORWARD_IN_FRAGMENTS: 1, Reason.PASS_FRAGMENT: 2, Reason.FORWARD_DECAPSULATED: 1}
    assert {reason: after[reason] - before[reason] for reason in wanted} == wanted


def test_a_device_made_anew_is_found_again(trunk: LoadReport) -> None:
    with inside("agent"):
        run("ip link del trunk.20")
        run("ip link add link trunk name trunk.20 type vlan id 20")
        run("ip link set trunk.20 up")
        run("ip address add 2001:db8:f::1/64 dev trunk.20 nodad")
        with VlanMaps.open(PIN_PATH) as maps:
            maps.refresh()
        run(f"ping -6 -c 1 -w 20 {CARE_OF}")
        entries = {each["name"]: each["entries"] for each in show(PIN_PATH)["maps"]}
        assert entries["vlans"] == 2


def test_a_vlan_device_is_told_from_its_port(trunk: LoadReport) -> None:
    with inside("agent"):
        told = {
            name: {each.about for each in examine_interface(interface_state(name))} for name in ("trunk", "trunk.10")
        }
    assert "vlan" in told["trunk.10"]
    assert "vlan" not in told["trunk"]
