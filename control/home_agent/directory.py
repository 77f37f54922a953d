"""The mobile nodes this home agent is authorised to serve, and the home address each of them has now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from control.bootstrap.home_address_pool import HomeAddressPool, PoolExhausted
from control.eap.account import EapAccount
from control.eap.packet import EapType
from control.ikev2.payloads.identification import Identity
from control.ipsec.static import StaticPair


@dataclass(frozen=True, slots=True)
class AuthorisedNode:
    """A node the operator has authorised.

    Attributes:
        identity: its IKE identity as text (FQDN, RFC 822 name or IPv6 address).
        home_address: the home address it was subscribed with, None if it gets one from a pool.
        shared_key: the IKE shared key, None if it authenticates otherwise; of a node with EAP for IKE that a home agent
            begins.
        eap: how it authenticates by EAP, None if it does not.
        static: its security associations, keyed by hand; a node that has them does not use IKE.
        mobile_networks: the prefixes that may be behind it, if it is a mobile router.
    """

    identity: str
    home_address: IPv6Address | None
    shared_key: bytes | None = field(default=None, repr=False)
    eap: EapAccount | None = None
    static: tuple[StaticPair, ...] = ()
    mobile_networks: tuple[IPv6Network, ...] = ()

    @property
    def can_be_called(self) -> bool:
        """Whether a home agent may begin IKE with it.

        By EAP only the side that has begun can prove itself; the certificate of a node with EAP-TLS will do in IKE too.
        """
        if self.eap is None or self.shared_key is not None:
            return True
        return self.eap.method is EapType.TLS and self.eap.identity == self.identity


@dataclass(frozen=True, slots=True)
class DirectoryChange:
    """How a list of nodes differs from the one in force, by identity.

    Attributes:
        added: new ones.
        removed: those that are not in the list any more.
        changed: those with another way to authenticate, another home address or other networks.
        deferred: those with static security associations, or that had some, which are as they were until a restart.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    deferred: tuple[str, ...] = ()


class AddressTaken(Exception):
    """A node was given a home address that another node has been assigned.

    Attributes:
        identity: whom it was given to.
        home_address: the address.
        owner: who has it.
    """

    def __init__(self, identity: str, home_address: IPv6Address, owner: str) -> None:
        super().__init__(f"{home_address} of {identity} was assigned to {owner}")
        self.identity = identity
        self.home_address = home_address
        self.owner = owner


