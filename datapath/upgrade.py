"""Replaces a running data path by one with other maps, without losing a packet, a binding or a count.

The new maps are filled and the new program is verified beside what runs. Then whoever writes bindings pauses, the
bindings are carried over, the program is exchanged on each interface in one step, and the new pins get their name in
one step (:mod:`datapath.generations`). Whatever fails before that leaves things as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from ipaddress import IPv6Address
from pathlib import Path

import numpy as np

from datapath import bpffs, generations, netlink
from datapath.attachments import OwnPrograms
from datapath.bindings import BindingMap
from datapath.bpf_syscall import Map, MapType, object_pin
from datapath.errors import DatapathError, NotLoaded
from datapath.former_bindings import FormerBindings, reader
from datapath.layout import INDEX, KEY_SIZE, MOBILE_ROUTER, MapSpecification, map_specifications, pin_directory
from datapath.loader import LoaderOptions, Loading, LoadReport, check_options, load, load_program
from datapath.pinned_maps import difference, pin_new_map

Pause = Callable[[], AbstractContextManager[bool]]
"""Has whoever writes bindings wait for the length of the block; gives whether there is somebody who does."""

_BESIDE_BINDINGS = frozenset({"home_networks", "home_prefixes", "usage", "mobile_networks"})
"""Maps that make sense only beside the bindings: the numbers in the one are places in the other."""
_OF_ITS_OWN = frozenset({"ports", "attachments"})
"""Maps that every directory has for itself: if the upgrade fails, the old ones say what was attached."""
_NOT_CARRIED = _OF_ITS_OWN | _BESIDE_BINDINGS | {"bindings", "next_hops", "routes", "config"}
"""What is carried in a way of its own, or found out anew."""
_WRITER = (
    "Another process writes bindings and does not wait: is this the configuration of the daemon that runs? Or stop the "
    "daemon for the upgrade; packets are forwarded meanwhile."
)


def upgrade(options: LoaderOptions, pause: Pause = lambda: nullcontext(False)) -> LoadReport:
    """Brings the loaded data path up to date whatever its maps look like; loads it if there is none.

    Args:
        options: as for :func:`datapath.loader.load`.
        pause: see :data:`Pause`; entered only if maps have to be exchanged.

    Raises:
        MapFull: there are more bindings than the new maps would hold.
        DatapathError: any other failure, as of :func:`datapath.loader.load`; nothing has changed.
    """
    check_options(options)
    if generations.in_force(options.pin_path) is None:
        return load(options)
    with bpffs.locked(options.pin_path):
        generations.tidy(options.pin_path)
        source = generations.in_force(options.pin_path)
        generations.refuse_later(source)
        if source is not None and _needs_other_maps(source, options):
            return _with_other_maps(options, source, pause)
    return load(options)


def _with_other_maps(options: LoaderOptions, source: Path, pause: Pause) -> LoadReport:
    following = generations.next_directory(options.pin_path)
    try:
        following.mkdir(mode=0o700)
        with OwnPrograms(options.pin_path) as own:
            return _exchange(options, source, following, own, pause)
    finally:
        generations.tidy(options.pin_path)


def _needs_other_maps(source: Path, options: LoaderOptions) -> bool:
    version = generations.version_of(source) or 0
    wanted = map_specifications(options.max_bindings)
    return source != pin_directory(options.pin_path) or any(
        not _is_kept(source, version, specification)
        for specification in wanted
        if (source / specification.name).exists()
    )


def _is_kept(source: Path, version: int, specification: MapSpecification) -> bool:
    """Whether the very map goes on being used."""
    if specification.since > version:
        return False
    try:
        with Map.open(source / specification.name) as present:
            return not difference(present, specification)
    except NotLoaded:
        return False


def _exchange(options: LoaderOptions, source: Path, following: Path, own: OwnPrograms, pause: Pause) -> LoadReport:
    version = generations.version_of(source) or 0
    states = [netlink.interface_state(name) for name in options.interfaces]
    kept = _make_maps(source, version, following, options.max_bindings)
    read = None if "bindings" in kept else reader(source, version)

    @contextmanager
    def swapping() -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(bpffs.locked(following))
            is_paused = stack.enter_context(pause())
            is_free = stack.enter_context(generations.no_writer(source))
            if not is_paused and not is_free:
                raise DatapathError(_WRITER)
            for each in map_specifications(options.max_bindings):
                if each.name not in kept | _NOT_CARRIED and each.since <= version:
                    _carry_entries(source / each.name, following / each.name)
            before = None if read is None else read()
            if before is not None:
                _carry_bindings(following, before)
                _carry_networks(source, following)
            yield
            if read is not None and before is not None:
                _carry_what_was_counted_meanwhile(following, before, read())
            generations.put_in_force(following)

    return load_program(Loading(options, following, source, states, own, maps_reused=True), swapping)


def _make_maps(source: Path, version: int, following: Path, max_bindings: int) -> set[str]:
    """Pins all maps in the new directory; returns the names of those that are the old ones."""
    wanted = map_specifications(max_bindings)
    kept = {each.name for each in wanted if _is_kept(source, version, each)}
    kept -= _OF_ITS_OWN | (frozenset() if "bindings" in kept else _BESIDE_BINDINGS)
    for each in wanted:
        path = following / each.name
        if each.name in kept:
            with Map.open(source / each.name) as present:
                object_pin(present.descriptor, path)
        else:
            pin_new_map(each, path)
    _carry_ports(source, following)
    return kept


def _carry_ports(source: Path, following: Path) -> None:
    """The new program sends by what the old one could from its first packet on."""
    with Map.open(source / "ports") as present, Map.open(following / "ports") as fresh:
        for row in generations.recorded_in(source):
            key = INDEX.pack(row.index)
            if row.index < present.info.max_entries and present.lookup(key) is not None:
                fresh.update(key, key)


def _carry_entries(source: Path, target: Path) -> None:
    """Copies what is in a map of the same meaning and another size."""
    try:
        present = Map.open(source)
    except NotLoaded:
        return
    with present, Map.open(target) as fresh:
        if (present.info.type, present.key_size, present.value_size) != (
            fresh.info.type,
            fresh.key_size,
            fresh.value_size,
        ):
            raise DatapathError(f"{source} has another layout, which no upgrade knows: unload, then load again.")
        is_array = present.info.type in (MapType.ARRAY, MapType.PERCPU_ARRAY)
        for key in list(present.keys()):
            value = present.lookup(key)
            if value is not None and not (is_array and int.from_bytes(key, "little") >= fresh.info.max_entries):
                fresh.update(key, value)


def _carry_bindings(following: Path, former: FormerBindings) -> None:
    with BindingMap(following) as bindings:
        bindings.carry(former.home, former.care_of, former.agent)
        bindings.add_usage(former.home, former.usage)


def _carry_networks(source: Path, following: Path) -> None:
    """Mobile networks name the slot of a binding, which is another one now."""
    try:
        present = Map.open(source / "mobile_networks")
    except NotLoaded:
        return
    with present, Map.open(following / "mobile_networks") as fresh, BindingMap(following) as bindings:
        for key in list(present.keys()):
            value = present.lookup(key)
            if value is not None:
                home_address = value[:KEY_SIZE]  # as in every version
                slot = max(bindings.slot(IPv6Address(home_address)), 0)  # of another: then it leads nowhere
                fresh.update(key, MOBILE_ROUTER.pack(home_address, slot))


def _carry_what_was_counted_meanwhile(following: Path, before: FormerBindings, after: FormerBindings) -> None:
    """Adds what the old program has counted since the copy: nobody has written, so the rows are the same."""
    counted = after.usage - before.usage
    rows = np.flatnonzero(counted.any(axis=(1, 2)))
    with BindingMap(following) as bindings:
        bindings.add_usage(after.home[rows], counted[rows])
