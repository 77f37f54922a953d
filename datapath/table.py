"""The table of bindings in mapped memory, one slot at a time; ``bpf/bindings.h`` says how the programs read it.

What is in force is decided by a slot's state, a single store. The one writer changes a slot by way of the journal, so
that readers never wait, and a writer that dies half-way leaves what was or what is to be.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datapath.bindings_values import Usage
from datapath.bpf_syscall import Map, MapType
from datapath.errors import DatapathError, MapFull, StalePin
from datapath.home_networks import HomeNetworks, Pair, open_home_networks
from datapath.layout import (
    BUCKET_SLOTS,
    HASH_KEY,
    INDEX,
    JOURNAL_SLOTS,
    MAX_PROBES,
    SLOT_SIZE,
    USAGE,
    usage_stripes,
)

TAKEN, IN_JOURNAL, CHANGE_SHIFT, INDEX_SHIFT = 1, 2, 2, 16
"""Bits of a slot's state: number of its change, and above it the home network or the slot in the journal."""
LAST_CHANGE = (1 << INDEX_SHIFT - CHANGE_SHIFT) - 1

_OTHER_LAYOUT = "The pinned bindings have another layout: run `homeagent datapath unload`, then load again."
_HALF = (1 << 32) - 1
_WORDS = SLOT_SIZE // 8
_STATES = SLOT_SIZE // 4
_LOW, _CARE_OF = 1, 2
"""Words (8 bytes) of a slot; the first one is its state and its next hop."""
_FIELDS = USAGE.size // 8


