"""The table of bindings in mapped memory, one slot at a time; ``bpf/bindings.h`` says how the programs read it.

A slot holds two copies of what changes. The one writer writes the copy that is not in force and then the state, a
single store that puts it in force; readers never wait, and a writer that dies between the two leaves what was.
"""

from __future__ import annotations

import platform
from contextlib import ExitStack
from pathlib import Path

from datapath.bindings_values import Usage
from datapath.bpf_syscall import Map, MapType, possible_processors
from datapath.errors import DatapathError, MapFull, StalePin
from datapath.layout import (
    HASH_KEY,
    INDEX,
    KEY_SIZE,
    MAX_PROBES,
    MAX_TUNNEL_ENDS,
    USAGE,
    slot_size,
)

COPY, TAKEN, CHANGE_SHIFT = 1, 2, 2
"""Bits of a slot's state, under the number of the change that made it."""
LAST_CHANGE = (1 << 30) - 1

_OTHER_LAYOUT = "The pinned bindings have another layout: run `homeagent datapath unload`, then load again."
_WORD = (1 << 64) - 1
_HALF = (1 << 32) - 1
# Words (8 bytes) of a slot.
_HOME, _CARE_OF, _NEXT_HOP, _USAGE = 1, 3, 7, 8
_FIELDS = USAGE.size // 8


