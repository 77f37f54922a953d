"""Many slots of the table at once. The order of stores is that of :mod:`datapath.table`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from datapath.layout import CACHE_LINE, MAX_PROBES, slot_size
from datapath.table import CHANGE_SHIFT, COPY, TAKEN, Table

Words = NDArray[np.uint64]
Slots = NDArray[np.int64]

_SLOT: list[Any] = [
    ("state", "<u4"),
    ("agent", "<u2", (2,)),
    ("home", "<u8", (2,)),
    ("care_of", "<u8", (2, 2)),
    ("next_hop", "<u8"),
    ("usage", "<u8", ((slot_size() - CACHE_LINE) // 8,)),
]
_DTYPE = np.dtype(_SLOT)
_BLOCK = 4096
"""Rows that are done together."""
_HALF = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


class Entries(NamedTuple):
    """All bindings: rows of words, and for each the index of its home agent's address."""

    home: Words
    care_of: Words
    agent: NDArray[np.uint16]


class TableBatches:
    """Calls that go over many slots of one table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        slots: NDArray[Any] = np.frombuffer(table.memory, _DTYPE, table.slots)
        self._slots = slots
        self._states: NDArray[np.uint32] = slots["state"]

    def close(self) -> None:
        """Lets go of the memory."""
        del self._slots, self._states

    def put(self, home: Words, care_of: Words, agent: NDArray[np.uint16]) -> bool:
        """Installs or changes bindings, no key of which is twice there; False if there is no room.

        Nothing is changed then, or, should a hash as good as chance find no slot for one of them, part of it.
        """
        places, order = self._in_order(home)
        home = home[order]
        found = self._find(home, places)
        if self._table.count + int(np.count_nonzero(found < 0)) > self._table.capacity:
            return False
        for start in range(0, len(order), _BLOCK):
            block = slice(start, start + _BLOCK)
            rows = order[block]
            if not self._put_block(found[block], places[block], home[block], care_of[rows], agent[rows]):
                return False
        return True

    def _put_block(self, found: Slots, places: Slots, home: Words, care_of: Words, agent: NDArray[np.uint16]) -> bool:
        """Few enough rows that what was read is in the cache when it is written."""
        is_fresh = found < 0
        if is_fresh.any():
            slots = self._claim(places[is_fresh])
            if slots is None:
                return False
            self._insert(slots, home[is_fresh], care_of[is_fresh], agent[is_fresh])
        if not is_fresh.all():
            self._change(found[~is_fresh], care_of[~is_fresh], agent[~is_fresh])
        return True

    def missing(self, home: Words) -> int:
        """How many of the keys are not there."""
        places, order = self._in_order(home)
        return int(np.count_nonzero(self._find(home[order], places) < 0))

    def remove(self, home: Words) -> None:
        """Frees the slots of the keys; those that are not there are passed over."""
        places, order = self._in_order(home)
        found = self._find(home[order], places)
        slots = np.unique(found[found >= 0])
        self._states[slots] = self._new_states(len(slots))
        self._table.count -= len(slots)
        while len(slots):  # no search goes on beyond a slot before one that was never used
            states = self._states[slots]
            ends = slots[(self._states[slots + 1] == 0) & (states != 0) & (states & TAKEN == 0)]
            self._states[ends] = 0
            slots = ends[ends > 0] - 1

    def entries(self) -> Entries:
        """All bindings, each as it was at one moment of the call."""
        while True:
            states = self._states.copy()
            slots = np.flatnonzero(states & TAKEN)
            copies = (states[slots] & COPY).astype(np.int64)
            result = Entries(
                self._slots["home"][slots], self._slots["care_of"][slots, copies], self._slots["agent"][slots, copies]
            )
            if np.array_equal(states, self._states):
                return result

    def add_usage(self, home: Words, usage: Words) -> None:
        """Adds to the counters of bindings, a row of all processors' each; those that are not there are passed over."""
        places, order = self._in_order(home)
        found = self._find(home[order], places)
        counters = usage[order][found >= 0].reshape(-1, usage[0].size if len(usage) else 1)
        self._slots["usage"][found[found >= 0], : counters.shape[1]] += counters

    def _in_order(self, home: Words) -> tuple[Slots, Slots]:
        """Places of the keys, ascending, and the order of the keys that makes them so: memory is slow out of order."""
        key = [np.uint64(part) for part in self._table.hash_key]
        high, low = home[:, 0], home[:, 1]
        total = key[0] + (key[1] + (high & _HALF)) * (key[2] + (high >> _SHIFT))
        total += (key[3] + (low & _HALF)) * (key[4] + (low >> _SHIFT))
        places = (((total >> _SHIFT) * np.uint64(self._table.places)) >> _SHIFT).astype(np.int64)
        order = np.argsort(places)
        return places[order], order

    def _find(self, home: Words, places: Slots) -> Slots:
        """Slots of the keys, -1 for those that are not there."""
        result = np.empty(len(home), np.int64)
        for start in range(0, len(home), _BLOCK):
            block = slice(start, start + _BLOCK)
            result[block] = self._find_block(home[block], places[block])
        return result

    def _find_block(self, home: Words, slots: Slots) -> Slots:
        result = np.full(len(home), -1, np.int64)
        searched = np.arange(len(home))
        for _ in range(MAX_PROBES):
            states = self._states[slots]
            present = np.flatnonzero(states & TAKEN)
            same = present[(self._slots["home"][slots[present]] == home[searched[present]]).all(axis=1)]
            result[searched[same]] = slots[same]
            going_on = states != 0
            going_on[same] = False
            searched, slots = searched[going_on], slots[going_on] + 1
            if not len(searched):
                break
        return result

    def _claim(self, places: Slots) -> Slots | None:
        """A free slot for each of the ascending places; None if one finds none."""
        first = int(places[0])
        free = self._states[first : places[-1] + MAX_PROBES] & TAKEN == 0
        owner = np.empty(len(free), np.int32)
        result = np.empty(len(places), np.int64)
        searching = np.arange(len(places))
        slots = places - first
        for _ in range(MAX_PROBES):
            candidates = free[slots]
            owner[slots[candidates]] = searching[candidates]
            won = candidates & (owner[slots] == searching)
            result[searching[won]] = slots[won]
            free[slots[won]] = False
            searching, slots = searching[~won], slots[~won] + 1
            if not len(searching):
                return np.add(result, first)
        return None

    def _insert(self, slots: Slots, home: Words, care_of: Words, agent: NDArray[np.uint16]) -> None:
        order = np.argsort(slots)
        slots = slots[order]
        states = self._new_states(len(slots))
        contents = np.zeros(len(slots), _DTYPE)
        contents["state"] = states  # free, but no end of a search any more
        contents["home"] = home[order]
        contents["care_of"][:, 0] = care_of[order]
        contents["agent"][:, 0] = agent[order]
        self._slots[slots] = contents
        self._states[slots] = states | np.uint32(TAKEN)
        self._table.count += len(slots)

    def _change(self, slots: Slots, care_of: Words, agent: NDArray[np.uint16]) -> None:
        copies = 1 - (self._states[slots] & COPY).astype(np.int64)
        self._slots["care_of"][slots, copies] = care_of
        self._slots["agent"][slots, copies] = agent
        self._states[slots] = self._new_states(len(slots)) | np.uint32(TAKEN) | copies.astype(np.uint32)
        self._slots["next_hop"][slots] = 0

    def _new_states(self, number: int) -> NDArray[np.uint32]:
        first = self._table.reserve_changes(number)
        return np.arange(first, first + number, dtype=np.uint32) << np.uint32(CHANGE_SHIFT)
