"""Reading the bindings of a data path that is being upgraded, as each schema version laid them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datapath.bpf_syscall import Map, possible_processors
from datapath.errors import StalePin
from datapath.layout import KEY_SIZE, USAGE
from datapath.table import open_table
from datapath.table_batches import TableBatches

Words = NDArray[np.uint64]

_FIELDS = USAGE.size // 8
_CACHE_LINE = 64
_TAKEN_OF_VERSION_2 = 2
_VALUE_OF_VERSION_1 = np.dtype([("care_of", "<u8", (2,)), ("agent", "<u8", (2,)), ("slot", "<u4"), ("flags", "<u4")])


class FormerBindings(NamedTuple):
    """All bindings: a row each. Addresses are the halves as they lie in memory; usage is by processor and field."""

    home: Words
    care_of: Words
    agent: Words
    usage: Words


def reader(directory: Path, version: int) -> Callable[[], FormerBindings]:
    """Opens the bindings pinned in a directory; each call of what it returns reads them, also when the pins are gone.

    Raises:
        StalePin: nobody knows this version, or what is pinned is not of it.
    """
    readers = {1: _hash_reader, 2: _slot_reader, 3: _slot_reader}
    return readers.get(version, _table_reader)(directory)


def _hash_reader(directory: Path) -> Callable[[], FormerBindings]:
    """Version 1: a hash of the kernel's, and the usage in an array beside it."""
    bindings, usage = Map.open(directory / "bindings"), Map.open(directory / "usage")
    if (bindings.key_size, bindings.value_size, usage.info.value_size) != (
        KEY_SIZE,
        _VALUE_OF_VERSION_1.itemsize,
        USAGE.size,
    ):
        raise StalePin(f"{directory} has another layout: run `homeagent datapath unload`, then load again.")

    def read() -> FormerBindings:
        keys, values = _joined(bindings)
        _, used = _joined(usage)
        rows: NDArray[Any] = np.frombuffer(values, _VALUE_OF_VERSION_1)
        by_slot = np.frombuffer(used, np.uint64).reshape(usage.info.max_entries, -1, _FIELDS)
        home = np.frombuffer(keys, np.uint64).reshape(-1, 2)
        return FormerBindings(home, rows["care_of"], rows["agent"], by_slot[rows["slot"] % len(by_slot)])

    return read


def _joined(entries: Map) -> tuple[bytes, bytes]:
    blocks = list(entries.lookup_batches())
    return b"".join(block[0] for block in blocks), b"".join(block[1] for block in blocks)


def _slot_reader(directory: Path) -> Callable[[], FormerBindings]:
    """Versions 2 and 3: a table in mapped memory, with two copies of what changes and the usage in each slot."""
    bindings, agents = Map.open(directory / "bindings"), Map.open(directory / "home_agents")
    fields: list[Any] = [
        ("state", "<u4"),
        ("agent", "<u2", (2,)),
        ("home", "<u8", (2,)),
        ("care_of", "<u8", (2, 2)),
        ("next_hop", "<u8"),
        ("usage", "<u8", (possible_processors(), _FIELDS)),
    ]
    size = -(-np.dtype(fields).itemsize // _CACHE_LINE) * _CACHE_LINE
    slot = np.dtype([*fields, ("rest", "V", size - np.dtype(fields).itemsize)])
    if (bindings.info.value_size, agents.info.value_size) != (size, KEY_SIZE):
        raise StalePin(f"{directory} has another layout: run `homeagent datapath unload`, then load again.")
    slots: NDArray[Any] = np.frombuffer(bindings.memory(), slot, bindings.info.max_entries)
    addresses: Words = np.frombuffer(agents.memory(), np.uint64, agents.info.max_entries * 2).reshape(-1, 2)

    def read() -> FormerBindings:
        taken = slots[np.flatnonzero(slots["state"] & _TAKEN_OF_VERSION_2)]
        each, copies = np.arange(len(taken)), (taken["state"] & 1).astype(np.int64)
        agent = addresses[taken["agent"][each, copies]]
        return FormerBindings(taken["home"], taken["care_of"][each, copies], agent, taken["usage"])

    return read


def _table_reader(directory: Path) -> Callable[[], FormerBindings]:
    """Since version 4: the table of this version."""
    table = open_table(directory)
    batches = TableBatches(table)

    def read() -> FormerBindings:
        entries = batches.entries()
        usage = table.usages[:, entries.slot].swapaxes(0, 1)
        return FormerBindings(entries.home, entries.care_of, table.networks.agents[entries.network], usage)

    return read