class Table:
    """The mapped table. Keys are pairs of words: the halves of an address as they lie in memory.

    Attributes:
        slots: slots of the table; those of the journal follow them.
        words: all slots, as rows of words.
        states: the states of all slots.
    """

    def __init__(self, bindings: Map, usage: Map, networks: HomeNetworks, hash_key: bytes) -> None:
        if platform.machine() != "x86_64":
            raise DatapathError("The table of bindings relies on the memory order of x86-64: run it on such a machine.")
        shapes = [(each.info.type, each.info.value_size * each.info.max_entries) for each in (bindings, usage)]
        buckets = bindings.info.value_size // (BUCKET_SLOTS * SLOT_SIZE) - JOURNAL_SLOTS // BUCKET_SLOTS
        wanted = [
            (MapType.ARRAY, BUCKET_SLOTS * SLOT_SIZE * buckets + SLOT_SIZE * JOURNAL_SLOTS),
            (MapType.ARRAY, BUCKET_SLOTS * USAGE.size * buckets * usage_stripes()),
        ]
        if shapes != wanted or bindings.info.max_entries != 1 or buckets <= MAX_PROBES:
            raise StalePin(_OTHER_LAYOUT)
        self.identifier = bindings.info.id
        self.slots = buckets * BUCKET_SLOTS
        self.places = self.capacity = buckets - MAX_PROBES
        self.hash_key = HASH_KEY.unpack(hash_key)
        self.networks = networks
        self._memory, self._usage_memory = bindings.memory(), usage.memory()
        self._words = memoryview(self._memory).cast("Q")
        self._states = memoryview(self._memory).cast("I")
        count = self.slots + JOURNAL_SLOTS
        self.words: NDArray[np.uint64] = np.frombuffer(self._memory, np.uint64, count * _WORDS).reshape(-1, _WORDS)
        self.states: NDArray[np.uint32] = np.frombuffer(self._memory, np.uint32, count * _STATES)[::_STATES]
        self.usages: NDArray[np.uint64] = np.frombuffer(
            self._usage_memory, np.uint64, usage_stripes() * self.slots * _FIELDS
        ).reshape(usage_stripes(), self.slots, _FIELDS)
        self._change = 0
        self._is_settled = False
        self.count = int(np.count_nonzero(self.states[: self.slots] & np.uint32(TAKEN)))
        self.networks.learn(self._used_networks())

    def close(self) -> None:
        """Unmaps the table; what is in it stays in force."""
        self._words.release()
        self._states.release()
        del self.words, self.states, self.usages
        self._memory.close()
        self._usage_memory.close()
        self.networks.close()

    def place(self, high: int, low: int) -> int:
        """First bucket the key may be in; :func:`datapath.hashing.places_of` for one key."""
        one, two, three, four, five = self.hash_key
        total: int = (
            one + (two + (high & _HALF)) * (three + (high >> 32)) + (four + (low & _HALF)) * (five + (low >> 32))
        )
        return ((total >> 32 & _HALF) * self.places) >> 32

    def find(self, high: int, low: int) -> int:
        """Slot of the key, or -1."""
        return self._probe(high, low)[0]

    def put(self, home: Pair, care_of: Pair, agent: Pair) -> None:
        """Installs or changes one binding; raises MapFull and then changes nothing."""
        if not self._is_settled:
            self.settle()
        network = self.networks.known(home[0], agent)
        if network < 0:
            (network,) = self.network_numbers([(home[0], agent)])
        found, free = self._probe(*home)
        if found >= 0:
            self._change_slot(found, care_of, network)
            return
        if self.count >= self.capacity or free < 0:
            raise MapFull(
                f"All {self.capacity} bindings are in use: raise datapath.max_bindings and load the data path again."
            )
        self.usages[:, free] = 0
        self._words[free * _WORDS + _LOW] = home[1]
        self._write(free, care_of)
        self._states[free * _STATES + 1] = 0
        self._states[free * _STATES] = self._next_state(TAKEN, network)
        self.count += 1

    def remove(self, slot: int) -> None:
        """Frees a slot that is taken."""
        self.settle()
        self._states[slot * _STATES] = self._next_state(0, 0)
        self.count -= 1
        bucket = slot // BUCKET_SLOTS
        while bucket >= 0 and self._ends_searches(bucket):
            places = (bucket * BUCKET_SLOTS * _STATES, (bucket * BUCKET_SLOTS + 1) * _STATES)
            freed = [place for place in places if self._states[place] and not self._states[place] & TAKEN]
            if not freed:
                break
            for place in freed:
                self._states[place] = 0
            bucket -= 1

    def usage(self, slot: int) -> Usage:
        """Traffic of the binding in a slot, over all processors."""
        return Usage(*self.usages[:, slot].sum(axis=0).tolist())

    def network_numbers(self, pairs: Iterable[tuple[int, Pair]]) -> list[int]:
        """Numbers of home networks (upper half of home addresses, agent), given at first use; raises MapFull."""
        return self.networks.numbers(pairs, self._used_networks)

    def reserve_changes(self, number: int) -> int:
        """The first of so many successive change numbers, after LAST_CHANGE starting again at 1."""
        first = self._change % LAST_CHANGE + 1
        self._change = (first + number - 2) % LAST_CHANGE + 1
        return first

    def settle(self) -> None:
        """Takes out of the journal what a writer that died has left there; to be called before anything is written."""
        if self._is_settled:
            return
        states = self.states[: self.slots]
        for slot in np.flatnonzero(states & np.uint32(IN_JOURNAL)).tolist():
            source = self.slots + (self._states[slot * _STATES] >> INDEX_SHIFT)
            start = source * _WORDS + _CARE_OF
            self._write(slot, (self._words[start], self._words[start + 1]))
            self._states[slot * _STATES + 1] = 0
            network = self._states[source * _STATES] >> INDEX_SHIFT
            self._states[slot * _STATES] = self._next_state(TAKEN, network)
        self._is_settled = True

    def _probe(self, high: int, low: int) -> tuple[int, int]:
        """The slot of the key, or -1 and the slot where it would go, -1 if there is none."""
        first = self.place(high, low) * BUCKET_SLOTS
        free, is_end = -1, False
        states, words = self._states, self._words
        for slot in range(first, first + MAX_PROBES * BUCKET_SLOTS):
            state = states[slot * _STATES]
            if state & TAKEN:
                if words[slot * _WORDS + _LOW] == low and self._prefix(state) == high:
                    return slot, -1
            else:
                free = slot if free < 0 else free
                is_end = is_end or not state
            if is_end and slot % BUCKET_SLOTS:
                break
        return -1, free

    def _prefix(self, state: int) -> int:
        index = state >> INDEX_SHIFT
        if state & IN_JOURNAL:
            index = self._states[(self.slots + index) * _STATES] >> INDEX_SHIFT
        return self.networks.prefix(index)

    def _change_slot(self, slot: int, care_of: Pair, network: int) -> None:
        states, place = self._states, slot * _STATES
        self._write(self.slots, care_of)
        states[self.slots * _STATES] = network << INDEX_SHIFT
        states[place] = self._next_state(TAKEN | IN_JOURNAL, 0)
        self._write(slot, care_of)
        # Only now, a packet may have kept the way of the old one until then; and before the next state.
        states[place + 1] = 0
        states[place] = self._next_state(TAKEN, network)

    def _write(self, slot: int, care_of: Pair) -> None:
        start = slot * _WORDS + _CARE_OF
        self._words[start], self._words[start + 1] = care_of

    def _ends_searches(self, bucket: int) -> bool:
        """Whether no key is behind the bucket that a search would find through it."""
        if self._has_never_used(bucket) or (bucket + 1) * BUCKET_SLOTS == self.slots:
            return True
        following = bucket + 1
        if not self._has_never_used(following):
            return False
        for slot in range(following * BUCKET_SLOTS, (following + 1) * BUCKET_SLOTS):
            state = self._states[slot * _STATES]
            low = self._words[slot * _WORDS + _LOW]
            if state & TAKEN and self.place(self._prefix(state), low) != following:
                return False
        return True

    def _has_never_used(self, bucket: int) -> bool:
        place = bucket * BUCKET_SLOTS * _STATES
        return not (self._states[place] and self._states[place + _STATES])

    def _next_state(self, bits: int, index: int) -> int:
        change = self._change = self._change % LAST_CHANGE + 1
        return index << INDEX_SHIFT | change << CHANGE_SHIFT | bits

    def _used_networks(self) -> list[int]:
        states = self.states[: self.slots]
        taken = states[states & np.uint32(TAKEN) != 0]
        in_journal = taken & np.uint32(IN_JOURNAL) != 0
        indices = taken >> np.uint32(INDEX_SHIFT)
        indices[in_journal] = self.states[self.slots + indices[in_journal].astype(np.int64)] >> np.uint32(INDEX_SHIFT)
        used: Any = np.flatnonzero(np.bincount(indices)) if len(indices) else indices
        return [int(index) for index in used]


def open_table(directory: Path) -> Table:
    """The table pinned in a directory; raises NotLoaded, or StalePin if it is not what this program makes."""
    with ExitStack() as stack:  # the mapped memory outlives the descriptors
        names = ("bindings", "usage", "hash_key")
        bindings, usage, hash_key = (stack.enter_context(Map.open(directory / name)) for name in names)
        shape = hash_key.info.type, hash_key.info.value_size
        key = hash_key.lookup(INDEX.pack(0)) if shape == (MapType.ARRAY, HASH_KEY.size) else None
        if key is None:
            raise StalePin(_OTHER_LAYOUT)
        return Table(bindings, usage, open_home_networks(directory), key)
