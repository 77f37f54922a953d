"""Many slots of the table at once. The order of stores is that of :mod:`datapath.table`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datapath.hashing import Slots, Words, places_of
from datapath.layout import BUCKET_SLOTS, JOURNAL_SLOTS, MAX_PROBES, SLOT_SIZE
from datapath.table import CHANGE_SHIFT, IN_JOURNAL, INDEX_SHIFT, LAST_CHANGE, TAKEN, Table

Networks = NDArray[np.uint32]

_BLOCK = JOURNAL_SLOTS
"""Rows that are done together."""
_TAKEN, _IN_JOURNAL = np.uint32(TAKEN), np.uint32(IN_JOURNAL)
_CHANGE_SHIFT, _INDEX_SHIFT = np.uint32(CHANGE_SHIFT), np.uint32(INDEX_SHIFT)
_LOW, _CARE_OF = 1, slice(2, 4)


class Entries(NamedTuple):
    """All bindings: rows of words, and for each the number of its home network and its slot."""

    home: Words
    care_of: Words
    network: Networks
    slot: Slots


class TableBatches:
    """Calls that go over many slots of one table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._words = table.words
        self._states = table.states
        self._next_hops: NDArray[np.uint32] = table.words.view(np.uint32)[:, 1]
        self._buckets: Words = table.words[: table.slots].reshape(-1, BUCKET_SLOTS * SLOT_SIZE // 8)
        self._pairs: NDArray[np.uint32] = self._buckets.view(np.uint32)[:, :: SLOT_SIZE // 4]

    def close(self) -> None:
        """Lets go of the memory."""
        del self._words, self._states, self._next_hops, self._buckets, self._pairs

    def put(self, home: Words, care_of: Words, network: Networks) -> bool:
        """Installs or changes bindings, no key of which is twice there; False if there is no room.

        Nothing is changed then, or, should a hash as good as chance find no slot for one of them, part of it.
        """
        self._table.settle()
        places, order = self._in_order(home)
        home = home.take(order, axis=0)
        found = self._find(home, places)
        if self._table.count + int(np.count_nonzero(found < 0)) > self._table.capacity:
            return False
        for start in range(0, len(order), _BLOCK):
            block = slice(start, start + _BLOCK)
            rows = order[block]
            if not self._put_block(found[block], places[block], home[block], care_of.take(rows, axis=0), network[rows]):
                return False
        return True

    def missing(self, home: Words) -> int:
        """How many of the keys are not there."""
        places, order = self._in_order(home)
        return int(np.count_nonzero(self._find(home[order], places) < 0))

    def remove(self, home: Words) -> None:
        """Frees the slots of the keys; those that are not there are passed over."""
        self._table.settle()
        places, order = self._in_order(home)
        found = self._find(home[order], places)
        slots = _different(np.sort(found[found >= 0]))
        self._states[slots] = self._new_states(len(slots))
        self._table.count -= len(slots)
        buckets = _different(slots // BUCKET_SLOTS)
        for start in range(0, len(buckets), _BLOCK):
            self._clear(buckets[start : start + _BLOCK])

    def _clear(self, buckets: Slots) -> None:
        """Has no search go on beyond the buckets any more, nor beyond those before them, where none has to."""
        while len(buckets):
            buckets = buckets[self._ends_searches(buckets)]
            states = self._pairs[buckets]
            freed = (states != 0) & (states & _TAKEN == 0)
            rows, columns = np.nonzero(freed)
            self._pairs[buckets[rows], columns] = 0
            buckets = buckets[freed.any(axis=1) & (buckets > 0)] - 1

    def entries(self) -> Entries:
        """All bindings, each as it was at one moment of the call."""
        table = self._table
        while True:
            states = self._states.copy()
            slots = np.flatnonzero(states[: table.slots] & _TAKEN)
            sources = slots.copy()
            journaled = np.flatnonzero(states[slots] & _IN_JOURNAL)
            sources[journaled] = table.slots + (states[slots[journaled]] >> _INDEX_SHIFT).astype(np.int64)
            networks = states[sources] >> _INDEX_SHIFT
            home = np.stack([table.networks.prefixes[networks], self._words[slots, _LOW]], axis=1)
            result = Entries(home, self._words[sources, _CARE_OF], networks, slots)
            if np.array_equal(states, self._states):
                return result

    def usages(self) -> tuple[Words, Words]:
        """All keys, and the usage of each, over all processors."""
        entries = self.entries()
        return entries.home, self._table.usages[:, entries.slot].sum(axis=0, dtype=np.uint64)

    def add_usage(self, home: Words, usage: Words) -> None:
        """Adds to the counters of bindings, a row of all processors' each; those that are not there are passed over."""
        places, order = self._in_order(home)
        found = self._find(home[order], places)
        slots, counted = found[found >= 0], usage[order][found >= 0]
        for processor in range(usage.shape[1]):
            stripe = processor % len(self._table.usages)
            self._table.usages[stripe, slots] += counted[:, processor]

    def _put_block(self, found: Slots, places: Slots, home: Words, care_of: Words, network: Networks) -> bool:
        """Few enough rows that what was read is in the cache when it is written."""
        is_fresh = found < 0
        if is_fresh.all():
            slots = self._claim(places)
            if slots is None:
                return False
            self._insert(slots, home, care_of, network)
            return True
        if is_fresh.any():
            slots = self._claim(places[is_fresh])
            if slots is None:
                return False
            self._insert(slots, home[is_fresh], care_of[is_fresh], network[is_fresh])
        if not is_fresh.all():
            self._change(found[~is_fresh], care_of[~is_fresh], network[~is_fresh])
        return True

    def _places(self, high: Words, low: Words) -> Slots:
        return places_of(self._table.hash_key, self._table.places, high, low)

    def _in_order(self, home: Words) -> tuple[Slots, Slots]:
        """Places of the keys, ascending, and the order of the keys that makes them so: memory is slow out of order."""
        places = self._places(home[:, 0], home[:, 1])
        order = np.argsort(places)
        return places[order], order

    def _find(self, home: Words, places: Slots) -> Slots:
        """Slots of the keys, -1 for those that are not there."""
        result = np.empty(len(home), np.int64)
        for start in range(0, len(home), _BLOCK):
            block = slice(start, start + _BLOCK)
            result[block] = self._find_block(home[block], places[block])
        return result

    def _find_block(self, home: Words, buckets: Slots) -> Slots:
        result = np.full(len(home), -1, np.int64)
        searched = np.arange(len(home))
        for _ in range(MAX_PROBES):
            contents = self._buckets.take(buckets, axis=0)
            states = contents.view(np.uint32)[:, :: SLOT_SIZE // 4]
            lows = contents[:, _LOW :: SLOT_SIZE // 8]
            rows, columns = np.nonzero((lows == home[searched, 1, None]) & (states & _TAKEN != 0))
            prefixes = self._table.networks.prefixes[states[rows, columns] >> _INDEX_SHIFT]
            same = prefixes == home[searched[rows], 0]
            rows, columns = rows[same], columns[same]
            result[searched[rows]] = buckets[rows] * BUCKET_SLOTS + columns
            going_on = (states != 0).all(axis=1)
            going_on[rows] = False
            searched, buckets = searched[going_on], buckets[going_on] + 1
            if not len(searched):
                break
        return result

    def _claim(self, places: Slots) -> Slots | None:
        """A free slot for each of the ascending places; None if one finds none.

        First in their own buckets, as far as those go, for there a packet finds them at once.
        """
        first = int(places[0])
        free = self._pairs[first : int(places[-1]) + MAX_PROBES] & _TAKEN == 0
        own = free.take(places - first, axis=0)
        each = np.arange(len(places))
        is_first = np.concatenate(([True], places[1:] != places[:-1]))
        rank = each - np.maximum.accumulate(np.where(is_first, each, 0))
        result: Slots = (places - first) * BUCKET_SLOTS + (rank + ~own[:, 0])
        is_left = rank >= own.sum(axis=1)
        flat = free.reshape(-1)
        flat[result[~is_left]] = False
        left = np.flatnonzero(is_left)
        if len(left):
            # The following free slots in turn, but none before one's own place.
            following = np.flatnonzero(flat)
            each = np.arange(len(left))
            turn = np.searchsorted(following, (places[left] - first) * BUCKET_SLOTS)
            turn = np.maximum.accumulate(turn - each) + each
            if turn[-1] >= len(following):
                return None
            result[left] = following[turn]
            if (result[left] // BUCKET_SLOTS - (places[left] - first) >= MAX_PROBES).any():
                return None
        result += first * BUCKET_SLOTS
        return result

    def _insert(self, slots: Slots, home: Words, care_of: Words, network: Networks) -> None:
        contents = np.empty((len(slots), SLOT_SIZE // 8), np.uint64)
        contents[:, 0] = self._states[slots]  # as it is, and no next hop
        contents[:, _LOW] = home[:, 1]
        contents[:, _CARE_OF] = care_of
        self._words[slots] = contents
        self._table.usages[:, slots] = 0
        self._states[slots] = self._new_states(len(slots)) | _TAKEN | network << _INDEX_SHIFT
        self._table.count += len(slots)

    def _change(self, slots: Slots, care_of: Words, network: Networks) -> None:
        """As many as the journal has room for."""
        rows = np.arange(len(slots))
        journal = slice(self._table.slots, self._table.slots + len(slots))
        self._words[journal, _CARE_OF] = care_of
        self._states[journal] = network << _INDEX_SHIFT
        bits = _TAKEN | _IN_JOURNAL | rows.astype(np.uint32) << _INDEX_SHIFT
        self._states[slots] = self._new_states(len(slots)) | bits
        self._words[slots, _CARE_OF] = care_of
        self._next_hops[slots] = 0
        self._states[slots] = self._new_states(len(slots)) | _TAKEN | network << _INDEX_SHIFT

    def _ends_searches(self, buckets: Slots) -> NDArray[np.bool_]:
        """Of which buckets no key is behind that a search would find through them."""
        result: NDArray[np.bool_] = (self._pairs[buckets] == 0).any(axis=1) | (buckets == len(self._buckets) - 1)
        rest = np.flatnonzero(~result)
        following = buckets[rest] + 1
        contents = self._buckets[following]
        states = contents.view(np.uint32)[:, :: SLOT_SIZE // 4]
        high = self._table.networks.prefixes[states >> _INDEX_SHIFT]
        passed_by = self._places(high, contents[:, _LOW :: SLOT_SIZE // 8]) != following[:, None]
        result[rest] = (states == 0).any(axis=1) & ~(passed_by & (states & _TAKEN != 0)).any(axis=1)
        return result

    def _new_states(self, number: int) -> NDArray[np.uint32]:
        first = self._table.reserve_changes(number) - 1
        changes = (np.arange(first, first + number, dtype=np.uint32)) % np.uint32(LAST_CHANGE) + np.uint32(1)
        return changes << _CHANGE_SHIFT


def _different(ascending: Slots) -> Slots:
    """Each number once: numpy's own way does not know that they are in order."""
    result: Slots = ascending[np.append(True, ascending[1:] != ascending[:-1])[: len(ascending)]]
    return result
