"""What the data path is told of bindings: the tunnel of each, and the networks behind mobile routers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from control.mobility.binding_cache import Binding
from datapath.announced_routes import KEEPING_S, AnnouncedRoutes
from datapath.bindings import BindingMap, Reconciliation, Tunnel
from datapath.errors import DatapathError
from datapath.mobile_networks import MobileNetworkMap

_LOG = logging.getLogger(__name__)


class Tunnels:
    """Bindings in the data path, with their networks where it was loaded with mobile networks.

    Attributes:
        bindings: the map of bindings alone, for whoever only looks.
    """

    def __init__(
        self, bindings: BindingMap, networks: MobileNetworkMap | None, routes: AnnouncedRoutes | None = None
    ) -> None:
        self.bindings = bindings
        self._networks = networks
        self._routes = routes

    @classmethod
    def open(
        cls, pin_path: Path, *, mobile_routers: bool, announce_in: int | None = None, route_lifetime_s: int = 0
    ) -> Tunnels:
        """Opens the pinned maps.

        Args:
            pin_path: where they are.
            mobile_routers: whether the networks behind mobile routers are to be tunnelled too.
            announce_in: the routing table for routes to home addresses and networks; None for no such routes.
            route_lifetime_s: how long these last without :meth:`keep_routes`, 0 for ever.

        Raises:
            NotLoaded: nothing is pinned there, or it was loaded without what is wanted.
            StalePin: it has another layout.
            RouteRefused: the kernel refuses what routes need.
        """
        bindings = BindingMap.open(pin_path)
        try:
            networks = MobileNetworkMap.open(pin_path) if mobile_routers else None
            routes = None if announce_in is None else AnnouncedRoutes(announce_in, route_lifetime_s)
            return cls(bindings, networks, routes)
        except DatapathError:
            bindings.close()
            raise

    def close(self) -> None:
        """Closes the maps. What is in them stays in force."""
        self.bindings.close()
        if self._networks is not None:
            self._networks.close()
        if self._routes is not None:
            self._routes.close()

    def follow(self, pin_path: Path) -> bool:
        """Goes over to the maps that an upgrade has put in the place of these; whether there are any.

        Raises:
            NotLoaded: nothing is pinned any more, or it was loaded without what is wanted.
            StalePin: they are of another layout.
        """
        if not self.bindings.follow():
            return False
        if self._networks is not None:
            self._networks.close()
            self._networks = MobileNetworkMap.open(pin_path)
        return True

    def fill(self) -> dict[str, tuple[int, int]]:
        """How many entries each map has, and has room for."""
        maps: dict[str, BindingMap | MobileNetworkMap] = {"bindings": self.bindings}
        if self._networks is not None:
            maps["mobile_networks"] = self._networks
        return {name: (len(entries), entries.capacity) for name, entries in maps.items()}

    def install(self, binding: Binding) -> None:
        """Has packets go by this binding from now on.

        Raises:
            DatapathError: it cannot be had; then all is as it was.
        """
        home_address = binding.home_address
        before = self._networks.networks(home_address) if self._networks is not None else frozenset()
        # First, for there may be no room; it is the binding that brings them to life, where they look for it.
        self._set_networks(home_address, binding.mobile_networks)
        try:
            self.bindings.install(home_address, binding.care_of_address, binding.home_agent)
            self._set_networks(home_address, binding.mobile_networks)
            self._announce(binding, before)
        except DatapathError:
            self._set_networks(home_address, before)
            raise

    def remove(self, home_address: IPv6Address) -> None:
        """Has no packets go by the binding of a home address any more, if there is one.

        Raises:
            DatapathError: the kernel refuses.
        """
        if self._routes is not None:
            networks = self._networks.networks(home_address) if self._networks is not None else ()
            self._routes.remove([IPv6Network(home_address), *networks])
        self.bindings.remove(home_address)
        if self._networks is not None:
            self._networks.remove(home_address)

    def reconcile(self, expected: Iterable[Binding]) -> Reconciliation:
        """Makes the maps agree with these bindings, touching only what differs.

        Tunnels over IPv4 are none of the daemon's making, so it leaves them to whoever made them.

        Returns:
            The home addresses whose tunnel was touched, or left alone.

        Raises:
            DatapathError: there is no room, or the kernel refuses.
        """
        expected = list(expected)
        if self._routes is not None:
            self._routes.reconcile(network for binding in expected for network in _reached_by(binding))
        changes = self.bindings.reconcile(
            {binding.home_address: Tunnel(binding.care_of_address, binding.home_agent) for binding in expected},
            leave_ipv4=True,
        )
        if self._networks is not None:
            routers = {each.home_address: each.mobile_networks for each in expected if each.mobile_networks}
            self._networks.reconcile({home: (networks, self._slot(home)) for home, networks in routers.items()})
        return changes

    async def keep_routes(self, expire: Callable[[], bool | None]) -> None:
        """Keeps the routes from expiring, until cancelled. For that the state store is not asked.

        Args:
            expire: whether they are to vanish when this process is gone; None to leave that as it is.
        """
        complaint = ""
        while self._routes is not None:
            try:
                self._routes.keep(expire=expire())
                complaint = ""
            except DatapathError as error:
                if str(error) != complaint:
                    _LOG.error("routes to be announced: %s", error)
                complaint = str(error)
            await asyncio.sleep(KEEPING_S)

    def packets(self, home_address: IPv6Address) -> int:
        """How many packets have been tunnelled from and to a home address, and the networks behind it."""
        usage = self.bindings.usage(home_address)
        return usage.encapsulated_packets + usage.decapsulated_packets

    def _set_networks(self, home_address: IPv6Address, networks: Iterable[IPv6Network]) -> None:
        networks = tuple(networks)
        if self._networks is not None and (networks or self._networks.networks(home_address)):
            self._networks.replace(home_address, networks, self._slot(home_address))

    def _slot(self, home_address: IPv6Address) -> int:
        """The slot of a binding; without a binding one that is as good as any, for it will not be there."""
        return max(0, self.bindings.slot(home_address))

    def _announce(self, binding: Binding, networks_before: Iterable[IPv6Network]) -> None:
        if self._routes is not None:
            self._routes.add(_reached_by(binding))
            self._routes.remove(set(networks_before) - set(binding.mobile_networks))


def _reached_by(binding: Binding) -> tuple[IPv6Network, ...]:
    """What packets are tunnelled to by a binding."""
    return (IPv6Network(binding.home_address), *binding.mobile_networks)
