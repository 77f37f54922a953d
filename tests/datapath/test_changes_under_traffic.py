"""Bindings that change while packets run: a packet goes by one binding or the other, never by parts of two."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from datapath.bindings import BindingMap, Tunnel
from datapath.bpf_syscall import object_get, program_test_run
from datapath.layout import PROGRAM_NAME, pin_directory
from datapath.loader import LoaderOptions, load
from datapath.netlink import interface_state
from tests.datapath.conftest import run
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.namespaces

BINDINGS = 20_000
FRAMES = 40_000
AGENTS = (IPv6Address("2001:db8:f::1"), IPv6Address("2001:db8:f::2"))
HOME = int(IPv6Address("2001:db8:100::"))
# Each binding alternates between two tunnels in which every half of every address differs.
PREFIXES = (int(IPv6Address("2001:db8:f:0:a::")), int(IPv6Address("2001:db8:e:0:b::")))


def tunnels(side: int) -> dict[IPv6Address, Tunnel]:
    return {
        IPv6Address(HOME + number): Tunnel(IPv6Address(PREFIXES[side] + number), AGENTS[side])
        for number in range(1, BINDINGS + 1)
    }


def change_until(stop: Event, rounds: object, pin_path: Path) -> None:
    """The writer: all bindings in one call, then a part of them one by one, over and over; some go and come."""
    sides = tunnels(0), tunnels(1)
    some = list(sides[0])[:: BINDINGS // 500]
    with BindingMap.open(pin_path) as bindings:
        while not stop.is_set():
            for side in (1, 0):
                bindings.install_many(sides[side])
                for home in some:
                    other = sides[1 - side][home]
                    bindings.install(home, other.care_of_address, other.home_agent_address)
                bindings.remove_many(some)
                bindings.install_many({home: sides[side][home] for home in some})
            with rounds.get_lock():  # type: ignore[attr-defined]
                rounds.value += 1  # type: ignore[attr-defined]


@contextmanager
def changing(pin_path: Path) -> Iterator[object]:
    context = multiprocessing.get_context("fork")
    stop, rounds = context.Event(), context.Value("i", 0)
    writer = context.Process(target=change_until, args=(stop, rounds, pin_path))
    writer.start()
    try:
        yield rounds
    finally:
        stop.set()
        writer.join(PATIENCE_S)
        assert writer.exitcode == 0


def test_no_packet_goes_by_parts_of_two_bindings(network, pin_path):
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    run("ip -6 neigh add 2001:db8:f::99 lladdr 02:00:00:00:00:99 dev core nud permanent")
    for prefix in ("2001:db8:f:0:a::/80", "2001:db8:e:0:b::/80"):
        run(f"ip -6 route add {prefix} via 2001:db8:f::99 dev core")
    load(LoaderOptions(["cn0", "core"], pin_path, AGENTS, max_bindings=BINDINGS))
    with BindingMap.open(pin_path) as bindings:
        bindings.install_many(tunnels(0))
    program = object_get(pin_directory(pin_path) / PROGRAM_NAME)
    index = interface_state("cn0").index
    chosen = random.Random(1)
    plain = bytes(
        Ether(dst="02:00:00:00:00:03", src="02:00:00:00:0c:02")
        / IPv6(src="2001:db8:c::2", dst="2001:db8:100::", hlim=64)
        / UDP(sport=1, dport=2)
    )
    seen = [0, 0]
    absent = torn = 0
    with changing(pin_path) as rounds:
        # Both tunnels are seen, so changes run meanwhile.
        while sum(seen) < FRAMES or rounds.value < 3 or min(seen) <= FRAMES / 20:
            number = chosen.randrange(1, BINDINGS + 1)
            frame = plain[:38] + (HOME + number).to_bytes(16, "big") + plain[54:]
            result = program_test_run(program, frame, interface=index)
            if len(result.frame) == len(frame):
                absent += 1  # removed in this moment
                continue
            outer = result.frame[22:54]
            sides = [AGENTS[side].packed + (PREFIXES[side] + number).to_bytes(16, "big") for side in (0, 1)]
            if outer in sides:
                seen[sides.index(outer)] += 1
            else:
                torn += 1

    assert torn == 0
    assert absent < sum(seen) / 5
