"""Upgrading what earlier versions have loaded, and what no version has."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from bench.lab.receiving_end import PASS_EVERYTHING
from datapath import generations, netlink
from datapath.bindings import BindingMap
from datapath.bpf_syscall import (
    MAP_MEMORY_MAPPABLE,
    MAP_NOT_PREALLOCATED,
    Map,
    MapType,
    map_create,
    object_pin,
    possible_processors,
)
from datapath.errors import DatapathError, NotLoaded, StalePin
from datapath.generations import Writing
from datapath.layout import ATTACHMENT, MAX_PORTS, MAX_REASONS, PROGRAM_NAME, SCHEMA_VERSION, pin_directory
from datapath.loader import LoaderOptions, load
from datapath.netlink import XdpMode
from datapath.program_loading import ProgramType, program_load
from datapath.show import show
from datapath.unload import unload
from datapath.upgrade import upgrade
from tests.datapath.upgrades import AGENT, HOME, NETWORK, TUNNELS, assert_carried, attached, count

pytestmark = pytest.mark.namespaces


@pytest.fixture
def options(network, pin_path) -> LoaderOptions:
    return LoaderOptions(["cn0", "core"], pin_path, [AGENT], max_bindings=32, loaded_by="1.0")


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