class NodeDirectory:
    """Looks nodes up by identity and keeps the addresses that were assigned in place of subscribed ones.

    Attributes:
        observe: told every address that is assigned to a node, and None when it is released.
    """

    def __init__(
        self,
        nodes: Iterable[AuthorisedNode],
        home_prefixes: Iterable[IPv6Network],
        reserved: Iterable[IPv6Address] = (),
        *,
        pools: Iterable[IPv6Network] = (),
        autoconfiguration: bool = False,
    ) -> None:
        """Nobody has been assigned an address yet.

        Args:
            nodes: who is authorised.
            home_prefixes: where home addresses are.
            reserved: addresses that are never assigned, the home agent's own for example.
            pools: home prefixes, or a part of each, that addresses are assigned from; the first home prefix if there
                are none.
            autoconfiguration: whether nodes without a subscribed home address may choose any free address of the home
                prefixes themselves (RFC 5026 section 5.3.2).
        """
        self._nodes = {node.identity: node for node in nodes}
        self._ike_identities = _ike_identities(self._nodes)
        self._keyed_by_hand = frozenset(identity for identity, node in self._nodes.items() if node.static)
        self._prefixes = tuple(home_prefixes)
        self.autoconfiguration = autoconfiguration
        # Asked for at every step of every node's exchanges, so whether an address is at home is worked out once.
        self._home_addresses = self._subscriptions()
        self.observe: Callable[[str, IPv6Address | None], None] = _ignore
        self._subscribed = frozenset(self._home_addresses)
        self._never_assigned = tuple(reserved)
        reserved = self._reserved()
        parts: dict[IPv6Network, IPv6Network | None] = {self._prefix_of(part.network_address): part for part in pools}
        parts = parts or {self._prefixes[0]: None}
        self._assigning = tuple(HomeAddressPool(prefix, reserved, part) for prefix, part in parts.items())
        others = (HomeAddressPool(prefix, reserved) for prefix in self._prefixes if prefix not in parts)
        self._pools = (*self._assigning, *others)

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[AuthorisedNode]:
        return iter(self._nodes.values())

    def _subscriptions(self) -> dict[str, IPv6Address]:
        return {
            identity: node.home_address
            for identity, node in self._nodes.items()
            if node.home_address is not None and self.is_home(node.home_address)
        }

    def _reserved(self) -> tuple[IPv6Address, ...]:
        subscribed = (node.home_address for node in self._nodes.values() if node.home_address is not None)
        return (*self._never_assigned, *subscribed)

    def compare(self, nodes: Iterable[AuthorisedNode]) -> DirectoryChange:
        """What :meth:`replace` would change."""
        listed = {node.identity: node for node in nodes}
        deferred = {
            identity
            for identity in listed.keys() | self._nodes.keys()
            if listed.get(identity) != self._nodes.get(identity)
            and (_is_static(listed.get(identity)) or _is_static(self._nodes.get(identity)))
        }
        return DirectoryChange(
            tuple(identity for identity in listed if identity not in self._nodes and identity not in deferred),
            tuple(identity for identity in self._nodes if identity not in listed and identity not in deferred),
            tuple(
                identity
                for identity, node in listed.items()
                if identity not in deferred and self._nodes.get(identity, node) != node
            ),
            tuple(sorted(deferred)),
        )

    def require_free_addresses(self, nodes: Iterable[AuthorisedNode], change: DirectoryChange) -> None:
        """See whether each node can have the home address that it is given.

        Raises:
            AddressTaken: one was assigned to another node, which is to keep it.
        """
        listed = {node.identity: node for node in nodes}
        owners = {address: identity for identity, address in self._home_addresses.items()}
        for identity in (*change.added, *change.changed):
            wanted = listed[identity].home_address
            owner = None if wanted is None else owners.get(wanted)
            # Whoever is not listed, or is given another address, leaves this one.
            if wanted is None or owner is None or owner == identity or owner not in listed:
                continue
            if listed[owner].home_address in (None, wanted):
                raise AddressTaken(identity, wanted, owner)

    def replace(self, nodes: Iterable[AuthorisedNode], change: DirectoryChange) -> None:
        """Authorise these nodes and no others, but for those that ``change`` defers.

        Nodes without a subscribed home address keep the one they were assigned.
        """
        deferred = {identity: self._nodes[identity] for identity in change.deferred if identity in self._nodes}
        listed = {node.identity: node for node in nodes if node.identity not in change.deferred}
        before, self._nodes = self._nodes, listed | deferred
        self._ike_identities = _ike_identities(self._nodes)
        self._keyed_by_hand = frozenset(identity for identity, node in self._nodes.items() if node.static)
        for identity in (*change.removed, *change.changed):
            node = self._nodes.get(identity)
            if node is None or node.home_address != before[identity].home_address:
                self._home_addresses.pop(identity, None)
                for pool in self._pools:
                    pool.release(identity)
        subscribed = self._subscriptions()
        self._home_addresses = {**subscribed, **self._home_addresses}
        self._subscribed = frozenset(subscribed)
        for pool in self._pools:
            pool.reserve_only(self._reserved())

    @property
    def first_prefix(self) -> IPv6Network:
        """The home prefix for nodes that make themselves a home address."""
        return self._prefixes[0]

    def ike_identity(self, identity: str) -> Identity:
        """What a node is called in IKE.

        Raises:
            ValueError: the text is no identity.
        """
        return self._ike_identities.get(identity) or Identity.from_text(identity)

    def find(self, identity: str) -> AuthorisedNode | None:
        """The node of that identity, None if nobody authorised it."""
        return self._nodes.get(identity)

    def keyed_by_hand(self, identity: str) -> bool:
        """Whether the node has static security associations instead of IKE."""
        return identity in self._keyed_by_hand

    def mobile_networks(self, identity: str) -> tuple[IPv6Network, ...]:
        """The prefixes that may be behind a node, none if it is no mobile router or not authorised."""
        node = self._nodes.get(identity)
        return () if node is None else node.mobile_networks

    def is_home(self, address: IPv6Address) -> bool:
        """Whether an address lies in one of this agent's home prefixes."""
        return any(address in prefix for prefix in self._prefixes)

    def home_address(self, identity: str) -> IPv6Address | None:
        """The home address the node has here, None if it has none yet or is not authorised."""
        return self._home_addresses.get(identity)

    def may_use(self, identity: str, home_address: IPv6Address) -> bool:
        """Whether an address is the home address that the node has here."""
        own = self._home_addresses.get(identity)
        return own is home_address or own == home_address

    def prefix_length(self, address: IPv6Address) -> int:
        """The length of the home prefix an address lies in."""
        return self._prefix_of(address).prefixlen

    def assign(self, identity: str, current: IPv6Address | None, wish: IPv6Address | None = None) -> IPv6Address:
        """The home address a node shall have here: the one it has if it fits, else one from the pools.

        Args:
            identity: an authorised identity.
            current: the home address it has with the agent it comes from; it keeps that unless it is somebody else's.
            wish: the home address it would like to have; it gets it if that is free and of a pool.

        Raises:
            PoolExhausted: no address is left.
        """
        known = self.home_address(identity)
        if known is not None:
            return known
        is_anothers = current is not None and any(pool.is_anothers(current, identity) for pool in self._pools)
        if current is not None and self.is_home(current) and not is_anothers:
            self._reserve(current, identity)
            address = current
        elif wish is not None and self.claim(identity, wish):
            return wish
        else:
            address = self._allocate(identity)
        self._set(identity, address)
        return address

    def claim(self, identity: str, address: IPv6Address) -> bool:
        """Let an authorised node without a home address have the one it chose, if that is free and allowed to it."""
        if identity in self._home_addresses or identity not in self._nodes:
            return False
        pools, anywhere = (self._pools, True) if self.autoconfiguration else (self._assigning, False)
        if not any(pool.take(address, identity, anywhere=anywhere) for pool in pools):
            return False
        self._set(identity, address)
        return True

    def adopt(self, identity: str, home_address: IPv6Address | None) -> None:
        """Have what another directory, which this one is a copy of, has assigned to a node or released."""
        if home_address is None:
            self._home_addresses.pop(identity, None)
        else:
            self._home_addresses[identity] = home_address

    def assignments(self) -> dict[str, IPv6Address]:
        """The home addresses that nodes have here, by identity."""
        return dict(self._home_addresses)

    def release(self, identity: str) -> None:
        """A node is gone: an address that was assigned to it becomes free; its subscribed one stays its own."""
        if identity in self._subscribed or self._home_addresses.pop(identity, None) is None:
            return
        for pool in self._pools:
            pool.release(identity)
        self.observe(identity, None)

    def restore(self, identity: str, home_address: IPv6Address) -> None:
        """Take over an assignment found in the state store."""
        # Static associations hold for the address the node was subscribed with, and for no other.
        node = self._nodes.get(identity)
        if node is None or node.static or node.home_address == home_address or not self.is_home(home_address):
            return
        self._set(identity, home_address)
        self._reserve(home_address, identity)

    def restore_assigned(self, identity: str, home_address: IPv6Address) -> None:
        """The same for a node that may have no binding at present: nobody loses an address over it."""
        if identity in self._home_addresses or identity not in self._nodes:
            return
        if any(pool.take(home_address, identity, anywhere=True) for pool in self._pools):
            self._set(identity, home_address)

    def _set(self, identity: str, home_address: IPv6Address) -> None:
        self._home_addresses[identity] = home_address
        self.observe(identity, home_address)

    def _allocate(self, identity: str) -> IPv6Address:
        exhausted: PoolExhausted | None = None
        for pool in self._assigning:
            try:
                return pool.allocate(identity)
            except PoolExhausted as error:
                exhausted = error
        raise exhausted or PoolExhausted(self._prefixes[0])

    def _reserve(self, address: IPv6Address, identity: str) -> None:
        for pool in self._pools:
            pool.reserve(address, identity)

    def _prefix_of(self, address: IPv6Address) -> IPv6Network:
        return next(prefix for prefix in self._prefixes if address in prefix)


def _is_static(node: AuthorisedNode | None) -> bool:
    return node is not None and bool(node.static)


def _ignore(identity: str, home_address: IPv6Address | None) -> None:
    pass


def _ike_identities(nodes: Iterable[str]) -> dict[str, Identity]:
    """The nodes' identities as IKE has them, worked out before they are wanted in a hurry, and how they are written."""
    identities = {node: Identity.from_text(node) for node in nodes}
    for identity in identities.values():
        str(identity)  # is remembered
    return identities
