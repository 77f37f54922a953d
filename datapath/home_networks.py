"""What many bindings have in common, named by a number in each: home agent's address and upper half of home address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from datapath.bpf_syscall import Map, MapType
from datapath.errors import MapFull, StalePin
from datapath.layout import HOME_NETWORK, INDEX, KEY_SIZE, MAX_HOME_NETWORKS
from datapath.network_changes import NetworkChanges

Pair = tuple[int, int]
_WORDS = HOME_NETWORK.size // 8
_PREFIX = 2
_PLACES = MAX_HOME_NETWORKS
_PREFIX_KEY = Struct("=Q")


class HomeNetworks:
    """The mapped table of them. Addresses are pairs of words, prefixes words, as they lie in memory.

    Attributes:
        agents: addresses of home agents, by number.
        prefixes: upper halves of home addresses, by number.
    """

    def __init__(self, opened: Map, prefixes: Map, changes: NetworkChanges) -> None:
        info = opened.info
        if (info.type, info.value_size) != (MapType.ARRAY, HOME_NETWORK.size * _PLACES):
            raise StalePin("The pinned bindings have another layout: run `homeagent datapath unload`, then load again.")
        self._known_prefixes, self._changes = prefixes, changes
        self._memory = opened.memory()
        self._words = memoryview(self._memory).cast("Q")
        rows: NDArray[np.uint64] = np.frombuffer(self._memory, np.uint64, _PLACES * _WORDS)
        self.agents: NDArray[np.uint64] = rows.reshape(-1, _WORDS)[:, :_PREFIX]
        self.prefixes: NDArray[np.uint64] = rows[_PREFIX::_WORDS]
        self._indices: dict[tuple[int, Pair], int] = {}
        self._free: Iterator[int] = iter(())

    def close(self) -> None:
        """Unmaps the table."""
        self._words.release()
        del self.agents, self.prefixes
        self._memory.close()
        self._known_prefixes.close()
        self._changes.close()

    def numbers(self, pairs: Iterable[tuple[int, Pair]], used: Callable[[], Iterable[int]]) -> list[int]:
        """The numbers of pairs, which they get when they are first used.

        Args:
            pairs: upper half of home addresses, and home agent's address.
            used: says which numbers bindings have, when there seems to be none left.

        Raises:
            MapFull: none is left.
        """
        result: list[int] = []
        for prefix, agent in pairs:
            number = self._indices.get((prefix, agent))
            if number is None:
                number = self._new(prefix, agent, lambda: (*used(), *result))
            result.append(number)
        return result

    def known(self, prefix: int, agent: Pair) -> int:
        """The number of a pair, -1 if it has none."""
        return self._indices.get((prefix, agent), -1)

    def learn(self, used: Iterable[int]) -> None:
        """Takes over the numbers that bindings have; all others are free."""
        taken = set(used)
        self._indices = {(self.prefix(index), self._agent_words(index)): index for index in taken}
        self._free = (index for index in range(MAX_HOME_NETWORKS) if index not in taken)

    def prefix(self, index: int) -> int:
        """Upper half of the home addresses."""
        return self._words[index * _WORDS + _PREFIX]

    def agent(self, index: int) -> bytes:
        """The home agent's address."""
        start = index * HOME_NETWORK.size
        return bytes(self._memory[start : start + KEY_SIZE])

    def _agent_words(self, index: int) -> Pair:
        return self._words[index * _WORDS], self._words[index * _WORDS + 1]

    def _new(self, prefix: int, agent: Pair, used: Callable[[], Iterable[int]]) -> int:
        index = next(self._free, None)
        if index is None:
            self.learn(used())
            self._forget_prefixes()
            index = next(self._free, None)
        if index is None:
            raise MapFull(
                f"Bindings are of {MAX_HOME_NETWORKS} pairs of a /64 and a home agent: "
                "give mobile nodes home addresses out of fewer prefixes, or let those of agents that are gone expire."
            )
        start = index * _WORDS
        self._words[start], self._words[start + 1], self._words[start + _PREFIX] = *agent, prefix
        self._indices[prefix, agent] = index
        self._known_prefixes.update(_PREFIX_KEY.pack(prefix), INDEX.pack(1))
        self._changes.tell()
        return index

    def _forget_prefixes(self) -> None:
        """Makes room for others than those in use."""
        used = {_PREFIX_KEY.pack(prefix) for prefix, _ in self._indices}
        for key in set(self._known_prefixes.keys()) - used:
            self._known_prefixes.delete(key)


def open_home_networks(directory: Path) -> HomeNetworks:
    """Those pinned in a directory; raises NotLoaded or StalePin."""
    with Map.open(directory / "home_networks") as opened:
        prefixes = Map.open(directory / "home_prefixes")
        try:
            return HomeNetworks(opened, prefixes, NetworkChanges.open(directory))
        except BaseException:
            prefixes.close()
            raise
