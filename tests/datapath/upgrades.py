"""Bindings and counts for tests of upgrades: put in place before, and found again after."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from pathlib import Path

from datapath import netlink
from datapath.bindings import BindingMap, Tunnel
from datapath.bpf_syscall import Map
from datapath.counters import read_counters
from datapath.layout import pin_directory
from datapath.reasons import Reason

AGENT = IPv6Address("2001:db8:f::1")
OTHER_AGENT = IPv6Address("2001:db8:f::2")
HOME = IPv6Address("2001:db8:100::5")
CARE_OF = IPv6Address("2001:db8:f::5")
NETWORK = struct.pack("=I16s", 56, IPv6Address("2001:db8:200::").packed)
TUNNELS = {HOME + number: Tunnel(CARE_OF + number, (AGENT, OTHER_AGENT)[number % 2]) for number in range(30)}


def attached(name: str) -> int:
    return netlink.interface_state(name).program


def install(pin_path: Path) -> None:
    """Bindings, something counted of each, and something counted of all."""
    with BindingMap.open(pin_path) as bindings:
        bindings.install_many(TUNNELS)
        for number, home in enumerate(TUNNELS):
            slot = bindings._slot(home)
            bindings._table.usages[:2, slot] = [[number, 100 * number, 1, 2], [5, 6, 7, 8]]
    count(pin_directory(pin_path) / "stats", 7)


def count(path: Path, number: int) -> None:
    with Map.open(path) as stats:
        value = struct.pack("=Q", number) + bytes(stats.value_size - 8)
        stats.update(struct.pack("=I", Reason.PASS_NOT_OURS), value)


def assert_carried(pin_path: Path) -> None:
    with BindingMap.open(pin_path) as bindings:
        assert bindings.entries() == TUNNELS
        for number, home in enumerate(TUNNELS):
            usage = bindings.usage(home)
            assert usage.encapsulated_packets == number + 5
            assert usage.encapsulated_bytes == 100 * number + 6
    assert read_counters(pin_path)[Reason.PASS_NOT_OURS] == 7
