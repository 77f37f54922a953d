"""The networks behind mobile routers (RFC 3963 section 6.2): which ones a router registers, and where they lead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, IPv6Network

from control.mobility.addresses import is_unicast_routable
from control.mobility.messages import BindingAcknowledgementStatus, BindingUpdate
from control.mobility.options import MobileNetworkPrefix

_ADDRESS_BITS = 128


class PrefixRefused(Exception):
    """A mobile router may not register what it asks for.

    Attributes:
        status: what the Binding Acknowledgement says.
    """

    def __init__(self, status: BindingAcknowledgementStatus) -> None:
        self.status = status
        super().__init__(status.name)


def registered_networks(update: BindingUpdate, authorised: Iterable[IPv6Network]) -> tuple[IPv6Network, ...]:
    """The prefixes to forward to a mobile router, in order and without those that another one covers.

    Args:
        update: its Binding Update; prefixes in it make the mode explicit, else it is implicit.
        authorised: the prefixes that the operator gave it: all it has in implicit mode, the most in explicit mode.

    Raises:
        PrefixRefused: with status 141, 142 or 143.
    """
    authorised = tuple(authorised)
    options = [option for option in update.options if isinstance(option, MobileNetworkPrefix)]
    if not options:
        if not authorised:
            raise PrefixRefused(BindingAcknowledgementStatus.FORWARDING_SETUP_FAILED)
        return _without_covered(authorised)
    networks = [_valid(option) for option in options]
    if not all(any(network.subnet_of(allowed) for allowed in authorised) for network in networks):
        raise PrefixRefused(BindingAcknowledgementStatus.NOT_AUTHORIZED_FOR_PREFIX)
    return _without_covered(networks)


def _valid(option: MobileNetworkPrefix) -> IPv6Network:
    network = option.network
    if network is None or not network.prefixlen or not is_unicast_routable(network.network_address):
        raise PrefixRefused(BindingAcknowledgementStatus.INVALID_PREFIX)
    return network


def _without_covered(networks: Iterable[IPv6Network]) -> tuple[IPv6Network, ...]:
    kept: list[IPv6Network] = []
    for network in sorted(set(networks)):  # a prefix comes right before those within it
        if not kept or not network.subnet_of(kept[-1]):
            kept.append(network)
    return tuple(kept)


class PrefixTable:
    """Home addresses of mobile routers by the prefixes behind them; the longest prefix counts."""

    def __init__(self) -> None:
        self._routers: dict[tuple[int, int], IPv6Address] = {}
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._routers)

    def add(self, home_address: IPv6Address, networks: Iterable[IPv6Network]) -> None:
        """Put a mobile router in front of networks."""
        for network in networks:
            key = (network.prefixlen, int(network.network_address))
            if key not in self._routers:
                self._lengths[network.prefixlen] = self._lengths.get(network.prefixlen, 0) + 1
            self._routers[key] = home_address

    def remove(self, home_address: IPv6Address, networks: Iterable[IPv6Network]) -> None:
        """Take those of the networks away that have this mobile router."""
        for network in networks:
            key = (network.prefixlen, int(network.network_address))
            if self._routers.get(key) != home_address:
                continue
            del self._routers[key]
            self._lengths[network.prefixlen] -= 1
            if not self._lengths[network.prefixlen]:
                del self._lengths[network.prefixlen]

    def router(self, address: IPv6Address) -> IPv6Address | None:
        """The home address of the mobile router that an address is behind, None if it is behind none."""
        value = int(address)
        for length in sorted(self._lengths, reverse=True):
            rest = _ADDRESS_BITS - length
            router = self._routers.get((length, value >> rest << rest))
            if router is not None:
                return router
        return None

    def leads_back(
        self,
        home_address: IPv6Address,
        care_of_address: IPv6Address,
        networks: Iterable[IPv6Network],
        care_of: Callable[[IPv6Address], IPv6Address | None],
    ) -> bool:
        """Whether a mobile node would be behind itself, at once or by way of others: nothing would ever reach it.

        Args:
            home_address: its home address.
            care_of_address: where it would be.
            networks: the prefixes it would have, none unless it is a mobile router.
            care_of: the care-of address of a home address, None if it has no binding.
        """
        networks = tuple(networks)
        passed = {home_address}
        at: IPv6Address | None = care_of_address
        while at is not None:
            if at == home_address or any(at in network for network in networks):
                return True
            router = at if care_of(at) is not None else self.router(at)
            if router is None or router in passed:
                return False  # its own networks of before do not count
            passed.add(router)
            at = care_of(router)
        return False
