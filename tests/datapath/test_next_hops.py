"""Next hops that are kept: used while they are true, void at once when they may not be."""

from __future__ import annotations

import asyncio
import struct
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from itertools import count

import numpy as np
import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from control.daemon.route_watch import RouteWatch
from datapath.bpf_syscall import Map
from datapath.layout import (
    HASH_KEY,
    INDEX,
    REFERENCE_GENERATIONS,
    ROUTES_OF_PROCESSOR,
    pin_directory,
)
from datapath.reasons import Reason
from datapath.route_control import RouteControl

pytestmark = pytest.mark.namespaces

MOVED_MAC = "02:00:00:00:0f:99"


def to_node(testbed, size=20):
    inner = IPv6(src=str(testbed.correspondent), dst=str(testbed.home)) / UDP() / Raw(bytes(size))
    return bytes(Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac) / inner)


def from_node(testbed, to=None):
    inner = IPv6(src=str(testbed.home), dst=str(to or testbed.correspondent)) / UDP() / Raw(bytes(20))
    outer = IPv6(src=str(testbed.care_of), dst=str(testbed.home_agent))
    return bytes(Ether(src=testbed.care_of_mac, dst=testbed.core_mac) / outer / inner)


def mac_of(outcome) -> str:
    return outcome.frame[:6].hex(":")


def set_neighbour(place: str, mac: str) -> None:
    run(f"ip -6 neigh replace {place} lladdr {mac} nud permanent")


def run(command: str) -> None:
    subprocess.run(command.split(), check=True)


@pytest.fixture(autouse=True)
def _neighbours(testbed) -> Iterator[None]:
    yield
    set_neighbour("2001:db8:f::5 dev core", testbed.care_of_mac)
    set_neighbour("2001:db8:c::2 dev cn0", testbed.correspondent_mac)


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_next_hop_is_kept_until_a_new_generation(testbed, control, way):
    frame, place, old = {
        "in": (to_node(testbed), "2001:db8:f::5 dev core", testbed.care_of_mac),
        "out": (from_node(testbed), "2001:db8:c::2 dev cn0", testbed.correspondent_mac),
    }[way]
    first = testbed.run(frame, "cn0" if way == "in" else "core")
    set_neighbour(place, MOVED_MAC)
    kept = testbed.run(frame, "cn0" if way == "in" else "core")
    assert (kept.frame, kept.verdict) == (first.frame, "redirect")
    assert mac_of(kept) == old

    control.begin_generation()
    assert mac_of(testbed.run(frame, "cn0" if way == "in" else "core")) == MOVED_MAC


def test_references_are_void_when_the_lower_bits_of_their_generation_come_again(testbed, control):
    """A binding without traffic for so long that its reference would look like one of the present generation."""
    frame = to_node(testbed)
    testbed.run(frame)
    before = control.generation
    set_neighbour("2001:db8:f::5 dev core", MOVED_MAC)
    while control.generation % REFERENCE_GENERATIONS != before % REFERENCE_GENERATIONS or control.generation == before:
        control.begin_generation()
        assert control.generation % REFERENCE_GENERATIONS
    # Another next hop, in the same place as that of then.
    testbed.run(from_node(testbed), "core")

    assert mac_of(testbed.run(frame)) == MOVED_MAC


def test_a_reference_of_a_former_binding_is_not_followed(testbed, control):
    """As another processor may write it in the moment that the binding changes."""
    testbed.run(to_node(testbed))
    slot, halves = testbed.bindings.slot(testbed.home), testbed.bindings._table.words.view(np.uint32)
    reference = int(halves[slot, 1])
    assert reference
    testbed.bindings.install(testbed.home, testbed.other_care_of, testbed.home_agent)
    assert testbed.bindings.slot(testbed.home) == slot
    assert not halves[slot, 1]
    halves[slot, 1] = reference

    assert mac_of(testbed.run(to_node(testbed))) == testbed.other_care_of_mac


def cache_place(key: tuple[int, ...], address: IPv6Address) -> int:
    """Where a processor keeps the route to it (`cached_route_to` in bpf/next_hops.h)."""
    high, low = struct.unpack("=QQ", address.packed)
    total = high * (key[1] | 1) + low * (key[2] | 1)
    return ((total >> 32 & 0xFFFFFFFF) * ROUTES_OF_PROCESSOR) >> 32


def test_destinations_that_share_a_place_do_not_share_their_next_hop(testbed, control):
    run("ip -6 neigh replace 2001:db8:c::3 dev cn0 lladdr 02:00:00:00:0c:03 nud permanent")
    run("ip -6 route replace 2001:db8:d::/64 via 2001:db8:c::2 dev cn0")
    run("ip -6 route replace 2001:db8:d::1/128 via 2001:db8:c::3 dev cn0")
    one = IPv6Address("2001:db8:d::1")
    with Map.open(pin_directory(testbed.pin_path) / "hash_key") as hash_key:
        key = HASH_KEY.unpack(hash_key.lookup(INDEX.pack(0)))
    other = next(one + more for more in count(1) if cache_place(key, one + more) == cache_place(key, one))

    for _ in range(2):
        assert mac_of(testbed.run(from_node(testbed, one), "core")) == "02:00:00:00:0c:03"
        assert mac_of(testbed.run(from_node(testbed, other), "core")) == testbed.correspondent_mac


