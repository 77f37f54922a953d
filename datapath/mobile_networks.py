"""The networks behind mobile routers, as the one process that writes them sees them (RFC 3963)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from datapath.bpf_syscall import Map, MapType, opened, program_map_identifiers
from datapath.errors import DatapathError, NotLoaded, StalePin
from datapath.layout import MOBILE_NETWORK, MOBILE_ROUTER, PROGRAM_NAME, pin_directory
from datapath.network_changes import NetworkChanges


class MobileNetworkMap:
    """Prefixes by the home address of their mobile router; where that is says its binding, in the slot that is named.

    There is one writer. What is installed stays when the process ends, and ``open`` finds it again.
    """

    def __init__(self, entries: Map, changes: NetworkChanges | None = None) -> None:
        """See what is there, and tell of new prefixes; closing is the owner's duty."""
        if (entries.info.type, entries.key_size, entries.value_size) != (
            MapType.LPM_TRIE,
            MOBILE_NETWORK.size,
            MOBILE_ROUTER.size,
        ):
            raise StalePin(
                "The pinned mobile networks have another layout: run `homeagent datapath unload`, then load again."
            )
        self._map, self._changes = entries, changes
        self._router_of: dict[IPv6Network, IPv6Address] = {}
        self._networks_of: dict[IPv6Address, set[IPv6Network]] = {}
        self._slots: dict[IPv6Network, int] = {}
        for key in list(entries.keys()):
            value = entries.lookup(key)
            if value is not None:
                home_address, slot = MOBILE_ROUTER.unpack(value)
                self._note(_network(key), IPv6Address(home_address), slot)

    @classmethod
    def open(cls, pin_path: Path) -> MobileNetworkMap:
        """Opens the pinned map.

        Raises:
            NotLoaded: nothing is pinned there, or the loaded program was compiled without mobile networks.
            StalePin: it is of another layout.
        """
        directory = pin_directory(pin_path)
        entries = Map.open(directory / "mobile_networks")
        try:
            with opened(directory / PROGRAM_NAME) as descriptor:
                if entries.info.id not in program_map_identifiers(descriptor):
                    raise NotLoaded("The loaded program knows no mobile networks: run `homeagent datapath load` again.")
            return cls(entries, NetworkChanges.open(directory))
        except DatapathError:
            entries.close()
            raise

    def close(self) -> None:
        """Closes the map. The prefixes stay in force."""
        self._map.close()
        if self._changes is not None:
            self._changes.close()

    def __len__(self) -> int:
        return len(self._router_of)

    @property
    def capacity(self) -> int:
        """Prefixes there is room for."""
        return self._map.info.max_entries

    def networks(self, home_address: IPv6Address) -> frozenset[IPv6Network]:
        """The prefixes behind the mobile router with this home address."""
        return frozenset(self._networks_of.get(home_address, ()))

    def entries(self) -> dict[IPv6Network, IPv6Address]:
        """All prefixes with the home addresses of their mobile routers."""
        return dict(self._router_of)

    def replace(self, home_address: IPv6Address, networks: Collection[IPv6Network], slot: int) -> None:
        """Makes these, and no others, the prefixes behind a mobile router, in force at once.

        Args:
            home_address: the mobile router's.
            networks: the prefixes.
            slot: of its binding (:meth:`datapath.bindings.BindingMap.slot`); without one there, they lead nowhere.

        Raises:
            MapFull: there is no room; then nothing has changed.
        """
        wanted = set(networks)
        present = self._networks_of.get(home_address, set())
        changed = [each for each in wanted if each not in present or self._slots[each] != slot]
        done: list[IPv6Network] = []
        try:
            for network in changed:
                self._map.update(_key(network), MOBILE_ROUTER.pack(home_address.packed, slot))
                done.append(network)
        except DatapathError:
            for network in done:
                self._restore(network)
            raise
        finally:
            if done and self._changes is not None:
                self._changes.tell()
        for network in done:
            self._note(network, home_address, slot)
        self._delete(present - wanted)

    def remove(self, home_address: IPv6Address) -> None:
        """Removes all prefixes of a mobile router."""
        self._delete(self._networks_of.get(home_address, set()))

    def reconcile(self, expected: Mapping[IPv6Address, tuple[Collection[IPv6Network], int]]) -> None:
        """Makes the map hold exactly ``expected``, touching only what differs.

        Args:
            expected: prefixes and slot of each mobile router.

        Raises:
            MapFull: there is no room.
        """
        for home_address in self._networks_of.keys() - expected.keys():
            self.remove(home_address)
        for home_address, (networks, slot) in expected.items():
            self.replace(home_address, networks, slot)

    def _restore(self, network: IPv6Network) -> None:
        router = self._router_of.get(network)
        if router is None:
            self._map.delete(_key(network))
        else:
            self._map.update(_key(network), MOBILE_ROUTER.pack(router.packed, self._slots[network]))

    def _note(self, network: IPv6Network, router: IPv6Address, slot: int) -> None:
        self._forget(network)
        self._router_of[network] = router
        self._slots[network] = slot
        self._networks_of.setdefault(router, set()).add(network)

    def _forget(self, network: IPv6Network) -> None:
        router = self._router_of.pop(network, None)
        if router is None:
            return
        del self._slots[network]
        self._networks_of[router].discard(network)
        if not self._networks_of[router]:
            del self._networks_of[router]

    def _delete(self, networks: Iterable[IPv6Network]) -> None:
        for network in list(networks):
            self._map.delete(_key(network))
            self._forget(network)


def _key(network: IPv6Network) -> bytes:
    return MOBILE_NETWORK.pack(network.prefixlen, network.network_address.packed)


def _network(key: bytes) -> IPv6Network:
    length, address = MOBILE_NETWORK.unpack(key)
    return IPv6Network((address, length))
