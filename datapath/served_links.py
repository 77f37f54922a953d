"""Home links with hosts on them, where the programs answer for home addresses (``bpf/neighbour_discovery.h``)."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path

from datapath import netlink
from datapath.bpf_syscall import Map
from datapath.errors import DatapathError, InterfaceMissing
from datapath.jiffies import JiffiesClock
from datapath.layout import HOME_LINK, INDEX, LINK_IDENTITY, LINK_LOCAL_ADDRESS, pin_directory

_ADDRESSES = Path("/proc/thread-self/net/if_inet6")
_UNUSABLE = 0x08 | 0x40
"""Flags of an address: duplicate, tentative."""
_RAISED_HERE = b"\1\0"
_FOR_ROUTER, _IF_BOUND = 1, 2


@dataclass(frozen=True, slots=True)
class ServedLink:
    """An interface with a home link behind it.

    Attributes:
        name: of the interface.
        index: of the interface.
        link_address: its Ethernet address.
        address: source of what the home agent advertises there: link-local, or whatever the interface has, or None.
        prefixes: on-link prefixes, by the interface's addresses; home addresses in them are defended there.
    """

    name: str
    index: int
    link_address: bytes
    address: IPv6Address | None
    prefixes: frozenset[IPv6Network]

    @property
    def key(self) -> bytes:
        """Of the map ``home_links``."""
        return HOME_LINK.pack(self.index, 0)


def read_link(name: str) -> ServedLink:
    """An interface of this thread's network namespace; raises InterfaceMissing."""
    state = netlink.interface_state(name)
    addresses = _addresses(state.name)
    usable = [address.ip for address in addresses]
    link_local = [address for address in usable if address.is_link_local]
    return ServedLink(
        name=state.name,
        index=state.index,
        link_address=state.link_address,
        address=next(iter([*link_local, *usable]), None),
        prefixes=frozenset(address.network for address in addresses if not address.is_link_local),
    )


def _addresses(name: str) -> list[IPv6Interface]:
    found = []
    for line in _ADDRESSES.read_text(encoding="ascii").splitlines():
        digits, _, prefix_length, _, flags, device = line.split()
        if device == name and not int(flags, 16) & _UNUSABLE:
            found.append(IPv6Interface((int(digits, 16), int(prefix_length, 16))))
    return found


def serve_links(directory: Path, names: Sequence[str], fallback: IPv6Address) -> None:
    """Enters exactly these interfaces as home links; those that are new, for as long as the data path is loaded.

    They receive all multicast frames from here on: each home address has a solicited-node group of its own, and a
    network card has room for few.

    Args:
        directory: where the maps are pinned.
        names: the interfaces.
        fallback: source of advertisements on an interface without an address.

    Raises:
        InterfaceMissing: one is not there.
    """
    links = [read_link(name) for name in names]
    with Map.open(directory / "home_links") as entries:
        keys = {link.key for link in links}
        for key in set(entries.keys()) - keys:
            _let_go(entries, key)
        for link in links:
            before = entries.lookup(link.key) or bytes(LINK_IDENTITY.size)
            _, valid_until, _, mark = LINK_IDENTITY.unpack(before)
            if not netlink.interface_state(link.index).all_multicast:
                netlink.set_all_multicast(link.index, on=True)
                mark = _RAISED_HERE
            source = link.address or fallback
            entries.update(link.key, LINK_IDENTITY.pack(source.packed, valid_until, link.link_address, mark))


def let_go_of_links(directory: Path) -> None:
    """Leaves the interfaces as they were found."""
    with contextlib.suppress(DatapathError), Map.open(directory / "home_links") as entries:
        for key in list(entries.keys()):
            _let_go(entries, key)


def _let_go(entries: Map, key: bytes) -> None:
    index, _ = HOME_LINK.unpack(key)
    value = entries.lookup(key)
    entries.delete(key)
    if value is not None and value[-2:] == _RAISED_HERE:
        with contextlib.suppress(InterfaceMissing, netlink.NetlinkRefused):
            netlink.set_all_multicast(index, on=False)


class HomeLinkMaps:
    """As whom, for how long and for which addresses beside those bound the programs answer. One writer: the daemon."""

    def __init__(self, links: Map, link_local_addresses: Map, clock: JiffiesClock) -> None:
        """Closing is the owner's duty."""
        self._links = links
        self._link_local_addresses = link_local_addresses
        self._clock = clock

    @classmethod
    def open(cls, pin_path: Path) -> HomeLinkMaps:
        """Opens the pinned maps; raises NotLoaded."""
        directory = pin_directory(pin_path)
        with ExitStack() as stack:
            opened = [
                stack.enter_context(Map.open(directory / name)) for name in ("home_links", "link_local_addresses")
            ]
            maps = cls(opened[0], opened[1], JiffiesClock())
            stack.pop_all()
            return maps

    def __enter__(self) -> HomeLinkMaps:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the maps; what is in them stays in force."""
        self._links.close()
        self._link_local_addresses.close()

    def answer(self, link: ServedLink, source: IPv6Address, until: float | None) -> None:
        """Has the programs answer on a link that they were loaded for; on another nothing happens.

        Args:
            link: with the address to tell.
            source: of the advertisements.
            until: monotonic seconds; None: for as long as the data path is loaded.
        """
        before = self._links.lookup(link.key)
        if before is None:
            return
        limit = 0 if until is None else self._clock.at(until)
        value = LINK_IDENTITY.pack(source.packed, limit, link.link_address, before[-2:])
        if value != before:
            self._links.update(link.key, value)

    def special_addresses(self) -> set[tuple[IPv6Address, int]]:
        """What is defended beside home addresses, or for mobile routers, with the interface index of its link."""
        unpacked = (LINK_LOCAL_ADDRESS.unpack(key) for key in self._link_local_addresses.keys())  # noqa: SIM118
        return {(IPv6Address(packed), index) for packed, index, _ in unpacked}

    def defend(self, link: ServedLink, address: IPv6Address, *, router: bool = False) -> None:
        """Has the programs answer for a link-local address, or for a home address, while it is bound, as for a router.

        Raises:
            MapFull: there is no room.
        """
        how = (_FOR_ROUTER if router else 0) | (0 if address.is_link_local else _IF_BOUND)
        self._link_local_addresses.update(_link_local_key(address, link.index), INDEX.pack(how))

    def abandon(self, addresses: Collection[tuple[IPv6Address, int]]) -> None:
        """Has them answer for these no more; each with the interface index of its link."""
        for address, index in addresses:
            self._link_local_addresses.delete(_link_local_key(address, index))


def _link_local_key(address: IPv6Address, index: int) -> bytes:
    return LINK_LOCAL_ADDRESS.pack(address.packed, index, 0)
