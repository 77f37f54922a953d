"""The bindings in force, as the one process that writes them sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from operator import attrgetter
from pathlib import Path
from struct import Struct
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from datapath.address_words import words_of
from datapath.bindings_values import Tunnel, Usage
from datapath.bpf_syscall import Map
from datapath.care_of_addresses import CareOfAddress, IPv4CareOfAddress, unpack_care_of_address
from datapath.errors import AddressNotServed, MapFull
from datapath.hashing import Words
from datapath.home_networks import Pair
from datapath.layout import KEY_SIZE, local_key, pin_directory
from datapath.table import open_table
from datapath.table_batches import Networks, TableBatches

__all__ = ["BindingMap", "IPv4CareOfAddress", "Reconciliation", "Tunnel", "Usage"]

_ADDRESS = Struct("=QQ")
_FIRST_GROUP = np.uint64(0xFFFF)
"""The first two bytes of an address, in its first word."""
_FIRST_GROUP_SHIFT = 112
_to_bytes = cast(Callable[[int, int, str], bytes], int.to_bytes)  # IPv6Address.packed is Python


class Reconciliation(NamedTuple):
    """Home addresses whose binding :meth:`BindingMap.reconcile` added, changed and removed, or left to others."""

    added: list[IPv6Address]
    changed: list[IPv6Address]
    removed: list[IPv6Address]
    left: list[IPv6Address]


class BindingMap:
    """Bindings the XDP program follows.

    There is one writer at a time: whoever writes in turns with another looks anew first (``follow``), or opens anew.
    Another process may read at any time. What is installed stays when the process ends, and ``open`` finds it again.
    """

    def __init__(self, directory: Path) -> None:
        """Open the maps pinned in a directory; raises NotLoaded or StalePin."""
        self._directory = directory
        self._table = open_table(directory)
        self._batches = TableBatches(self._table)
        try:
            self._local = Map.open(directory / "local")
        except BaseException:
            self._close_table()
            raise

    @classmethod
    def open(cls, pin_path: Path) -> BindingMap:
        """Opens the maps in force; raises NotLoaded or StalePin."""
        return cls(pin_directory(pin_path))

    def follow(self) -> bool:
        """Looks at the maps anew, after another process had its turn; whether an upgrade has put others in their place.

        Raises:
            NotLoaded: nothing is pinned any more.
            StalePin: they are of another layout.
        """
        following = BindingMap(self._directory)
        are_others = following._table.identifier != self._table.identifier
        self.close()
        self._table, self._batches, self._local = following._table, following._batches, following._local
        return are_others

    def close(self) -> None:
        """Closes the maps. The bindings stay in force."""
        self._close_table()
        self._local.close()

    def _close_table(self) -> None:
        self._batches.close()
        self._table.close()

    def __enter__(self) -> BindingMap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def capacity(self) -> int:
        """Bindings there is room for."""
        return self._table.capacity

    def __len__(self) -> int:
        return self._table.count

    def __contains__(self, home_address: IPv6Address) -> bool:
        return self._slot(home_address) >= 0

    def slot(self, home_address: IPv6Address) -> int:
        """Where the binding is, for as long as it is there; -1 if there is none."""
        return self._slot(home_address)

    def install(
        self, home_address: IPv6Address, care_of_address: CareOfAddress, home_agent_address: IPv6Address
    ) -> None:
        """Installs or changes one binding, in force at once; raises MapFull or AddressNotServed and changes nothing."""
        value = int(care_of_address)
        if value >> _FIRST_GROUP_SHIFT == 0:
            self._check([care_of_address])
        self._table.put(_halves(int(home_address)), _halves(value), _halves(int(home_agent_address)))

    def install_many(self, tunnels: Mapping[IPv6Address, Tunnel]) -> None:
        """Installs or changes many bindings in one call.

        Raises:
            MapFull: none or only part of them are in force.
            AddressNotServed: none of them is.
        """
        rows = list(tunnels.values())
        home, care_of = words_of(tunnels), words_of(list(map(attrgetter("care_of_address"), rows)))
        suspects = np.flatnonzero(care_of[:, 0] & _FIRST_GROUP == 0)
        self._check([rows[row].care_of_address for row in suspects.tolist()])
        if not self._batches.put(home, care_of, self._networks_of(home[:, 0], rows)):
            raise MapFull(
                f"{self._batches.missing(home)} more bindings do not fit beside {len(self)} of {self.capacity}: "
                "raise datapath.max_bindings and load the data path again."
            )

    def remove(self, home_address: IPv6Address) -> bool:
        """Removes one binding; whether it was there. Its usage is forgotten."""
        slot = self._slot(home_address)
        if slot >= 0:
            self._table.remove(slot)
        return slot >= 0

    def remove_many(self, home_addresses: Iterable[IPv6Address]) -> None:
        """Removes many bindings in one call; those that are not there are passed over."""
        self._batches.remove(words_of(list(home_addresses)))

    def entries(self) -> dict[IPv6Address, Tunnel]:
        """All bindings as the programs have them now."""
        return {
            IPv6Address(home): Tunnel(unpack_care_of_address(care_of), IPv6Address(agent))
            for home, (care_of, agent) in self._raw_entries().items()
        }

    def reconcile(self, expected: Mapping[IPv6Address, Tunnel], *, leave_ipv4: bool = False) -> Reconciliation:
        """Makes the map hold exactly ``expected``, touching only what differs.

        Args:
            expected: tunnels by home address.
            leave_ipv4: leave other home addresses their tunnels over IPv4, where the programs know the near end still.
        """
        present = self._raw_entries()
        packed = {home: home.packed for home in expected}
        added = [home for home, key in packed.items() if key not in present]
        changed = [
            home
            for home, key in packed.items()
            if key in present
            and present[key] != (expected[home].care_of_address.packed, expected[home].home_agent_address.packed)
        ]
        others = present.keys() - set(packed.values())
        left = {home for home in others if self._goes_over_ipv4(present[home][0])} if leave_ipv4 else set()
        removed = [IPv6Address(home) for home in others - left]
        self.remove_many(removed)
        self.install_many({home: expected[home] for home in (*changed, *added)})
        return Reconciliation(added, changed, removed, [IPv6Address(home) for home in left])

    def carry(self, home: Words, care_of: Words, agent: Words) -> None:
        """Installs bindings as an upgrade found them, addresses as rows of words; raises MapFull."""
        agents, numbers = np.unique(agent, axis=0, return_inverse=True)
        pairs: list[Pair] = [(high, low) for high, low in agents.tolist()]
        if not self._batches.put(home, care_of, self._networks(home[:, 0], pairs, numbers.reshape(-1))):
            raise MapFull(
                f"{len(home)} bindings are in force and there would be room for {self.capacity}: "
                "raise datapath.max_bindings."
            )

    def add_usage(self, home: Words, usage: Words) -> None:
        """Adds to what is counted of bindings, by processor and field; of those that are not there nothing."""
        self._batches.add_usage(home, usage)

    def usages(self) -> dict[IPv6Address, Usage]:
        """Traffic of all bindings, read in one go."""
        home, used = self._batches.usages()
        return {
            IPv6Address(address.tobytes()): Usage(*counters)
            for address, counters in zip(home, used.tolist(), strict=True)
        }

    def usage(self, home_address: IPv6Address) -> Usage:
        """Traffic of one binding; zeros if there is none."""
        slot = self._slot(home_address)
        return Usage() if slot < 0 else self._table.usage(slot)

    def _check(self, care_of_addresses: Iterable[CareOfAddress]) -> None:
        """No IPv6 address may look like an IPv4 one, and the programs must know of IPv4."""
        over_ipv4 = [address for address in care_of_addresses if int(address) >> _FIRST_GROUP_SHIFT == 0]
        for address in over_ipv4:
            if not isinstance(address, IPv4CareOfAddress):
                raise ValueError(f"{address} is no address of a node: below 1:: nothing is routed")
        for near in {address.home_agent_address for address in over_ipv4 if isinstance(address, IPv4CareOfAddress)}:
            if not self._serves(near):
                raise AddressNotServed(
                    f"The data path was loaded without {near}: add it to home_agent.ipv4_addresses and load again."
                )

    def _goes_over_ipv4(self, packed: bytes) -> bool:
        address = unpack_care_of_address(packed)
        return isinstance(address, IPv4CareOfAddress) and self._serves(address.home_agent_address)

    def _serves(self, near: IPv4Address) -> bool:
        """Whether the programs were loaded with a home agent address."""
        return self._local.lookup(local_key(near)) is not None

    def _slot(self, home_address: IPv6Address) -> int:
        return self._table.find(*_halves(int(home_address)))

    def _networks_of(self, prefixes: NDArray[np.uint64], tunnels: list[Tunnel]) -> Networks:
        """Numbers of the home networks. Few agents are different, and those mostly the same objects."""
        agent_of = attrgetter("home_agent_address")
        if len(set(map(id, map(agent_of, tunnels)))) == 1:
            pair = _halves(int(tunnels[0].home_agent_address))
            return self._networks(prefixes, [pair], np.zeros(len(tunnels), np.int64))
        agents = list(map(agent_of, tunnels))
        objects = list(map(id, agents))
        by_object = dict(zip(objects, agents, strict=True))
        number_of = {key: number for number, key in enumerate(by_object)}
        pairs = [_halves(int(agent)) for agent in by_object.values()]
        return self._networks(prefixes, pairs, np.fromiter(map(number_of.__getitem__, objects), np.int64, len(agents)))

    def _networks(self, prefixes: NDArray[np.uint64], agents: list[Pair], numbers: NDArray[np.int64]) -> Networks:
        """Numbers of the home networks, each of a prefix and the agent with the number."""
        if len(agents) == 1 and bool((prefixes == prefixes[0]).all()):
            return np.full(len(prefixes), self._table.network_numbers([(int(prefixes[0]), agents[0])])[0], np.uint32)
        different, prefix = np.unique(prefixes, return_inverse=True)
        kinds, kind = np.unique(prefix * max(1, len(agents)) + numbers, return_inverse=True)
        pairs = ((int(different[one // len(agents)]), agents[one % len(agents)]) for one in kinds.tolist())
        return np.array(self._table.network_numbers(pairs), np.uint32)[kind]

    def _raw_entries(self) -> dict[bytes, tuple[bytes, bytes]]:
        entries = self._batches.entries()
        home, care_of = entries.home.tobytes(), entries.care_of.tobytes()
        agents = {index: self._table.networks.agent(index) for index in set(entries.network.tolist())}
        return {
            home[start : start + KEY_SIZE]: (care_of[start : start + KEY_SIZE], agents[agent])
            for start, agent in zip(range(0, len(home), KEY_SIZE), entries.network.tolist(), strict=True)
        }


def _halves(address: int) -> Pair:
    """Both halves of an address as they lie in memory."""
    return cast(Pair, _ADDRESS.unpack(_to_bytes(address, KEY_SIZE, "big")))
