"""Upgrading a loaded data path to other maps: what is carried, who waits, and what a failure leaves behind."""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from bench.lab.receiving_end import PASS_EVERYTHING
from datapath import generations, netlink
from datapath import upgrade as upgrading
from datapath.bindings import BindingMap, Tunnel
from datapath.bpf_syscall import (
    MAP_MEMORY_MAPPABLE,
    MAP_NOT_PREALLOCATED,
    Map,
    MapType,
    map_create,
    object_pin,
    possible_processors,
)
from datapath.counters import read_counters
from datapath.errors import CompileFailed, DatapathError, MapFull, NotLoaded, StalePin
from datapath.generations import Writing
from datapath.layout import ATTACHMENT, MAX_PORTS, MAX_REASONS, PROGRAM_NAME, SCHEMA_VERSION, pin_directory
from datapath.loader import LoaderOptions, load
from datapath.mobile_networks import MobileNetworkMap
from datapath.netlink import XdpMode
from datapath.program_loading import ProgramType, program_load
from datapath.reasons import Reason
from datapath.show import show
from datapath.unload import unload
from datapath.upgrade import upgrade

pytestmark = pytest.mark.namespaces

AGENT = IPv6Address("2001:db8:f::1")
OTHER_AGENT = IPv6Address("2001:db8:f::2")
HOME = IPv6Address("2001:db8:100::5")
CARE_OF = IPv6Address("2001:db8:f::5")
NETWORK = struct.pack("=I16s", 56, IPv6Address("2001:db8:200::").packed)
TUNNELS = {HOME + number: Tunnel(CARE_OF + number, (AGENT, OTHER_AGENT)[number % 2]) for number in range(30)}


@pytest.fixture
def options(network, pin_path) -> LoaderOptions:
    return LoaderOptions(["cn0", "core"], pin_path, [AGENT], max_bindings=32, loaded_by="1.0")


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


def test_more_room_takes_everything_along(options):
    before = load(options)
    install(options.pin_path)

    report = upgrade(replace(options, max_bindings=100, loaded_by="1.1"))

    assert report.program_id != before.program_id
    assert attached("cn0") == attached("core") == report.program_id
    assert_carried(options.pin_path)
    with BindingMap.open(options.pin_path) as bindings:
        assert bindings.capacity == 100
    shown = show(options.pin_path)
    assert (shown["loaded_by"], shown["schema_version"]) == ("1.1", SCHEMA_VERSION)
    assert [row["attached"] for row in shown["interfaces"]] == [True, True]
    assert [path.name for path in options.pin_path.iterdir()] == [f"v{SCHEMA_VERSION}"]


def test_mobile_networks_name_the_slots_of_the_new_table(options):
    network = IPv6Network("2001:db8:200::/56")
    load(replace(options, mobile_networks=True))
    install(options.pin_path)
    networks = MobileNetworkMap.open(options.pin_path)
    with BindingMap.open(options.pin_path) as bindings:
        networks.replace(HOME, [network], bindings.slot(HOME))
    networks.close()

    upgrade(replace(options, mobile_networks=True, max_bindings=100))

    networks = MobileNetworkMap.open(options.pin_path)
    with BindingMap.open(options.pin_path) as bindings:
        assert networks.entries() == {network: HOME}
        assert networks._slots == {network: bindings.slot(HOME)}
    networks.close()


def test_an_upgrade_that_needs_no_other_maps_keeps_them(options):
    load(options)
    identifier = show(options.pin_path)["maps"][0]["id"]

    report = upgrade(replace(options, home_agent_addresses=[OTHER_AGENT]))

    shown = show(options.pin_path)
    assert (shown["program"]["id"], shown["maps"][0]["id"]) == (report.program_id, identifier)


def test_an_upgrade_of_nothing_loads(options):
    assert not upgrade(options).maps_reused


def test_the_digest_tells_texts_apart_wherever_they_are_pinned(options):
    load(options)
    first = show(options.pin_path)["program"]["source_digest"]
    upgrade(replace(options, max_bindings=100))
    second = show(options.pin_path)["program"]["source_digest"]
    load(replace(options, max_bindings=100))

    assert first != second == show(options.pin_path)["program"]["source_digest"]


def test_less_room_than_bindings_is_refused(options):
    before = load(options)
    install(options.pin_path)

    with pytest.raises(MapFull, match=r"30 bindings.*room for 16.*max_bindings"):
        upgrade(replace(options, max_bindings=16))

    assert_as_before(options, before.program_id)