@pytest.mark.parametrize("end", ["forbid", "lapse"])
def test_without_permission_the_kernel_is_asked(testbed, control, end):
    testbed.run(to_node(testbed))
    set_neighbour("2001:db8:f::5 dev core", MOVED_MAC)
    if end == "forbid":
        control.forbid()
    else:
        control.permit(time.monotonic(), -0.5)
    assert mac_of(testbed.run(to_node(testbed))) == MOVED_MAC


def test_a_permission_ends_by_itself(testbed, control):
    testbed.run(to_node(testbed))
    set_neighbour("2001:db8:f::5 dev core", MOVED_MAC)
    control.permit(time.monotonic(), 0.5)
    deadline = time.monotonic() + 30
    while mac_of(testbed.run(to_node(testbed))) != MOVED_MAC:
        assert time.monotonic() < deadline


def test_a_changed_binding_has_no_next_hop(testbed, control):
    testbed.run(to_node(testbed))
    testbed.bindings.install(testbed.home, testbed.other_care_of, testbed.home_agent)
    assert mac_of(testbed.run(to_node(testbed))) == testbed.other_care_of_mac


@pytest.mark.parametrize("is_known", [False, True], ids=["the first one in its prefix", "another one of its prefix"])
def test_a_destination_that_becomes_a_mobile_node_s_is_no_longer_routed(testbed, control, is_known):
    """Of what is kept for a destination, that it cannot be a mobile node's holds until its prefix is one of theirs."""
    home, agent = testbed.correspondent, IPv6Address("2001:db8:f::7") + is_known
    if is_known:
        testbed.bindings.install(home + 1, testbed.other_care_of, agent)
    else:
        with Map.open(pin_directory(testbed.pin_path) / "home_prefixes") as prefixes:
            prefixes.delete(home.packed[:8])
    assert [testbed.run(from_node(testbed), "core").reason for _ in range(2)] == [Reason.FORWARD_DECAPSULATED] * 2

    testbed.bindings.install(home, testbed.other_care_of, agent)
    moved = testbed.run(from_node(testbed), "core")
    assert (moved.reason, mac_of(moved)) == (Reason.FORWARD_REENCAPSULATED, testbed.other_care_of_mac)

    testbed.bindings.remove(home)
    assert testbed.run(from_node(testbed), "core").reason is Reason.FORWARD_DECAPSULATED


def test_one_node_s_next_hop_is_not_another_s(testbed, control):
    second = IPv6(src=str(testbed.correspondent), dst=str(testbed.other_home)) / UDP() / Raw(bytes(20))
    frame = bytes(Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac) / second)
    for _ in range(3):
        assert mac_of(testbed.run(to_node(testbed))) == testbed.care_of_mac
        assert mac_of(testbed.run(frame)) == testbed.other_care_of_mac


def test_a_packet_beyond_the_mtu_is_answered_though_the_next_hop_is_kept(testbed, control):
    testbed.bindings.install(testbed.home, IPv6Address("2001:db8:e::1"), testbed.home_agent)  # by a route of MTU 1400
    assert testbed.run(to_node(testbed)).reason is Reason.FORWARD_ENCAPSULATED
    assert testbed.run(to_node(testbed, 1340)).reason is Reason.REPLY_PACKET_TOO_BIG
    assert testbed.run(to_node(testbed, 1312)).reason is Reason.FORWARD_ENCAPSULATED


def test_a_neighbour_that_is_gone_is_left_to_the_kernel(testbed, control):
    testbed.run(to_node(testbed))
    run("ip -6 neigh del 2001:db8:f::5 dev core")
    control.begin_generation()
    assert testbed.run(to_node(testbed)).reason is Reason.PASS_ENCAPSULATED_NO_NEIGHBOUR


def test_the_watch_follows_what_matters(testbed, control):
    async def watched() -> None:
        watch = RouteWatch(RouteControl.open(testbed.pin_path), asyncio.get_running_loop())
        renewing = asyncio.create_task(watch.run())
        try:
            for change in (
                "ip -6 neigh replace 2001:db8:f::5 dev core lladdr 02:00:00:00:0f:99 nud permanent",
                "ip -6 route add 2001:db8:9::/64 via 2001:db8:f::5 dev core",
                "ip -6 route del 2001:db8:9::/64",
                "ip -6 neigh del 2001:db8:f::5 dev core",
            ):
                before = control.generation
                run(change)
                await until(lambda before=before: control.generation != before)
            run("ip -6 rule add from 2001:db8:100::/64 lookup main")
            set_neighbour("2001:db8:f::5 dev core", testbed.care_of_mac)
            await until(lambda: asks_the_kernel(testbed))
            run("ip -6 rule del from 2001:db8:100::/64 lookup main")
            await until(lambda: not asks_the_kernel(testbed))
        finally:
            renewing.cancel()
            watch.close()

    asyncio.run(watched())
    assert asks_the_kernel(testbed)


def asks_the_kernel(testbed) -> bool:
    """Whether nothing is kept with the binding."""
    testbed.run(to_node(testbed))
    slot = testbed.bindings._table.find(
        *(int.from_bytes(testbed.home.packed[half : half + 8], "little") for half in (0, 8))
    )
    halves = testbed.bindings._table.words.view(np.uint32)
    halves[slot, 1] = 0
    testbed.run(to_node(testbed))
    return bool(halves[slot, 1] == 0)


async def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
