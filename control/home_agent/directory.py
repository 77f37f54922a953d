"""The mobile nodes this home agent is authorised to serve, and the home address each of them has now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from control.bootstrap.home_address_pool import HomeAddressPool


@dataclass(frozen=True, slots=True)
class AuthorisedNode:
    """A node the operator has authorised.

    Attributes:
        identity: its IKE identity as text (FQDN, RFC 822 name or IPv6 address).
        home_address: the home address it was subscribed with.
        shared_key: the IKE shared key, None if it authenticates by certificate.
    """

    identity: str
    home_address: IPv6Address
    shared_key: bytes | None = field(default=None, repr=False)


class NodeDirectory:
    """Looks nodes up by identity and keeps the addresses that were assigned in place of subscribed ones."""

    def __init__(
        self,
        nodes: Iterable[AuthorisedNode],
        home_prefixes: Iterable[IPv6Network],
        reserved: Iterable[IPv6Address] = (),
    ) -> None:
        """Nobody has been assigned an address yet.

        Args:
            nodes: who is authorised.
            home_prefixes: where home addresses are; new ones come from the first.
            reserved: addresses that are never assigned, the home agent's own for example.
        """
        self._nodes = {node.identity: node for node in nodes}
        self._prefixes = tuple(home_prefixes)
        # Asked for at every step of every node's exchanges, so whether an address is at home is worked out once.
        self._home_addresses = {
            identity: node.home_address for identity, node in self._nodes.items() if self.is_home(node.home_address)
        }
        self._pool = HomeAddressPool(
            self._prefixes[0],
            reserved=[*reserved, *(node.home_address for node in self._nodes.values())],
        )

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[AuthorisedNode]:
        return iter(self._nodes.values())

    def find(self, identity: str) -> AuthorisedNode | None:
        """The node of that identity, None if nobody authorised it."""
        return self._nodes.get(identity)

    def is_home(self, address: IPv6Address) -> bool:
        """Whether an address lies in one of this agent's home prefixes."""
        return any(address in prefix for prefix in self._prefixes)

    def home_address(self, identity: str) -> IPv6Address | None:
        """The home address the node has here, None if it has none yet or is not authorised."""
        return self._home_addresses.get(identity)

    def prefix_length(self, address: IPv6Address) -> int:
        """The length of the home prefix an address lies in."""
        return next(prefix.prefixlen for prefix in self._prefixes if address in prefix)

    def assign(self, identity: str, current: IPv6Address | None) -> IPv6Address:
        """The home address a node shall have here: the one it has if it fits, else one from the pool.

        Args:
            identity: an authorised identity.
            current: the home address it has with the agent it comes from.

        Raises:
            PoolExhausted: no address is left in the first home prefix.
        """
        known = self.home_address(identity)
        if known is not None:
            return known
        if current is not None and self.is_home(current):
            address = current
            self._pool.reserve(current, identity)
        else:
            address = self._pool.allocate(identity)
        self._home_addresses[identity] = address
        return address

    def restore(self, identity: str, home_address: IPv6Address) -> None:
        """Take over an assignment found in the state store."""
        node = self._nodes.get(identity)
        if node is None or node.home_address == home_address or not self.is_home(home_address):
            return
        self._home_addresses[identity] = home_address
        self._pool.reserve(home_address, identity)