def assert_as_before(options: LoaderOptions, program: int) -> None:
    assert attached("cn0") == attached("core") == program
    assert show(options.pin_path)["program"]["id"] == program
    assert [path.name for path in options.pin_path.iterdir()] == [f"v{SCHEMA_VERSION}"]
    assert_carried(options.pin_path)


def test_a_program_that_the_verifier_refuses_changes_nothing(options, monkeypatch):
    before = load(options)
    install(options.pin_path)
    monkeypatch.setattr("datapath.compiler.program_text", lambda *_: "int home_agent(void *c) { return what; }")

    with pytest.raises(CompileFailed):
        upgrade(replace(options, max_bindings=100))

    assert_as_before(options, before.program_id)


@pytest.mark.parametrize("step", ["_carry_bindings", "_carry_what_was_counted_meanwhile", "_make_maps"])
def test_a_failure_at_any_step_changes_nothing(options, monkeypatch, step):
    before = load(options)
    install(options.pin_path)

    def fail(*_: object) -> None:
        raise DatapathError("as if")

    monkeypatch.setattr(upgrading, step, fail)
    with pytest.raises(DatapathError, match="as if"):
        upgrade(replace(options, max_bindings=100))

    assert_as_before(options, before.program_id)


KILLED = """
import os, signal, sys
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from datapath import generations, netlink, upgrade as upgrading
from datapath.loader import LoaderOptions

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

where, path = sys.argv[1:]
if where == "between the interfaces":
    exchange, seen = netlink.attach, []
    def attach(*arguments):
        if seen:
            die()
        seen.append(1)
        exchange(*arguments)
    netlink.attach = attach
elif where == "after the last step":
    generations.put_in_force = lambda following, step=generations.put_in_force: (step(following), die())
else:
    module, _, name = where.partition(".")
    setattr({"upgrade": upgrading, "generations": generations}[module], name, die)
options = LoaderOptions(["cn0", "core"], Path(path), [IPv6Address("2001:db8:f::1")], max_bindings=100)
upgrading.upgrade(options)
"""


@pytest.mark.parametrize(
    "where",
    [
        "upgrade._make_maps",
        "upgrade._carry_bindings",
        "between the interfaces",
        "upgrade._carry_what_was_counted_meanwhile",
        "generations.put_in_force",
    ],
)
def test_an_upgrade_that_is_killed_is_undone_by_who_comes_next(options, where):
    before = load(options)
    install(options.pin_path)
    assert kill_at(where, options.pin_path) == -signal.SIGKILL

    Writing(options.pin_path).close()  # as the daemon does

    assert attached("cn0") == attached("core") == before.program_id
    assert_carried(options.pin_path)
    report = upgrade(replace(options, max_bindings=100))
    assert attached("cn0") == attached("core") == report.program_id
    assert_carried(options.pin_path)
    assert [path.name for path in options.pin_path.iterdir()] == [f"v{SCHEMA_VERSION}"]


def test_an_upgrade_that_is_killed_after_its_last_step_stands(options):
    before = load(options)
    install(options.pin_path)
    assert kill_at("after the last step", options.pin_path) == -signal.SIGKILL

    Writing(options.pin_path).close()

    assert attached("cn0") == attached("core") == show(options.pin_path)["program"]["id"] != before.program_id
    assert_carried(options.pin_path)
    load(replace(options, max_bindings=100))
    assert [path.name for path in options.pin_path.iterdir()] == [f"v{SCHEMA_VERSION}"]


def kill_at(where: str, pin_path: Path) -> int:
    root = Path(__file__).parents[2]
    return subprocess.run([sys.executable, "-c", KILLED, where, str(pin_path)], cwd=root, check=False).returncode


def test_an_interface_that_was_not_served_before_is_free_again_after_a_kill(options):
    before = load(replace(options, interfaces=["core"]))
    assert kill_at("generations.put_in_force", options.pin_path) == -signal.SIGKILL
    assert attached("cn0") not in (0, before.program_id)

    assert generations.recover(options.pin_path)

    assert (attached("cn0"), attached("core")) == (0, before.program_id)


def test_a_mode_that_the_upgrade_changed_is_what_it_was_after_a_failure(options, monkeypatch):
    before = load(options)

    def fail(*_: object) -> None:
        raise DatapathError("as if")

    monkeypatch.setattr(upgrading, "_carry_what_was_counted_meanwhile", fail)
    with pytest.raises(DatapathError, match="as if"):
        upgrade(replace(options, max_bindings=100, xdp_mode="generic"))

    states = [netlink.interface_state(name) for name in options.interfaces]
    assert [state.native_program for state in states] == [before.program_id] * 2
    assert [row["actual_mode"] for row in show(options.pin_path)["interfaces"]] == ["native", "native"]


