"""The map of bindings, as the one process that writes it sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

from datapath.bpf_syscall import Map
from datapath.errors import MapFull, StalePin
from datapath.layout import BINDING, INDEX, KEY_SIZE, USAGE, pin_directory
from datapath.slots import SlotAllocator


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Where packets to a home address go: the tunnel's far end and its near end."""

    care_of_address: IPv6Address
    home_agent_address: IPv6Address


@dataclass(frozen=True, slots=True)
class Usage:
    """What went through the tunnel of one binding since it was installed: inner packets and their bytes."""

    encapsulated_packets: int = 0
    encapsulated_bytes: int = 0
    decapsulated_packets: int = 0
    decapsulated_bytes: int = 0


class Reconciliation(NamedTuple):
    """Home addresses whose binding :meth:`BindingMap.reconcile` added, changed and removed."""

    added: list[IPv6Address]
    changed: list[IPv6Address]
    removed: list[IPv6Address]


class BindingMap:
    """Bindings the XDP program follows.

    There is one writer. Another process may read at any time. What is installed stays when the process ends, and
    ``open`` finds it again.
    """

    def __init__(self, bindings: Map, usage: Map) -> None:
        if (bindings.key_size, bindings.info.value_size) != (KEY_SIZE, BINDING.size) or (
            usage.info.value_size != USAGE.size or usage.info.max_entries != bindings.info.max_entries
        ):
            raise StalePin("The pinned bindings have another layout: run `homeagent datapath unload`, then load again.")
        self._bindings = bindings
        self._usage = usage
        self._slot_by_home: dict[bytes, int] = {}
        self._slots = SlotAllocator(self.capacity)
        self._rebuild()

    @classmethod
    def open(cls, pin_path: Path) -> BindingMap:
        """Opens the pinned maps; raises NotLoaded or StalePin."""
        directory = pin_directory(pin_path)
        bindings = Map.open(directory / "bindings")
        try:
            usage = Map.open(directory / "usage")
        except BaseException:
            bindings.close()
            raise
        try:
            return cls(bindings, usage)
        except BaseException:
            bindings.close()
            usage.close()
            raise

    def close(self) -> None:
        """Closes the maps. The bindings stay in force."""
        self._bindings.close()
        self._usage.close()

    def __enter__(self) -> BindingMap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def capacity(self) -> int:
        """Bindings there is room for."""
        return self._bindings.info.max_entries

    def __len__(self) -> int:
        return len(self._slot_by_home)

    def __contains__(self, home_address: IPv6Address) -> bool:
        return home_address.packed in self._slot_by_home

    def install(self, home_address: IPv6Address, care_of_address: IPv6Address, home_agent_address: IPv6Address) -> None:
        """Installs or changes one binding, in force at once; raises MapFull and then changes nothing."""
        home = home_address.packed
        known = self._slot_by_home.get(home)
        slot = self._new_slot() if known is None else known
        value = BINDING.pack(care_of_address.packed, home_agent_address.packed, slot, 0)
        try:
            self._bindings.update(home, value)
        except BaseException:
            if known is None:
                self._slots.release(slot)
            raise
        self._slot_by_home[home] = slot

    def install_many(self, tunnels: Mapping[IPv6Address, Tunnel]) -> None:
        """Installs or changes many bindings in one call; raises MapFull, with none or only part of them in force."""
        fresh = [home for home in tunnels if home.packed not in self._slot_by_home]
        if len(fresh) > self.capacity - len(self):
            raise MapFull(
                f"{len(fresh)} more bindings do not fit beside {len(self)} of {self.capacity}: "
                "raise datapath.max_bindings and load the data path again."
            )
        for home in fresh:
            self._slot_by_home[home.packed] = self._slots.allocate()
        self._clear_usage(self._slot_by_home[home.packed] for home in fresh)
        keys = b"".join(home.packed for home in tunnels)
        values = b"".join(
            BINDING.pack(
                tunnel.care_of_address.packed, tunnel.home_agent_address.packed, self._slot_by_home[home.packed], 0
            )
            for home, tunnel in tunnels.items()
        )
        try:
            self._bindings.update_batch(keys, values)
        except BaseException:
            self._rebuild()
            raise

    def remove(self, home_address: IPv6Address) -> bool:
        """Removes one binding; whether it was there. Its usage is forgotten."""
        home = home_address.packed
        was_there = self._bindings.delete(home)
        slot = self._slot_by_home.pop(home, None)
        if slot is not None:
            self._slots.release(slot)
        return was_there

    def remove_many(self, home_addresses: Iterable[IPv6Address]) -> None:
        """Removes many bindings in one call; those that are not there are passed over."""
        homes = [home.packed for home in home_addresses]
        self._bindings.delete_batch(b"".join(homes))
        for home in homes:
            slot = self._slot_by_home.pop(home, None)
            if slot is not None:
                self._slots.release(slot)

    def entries(self) -> dict[IPv6Address, Tunnel]:
        """All bindings as the kernel has them now."""
        return {
            IPv6Address(home): Tunnel(IPv6Address(care_of), IPv6Address(agent))
            for home, (care_of, agent, _, _) in self._raw_entries().items()
        }

    def reconcile(self, expected: Mapping[IPv6Address, Tunnel]) -> Reconciliation:
        """Makes the map hold exactly ``expected``, touching only what differs; returns what it touched."""
        present = {home: (care_of, agent) for home, (care_of, agent, _, _) in self._raw_entries().items()}
        packed = {home: home.packed for home in expected}
        added = [home for home, key in packed.items() if key not in present]
        changed = [
            home
            for home, key in packed.items()
            if key in present
            and present[key] != (expected[home].care_of_address.packed, expected[home].home_agent_address.packed)
        ]
        removed = [IPv6Address(home) for home in present.keys() - set(packed.values())]
        self.remove_many(removed)
        self.install_many({home: expected[home] for home in (*changed, *added)})
        return Reconciliation(added, changed, removed)

    def usage(self, home_address: IPv6Address) -> Usage:
        """Traffic of one binding; zeros if there is none."""
        slot = self._slot_by_home.get(home_address.packed)
        if slot is None:
            return Usage()
        value = self._usage.lookup(INDEX.pack(slot))
        return _sum_usage(value or b"")

    def _new_slot(self) -> int:
        slot = self._slots.allocate()
        self._clear_usage([slot])
        return slot

    def _clear_usage(self, slots: Iterable[int]) -> None:
        keys = b"".join(INDEX.pack(slot) for slot in slots)
        self._usage.update_batch(keys, bytes(len(keys) // 4 * self._usage.value_size))

    def _raw_entries(self) -> dict[bytes, tuple[bytes, bytes, int, int]]:
        result: dict[bytes, tuple[bytes, bytes, int, int]] = {}
        for keys, values, count in self._bindings.lookup_batches():
            homes = (keys[index * KEY_SIZE : (index + 1) * KEY_SIZE] for index in range(count))
            result.update(zip(homes, BINDING.iter_unpack(values), strict=True))
        return result

    def _rebuild(self) -> None:
        """Takes the slots in use from the map, after opening it or after a call that stopped half-way."""
        self._slot_by_home = {home: value[2] for home, value in self._raw_entries().items()}
        self._slots = SlotAllocator(self.capacity, self._slot_by_home.values())


def _sum_usage(value: bytes) -> Usage:
    parts = list(USAGE.iter_unpack(value))
    return Usage(*(sum(part[field] for part in parts) for field in range(4)))
