"""Reading the bindings of a data path that is being upgraded, as each schema version laid them out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datapath.bpf_syscall import Map, possible_processors
from datapath.errors import StalePin
from datapath.layout import CACHE_LINE, KEY_SIZE, USAGE, slot_size
from datapath.table import TAKEN, Table, open_table

Words = NDArray[np.uint64]

_FIELDS = USAGE.size // 8
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
    if version == 1:
        return _hash_reader(directory)
    return _table_reader(directory)


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


def _table_reader(directory: Path) -> Callable[[], FormerBindings]:
    """Since version 2: a table in mapped memory."""
    table = open_table(directory)
    slot = np.dtype(
        [
            ("state", "<u4"),
            ("agent", "<u2", (2,)),
            ("home", "<u8", (2,)),
            ("care_of", "<u8", (2, 2)),
            ("next_hop", "<u8"),
            ("usage", "<u8", (possible_processors(), _FIELDS)),
            ("rest", "V", slot_size() - CACHE_LINE - possible_processors() * USAGE.size),
        ]
    )
    return lambda: _read_table(table, slot)


def _read_table(table: Table, slot: np.dtype[Any]) -> FormerBindings:
    rows: NDArray[Any] = np.frombuffer(table.memory, slot, table.slots)
    taken = rows[np.flatnonzero(rows["state"] & TAKEN)]
    copies = (taken["state"] & 1).astype(np.int64)
    each = np.arange(len(taken))
    indices = taken["agent"][each, copies]
    agents = np.zeros((int(indices.max(initial=0)) + 1, 2), np.uint64)
    for index in np.unique(indices).tolist():
        agents[index] = np.frombuffer(table.agent(index), np.uint64)
    return FormerBindings(taken["home"], taken["care_of"][each, copies], agents[indices], taken["usage"])