def test_a_writer_that_does_not_wait_stops_the_upgrade(options):
    load(options)
    install(options.pin_path)
    before = attached("core")
    writing = Writing(options.pin_path)

    with pytest.raises(DatapathError, match="Another process writes bindings"):
        upgrade(replace(options, max_bindings=100))

    assert_as_before(options, before)
    writing.close()
    upgrade(replace(options, max_bindings=100))


def test_a_writer_that_waits_goes_over_to_the_new_maps(options):
    load(options)
    install(options.pin_path)
    writing = Writing(options.pin_path)
    bindings = BindingMap.open(options.pin_path)
    late = HOME + 1000
    paused = []

    @contextlib.contextmanager
    def pause() -> Iterator[bool]:
        bindings.install(late, CARE_OF, AGENT)
        bindings.remove(HOME)
        yield True
        paused.append(bindings.follow())

    upgrade(replace(options, max_bindings=100), pause)

    assert paused == [True]
    assert not bindings.follow()
    bindings.install(HOME + 1001, CARE_OF, AGENT)
    with BindingMap.open(options.pin_path) as seen:
        assert set(seen.entries()) == (TUNNELS.keys() - {HOME}) | {late, HOME + 1001}
    bindings.close()
    writing.close()


def test_what_the_old_program_counts_after_the_copy_is_counted(options, monkeypatch):
    load(options)
    install(options.pin_path)
    old = BindingMap.open(options.pin_path)

    attach = netlink.attach

    def count_and_attach(*arguments):
        old._table.usages[0, old._slot(HOME), 0] += 3
        attach(*arguments)

    monkeypatch.setattr(netlink, "attach", count_and_attach)
    upgrade(replace(options, max_bindings=100))

    with BindingMap.open(options.pin_path) as bindings:
        assert bindings.usage(HOME).encapsulated_packets == 5 + 3 * 3  # two interfaces and the slow path
    old.close()


# --- from earlier schema versions -----------------------------------------------------------------------------------


def pin_map(path: Path, kind: MapType, key_size: int, value_size: int, entries: int, flags: int = 0) -> Map:
    descriptor = map_create(kind, key_size, value_size, entries, path.name, flags)
    object_pin(descriptor, path)
    return Map(descriptor)


def serve_version_1(options: LoaderOptions) -> int:
    """Pins as version 1 made them, with its own program (which passes everything here) on the interfaces."""
    directory = options.pin_path / "v1"
    directory.mkdir(parents=True)
    processors = possible_processors()
    bindings = pin_map(directory / "bindings", MapType.HASH, 16, 40, 32)
    usage = pin_map(directory / "usage", MapType.PERCPU_ARRAY, 4, 32, 32)
    for number, (home, tunnel) in enumerate(TUNNELS.items()):
        slot = 31 - number
        value = tunnel.care_of_address.packed + tunnel.home_agent_address.packed + struct.pack("=II", slot, 0)
        bindings.update(home.packed, value)
        first = struct.pack("=4Q", number, 100 * number, 1, 2)
        others = struct.pack("=4Q", 5, 6, 7, 8) + bytes(32 * (processors - 2))
        usage.update(struct.pack("=I", slot), first + others)
    bindings.close()
    usage.close()
    return serve(options, directory)