class Table:
    """The mapped table. Keys are pairs of words: the halves of an address as they lie in memory."""

    def __init__(self, bindings: Map, home_agents: Map, hash_key: bytes) -> None:
        if platform.machine() != "x86_64":
            raise DatapathError("The table of bindings relies on the memory order of x86-64: run it on such a machine.")
        shapes = [(each.info.type, each.info.value_size) for each in (bindings, home_agents)]
        if (
            shapes != [(MapType.ARRAY, slot_size()), (MapType.ARRAY, KEY_SIZE)]
            or home_agents.info.max_entries != MAX_TUNNEL_ENDS
        ):
            raise StalePin(_OTHER_LAYOUT)
        self.identifier = bindings.info.id
        self.slots = bindings.info.max_entries
        self.places = self.slots - MAX_PROBES
        self.capacity = self.places // 2
        self.hash_key = HASH_KEY.unpack(hash_key)
        self._words_of_slot = slot_size() // 8
        self._processors = possible_processors()
        self.memory = bindings.memory()
        self._agents_memory = home_agents.memory()
        self._words = memoryview(self.memory).cast("Q")
        self._states = memoryview(self.memory).cast("I")
        self._halves = memoryview(self.memory).cast("H")
        self._agents = memoryview(self._agents_memory).cast("Q")
        states = self._states[:: self._words_of_slot * 2][: self.slots].tolist()
        self._change = max(states, default=0) >> CHANGE_SHIFT
        self.count = sum(state & TAKEN for state in states) // TAKEN
        self._agent_indices: dict[tuple[int, int], int] = {}
        self._find_agents()

    def close(self) -> None:
        """Unmaps the table; what is in it stays in force."""
        for view in (self._words, self._states, self._halves, self._agents):
            view.release()
        self.memory.close()
        self._agents_memory.close()

    def place(self, high: int, low: int) -> int:
        """First slot the key may be in (``hash_of`` in ``bpf/bindings.h``)."""
        key = self.hash_key
        total: int = (
            key[0]
            + (key[1] + (high & _HALF)) * (key[2] + (high >> 32))
            + (key[3] + (low & _HALF)) * (key[4] + (low >> 32))
        )
        return (((total & _WORD) >> 32) * self.places) >> 32

    def find(self, high: int, low: int) -> int:
        """Slot of the key, or -1."""
        return self._probe(high, low)[0]

    def put(self, home: tuple[int, int], care_of: tuple[int, int], agent: int) -> None:
        """Installs or changes one binding; raises MapFull and then changes nothing."""
        found, free = self._probe(*home)
        if found < 0:
            self._insert(free, home, care_of, agent)
            return
        copy = 1 - (self._states[found * self._words_of_slot * 2] & COPY)
        self._write(found, copy, care_of, agent)
        self._states[found * self._words_of_slot * 2] = self._next_state(TAKEN | copy)
        # Only now: a packet may have kept the way of the old one until then.
        self._words[found * self._words_of_slot + _NEXT_HOP] = 0

    def remove(self, slot: int) -> None:
        """Frees a slot that is taken."""
        self._states[slot * self._words_of_slot * 2] = self._next_state(0)
        self.count -= 1
        step = self._words_of_slot * 2
        if self._states[(slot + 1) * step]:
            return
        while slot >= 0 and (state := self._states[slot * step]) and not state & TAKEN:
            self._states[slot * step] = 0  # no search goes on beyond it any more
            slot -= 1

    def usage(self, slot: int) -> Usage:
        """Traffic of the binding in a slot, over all processors."""
        first = slot * self._words_of_slot + _USAGE
        words = self._words[first : first + self._processors * _FIELDS]
        return Usage(*(sum(words[field::_FIELDS]) for field in range(_FIELDS)))

    def agent_index(self, agent: tuple[int, int]) -> int:
        """Index of a home agent's address, which it gets when it is first used; raises MapFull."""
        index = self._agent_indices.get(agent)
        if index is None:
            index = self._new_agent(agent)
        return index

    def agent(self, index: int) -> bytes:
        """The home agent's address at the index."""
        return bytes(self._agents_memory[index * KEY_SIZE : (index + 1) * KEY_SIZE])

    def reserve_changes(self, number: int) -> int:
        """The first of so many successive change numbers that no slot has."""
        if self._change + number > LAST_CHANGE:
            self._change = 0
        first = self._change + 1
        self._change += number
        return first

    def _probe(self, high: int, low: int) -> tuple[int, int]:
        """The slot of the key, or -1 and the slot where it would go, -1 if there is none."""
        states, words, size = self._states, self._words, self._words_of_slot
        first = self.place(high, low)
        free = -1
        for slot in range(first, first + MAX_PROBES):
            word = slot * size
            state = states[word * 2]
            if not state:
                return -1, slot if free < 0 else free
            if state & TAKEN:
                if words[word + _HOME] == high and words[word + _HOME + 1] == low:
                    return slot, -1
            elif free < 0:
                free = slot
        return -1, free

    def _insert(self, slot: int, home: tuple[int, int], care_of: tuple[int, int], agent: int) -> None:
        if self.count >= self.capacity or slot < 0:
            raise MapFull(
                f"All {self.capacity} bindings are in use: raise datapath.max_bindings and load the data path again."
            )
        word = slot * self._words_of_slot
        self._words[word + _HOME], self._words[word + _HOME + 1] = home
        self._memory_clear(word + _NEXT_HOP, 1 + self._processors * _FIELDS)
        self._write(slot, 0, care_of, agent)
        self._states[word * 2] = self._next_state(TAKEN)
        self.count += 1

    def _write(self, slot: int, copy: int, care_of: tuple[int, int], agent: int) -> None:
        word = slot * self._words_of_slot
        place = word + _CARE_OF + 2 * copy
        self._words[place], self._words[place + 1] = care_of
        self._halves[word * 4 + 2 + copy] = agent

    def _memory_clear(self, word: int, number: int) -> None:
        self.memory[word * 8 : (word + number) * 8] = bytes(number * 8)

    def _next_state(self, bits: int) -> int:
        return self.reserve_changes(1) << CHANGE_SHIFT | bits

    def _find_agents(self) -> None:
        """Takes the indices in use from the slots."""
        step = self._words_of_slot * 4
        used: set[int] = set()
        states = self._states[:: self._words_of_slot * 2][: self.slots].tolist()
        copies = [self._halves[2 + copy :: step][: self.slots].tolist() for copy in (0, 1)]
        for state, *indices in zip(states, *copies, strict=True):
            if state & TAKEN:
                used.add(indices[state & COPY])
        self._agent_indices = {
            (self._agents[2 * index], self._agents[2 * index + 1]): index for index in used if index < MAX_TUNNEL_ENDS
        }

    def _new_agent(self, agent: tuple[int, int]) -> int:
        if len(self._agent_indices) == MAX_TUNNEL_ENDS:
            self._find_agents()
        free = set(range(MAX_TUNNEL_ENDS)) - set(self._agent_indices.values())
        if not free:
            raise MapFull(f"Bindings name {MAX_TUNNEL_ENDS} home agents: let those of agents that are gone expire.")
        index = min(free)
        self._agents[2 * index], self._agents[2 * index + 1] = agent
        self._agent_indices[agent] = index
        return index


def open_table(directory: Path) -> Table:
    """The table pinned in a directory; raises NotLoaded, or StalePin if it is not what this program makes."""
    with ExitStack() as stack:  # the mapped memory outlives the descriptors
        names = ("bindings", "home_agents", "hash_key")
        bindings, home_agents, hash_key = (stack.enter_context(Map.open(directory / name)) for name in names)
        shape = hash_key.info.type, hash_key.info.value_size
        key = hash_key.lookup(INDEX.pack(0)) if shape == (MapType.ARRAY, HASH_KEY.size) else None
        if key is None:
            raise StalePin(_OTHER_LAYOUT)
        return Table(bindings, home_agents, key)