def serve_version_2(options: LoaderOptions, version: int = 2) -> int:
    """The same for version 2: a table with two copies of each binding, the odd ones in the second one."""
    directory = options.pin_path / f"v{version}"
    directory.mkdir(parents=True)
    processors = possible_processors()
    size = -(-(64 + 32 * processors) // 64) * 64
    bindings = pin_map(directory / "bindings", MapType.ARRAY, 4, size, 2 * 32 + 128, MAP_MEMORY_MAPPABLE)
    agents = pin_map(directory / "home_agents", MapType.ARRAY, 4, 16, 256, MAP_MEMORY_MAPPABLE)
    for number, (home, tunnel) in enumerate(TUNNELS.items()):
        state, copy = (number + 1) << 2 | 2 | number % 2, number % 2
        places = [(9, 9), (number, number)] if copy else [(number, number), (9, 9)]
        care_of = (
            [b"\xee" * 16, tunnel.care_of_address.packed] if copy else [tunnel.care_of_address.packed, b"\xee" * 16]
        )
        value = struct.pack("=IHH", state, places[0][0], places[1][0]) + home.packed + b"".join(care_of) + bytes(8)
        value += struct.pack("=4Q", number, 100 * number, 1, 2) + struct.pack("=4Q", 5, 6, 7, 8)
        bindings.update(struct.pack("=I", 3 * number), value.ljust(size, b"\0"))
        agents.update(struct.pack("=I", number), tunnel.home_agent_address.packed)
    freed = struct.pack("=IHH", 77 << 2, 0, 0).ljust(size, b"\x01")
    bindings.update(struct.pack("=I", 190), freed)
    bindings.close()
    agents.close()
    return serve(options, directory)


def serve_version_3(options: LoaderOptions) -> int:
    """The same for version 3: as version 2, and mobile networks with the slot of their router."""
    directory = options.pin_path / "v3"
    before = serve_version_2(options, 3)
    networks = pin_map(directory / "mobile_networks", MapType.LPM_TRIE, 20, 24, 1 << 20, MAP_NOT_PREALLOCATED)
    networks.update(NETWORK, struct.pack("=16sI4x", HOME.packed, 77))
    networks.close()
    return before


def serve(options: LoaderOptions, directory: Path) -> int:
    stats = pin_map(directory / "stats", MapType.PERCPU_ARRAY, 4, 8, MAX_REASONS)
    config = pin_map(directory / "config", MapType.ARRAY, 4, 32, 1)
    local = pin_map(directory / "local", MapType.HASH, 16, 4, 64)
    rows = pin_map(directory / "attachments", MapType.HASH, 4, ATTACHMENT.size, 256)
    ports = pin_map(directory / "ports", MapType.DEVMAP, 4, 4, MAX_PORTS)
    local.update(AGENT.packed, struct.pack("=I", 1))
    config.update(bytes(4), struct.pack("=IIQ16s", int(directory.name[1:]), 32, 0, b""))
    program = program_load(ProgramType.XDP, PASS_EVERYTHING, PROGRAM_NAME)
    object_pin(program, directory / PROGRAM_NAME)
    for name in options.interfaces:
        index = netlink.interface_state(name).index
        netlink.attach(index, program, XdpMode.NATIVE)
        rows.update(struct.pack("=I", index), ATTACHMENT.pack(name.encode(), 0, 1, b""))
    for opened in (stats, config, local, rows, ports):
        opened.close()
    os.close(program)
    count(directory / "stats", 7)
    return attached("core")


@pytest.mark.parametrize("serve_version", [serve_version_1, serve_version_2, serve_version_3])
def test_an_earlier_version_is_taken_along(options, serve_version):
    serve_version(options)
    with pytest.raises(StalePin, match=r"earlier version.*datapath upgrade"):
        load(options)
    with pytest.raises(StalePin, match="earlier version"):
        Writing(options.pin_path)

    report = upgrade(options)

    assert attached("cn0") == attached("core") == report.program_id
    assert_carried(options.pin_path)
    with Map.open(pin_directory(options.pin_path) / "mobile_networks") as networks:
        with BindingMap.open(options.pin_path) as bindings:
            router = struct.pack("=16sI4x", HOME.packed, bindings.slot(HOME))
        assert networks.lookup(NETWORK) == (router if serve_version is serve_version_3 else None)
    assert [path.name for path in options.pin_path.iterdir()] == [f"v{SCHEMA_VERSION}"]
    assert show(options.pin_path)["home_agent_addresses"] == [str(AGENT)]
    assert unload(options.pin_path).detached == ["cn0", "core"]


def test_version_1_goes_on_after_a_failure(options, monkeypatch):
    before = serve_version_1(options)
    monkeypatch.setattr(generations, "put_in_force", lambda _: (_ for _ in ()).throw(DatapathError("as if")))

    with pytest.raises(DatapathError, match="as if"):
        upgrade(options)

    assert attached("cn0") == attached("core") == before
    assert [path.name for path in options.pin_path.iterdir()] == ["v1"]


def test_a_later_version_is_left_to_later_programs(options):
    load(options)
    pin_directory(options.pin_path).rename(options.pin_path / f"v{SCHEMA_VERSION + 1}")

    for attempt in (load, upgrade):
        with pytest.raises(StalePin, match="later version"):
            attempt(options)

    assert (options.pin_path / f"v{SCHEMA_VERSION + 1}").exists()


def test_a_layout_that_nobody_knows_is_refused(options):
    load(options)
    before = attached("core")
    pins = pin_directory(options.pin_path)
    (pins / "bindings").unlink()
    pin_map(pins / "bindings", MapType.HASH, 16, 48, 32).close()

    with pytest.raises(StalePin, match="another layout"):
        upgrade(options)

    assert attached("core") == before
    assert [path.name for path in options.pin_path.iterdir()] == [f"v{SCHEMA_VERSION}"]


def test_nothing_is_written_where_nothing_is_loaded(options):
    with pytest.raises(NotLoaded):
        Writing(options.pin_path)
