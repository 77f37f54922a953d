"""The IKE SAs of a home agent by node, their child SAs at work in IPsec, and the static associations beside them."""

from __future__ import annotations

from collections.abc import Iterator

from control.home_agent.directory import NodeDirectory
from control.home_agent.key_exchange import NodeIkeSa
from control.home_agent.signalling import ProtectedSignalling
from control.ikev2.child import ChildSa
from control.ipsec.errors import IpsecBackendError


class IkeSessions:
    """Who is behind an IKE SA, and behind an inbound SPI."""

    def __init__(self, directory: NodeDirectory, signalling: ProtectedSignalling) -> None:
        self._directory = directory
        self._signalling = signalling
        self._by_identity: dict[str, NodeIkeSa] = {}
        self._superseded: dict[str, NodeIkeSa] = {}
        self._identity_of_spi: dict[int, str] = {}

    def __iter__(self) -> Iterator[NodeIkeSa]:
        yield from self._by_identity.values()
        yield from self._superseded.values()

    def __len__(self) -> int:
        return len(self._by_identity) + len(self._superseded)

    def current(self, identity: str) -> NodeIkeSa | None:
        """The newest IKE SA with a node."""
        return self._by_identity.get(identity)

    def behind(self, inbound_spi: int) -> tuple[str | None, NodeIkeSa | None]:
        """Who is behind a security association.

        Returns:
            The node that authenticated itself for it, None if it is none of ours, and the IKE SA under which it was
            negotiated, None if it was keyed by hand.
        """
        identity = self._identity_of_spi.get(inbound_spi)
        if identity is None:
            return None, None
        if self._superseded:
            older = self._superseded.get(identity)
            if older is not None and inbound_spi in older.children:
                return identity, older
        return identity, self._by_identity.get(identity)

    def of(self, identity: str) -> tuple[NodeIkeSa, ...]:
        """All IKE SAs with a node: the newest, and one it replaces that is still of use."""
        newest = self._by_identity.get(identity)
        older = self._superseded.get(identity) if self._superseded else None
        if newest is None:
            return () if older is None else (older,)
        return (newest,) if older is None else (newest, older)

    def established(self, sa: NodeIkeSa) -> tuple[str, NodeIkeSa | None]:
        """Remember a new IKE SA; one it replaces stays usable until :meth:`take_superseded`.

        Returns:
            The node, and an IKE SA that is one too many: the caller deletes it. The node has made another one before it
            made use of that, so that the one from before is still the one in use.
        """
        identity = str(sa.remote_identity)
        older = self._by_identity.get(identity, sa)
        self._by_identity[identity] = sa
        if older is sa:
            return identity, None
        if identity in self._superseded:
            return identity, older
        self._superseded[identity] = older
        return identity, None

    def take_superseded(self, identity: str, by: NodeIkeSa) -> NodeIkeSa | None:
        """The IKE SA that a newer one with the same node replaced, once; the caller deletes it.

        Args:
            identity: the node.
            by: the IKE SA that is in use from now on. If that is the older one after all, both stay.
        """
        if not self._superseded or self._superseded.get(identity) is by:
            return None
        return self._superseded.pop(identity, None)

    def rekeyed(self, sa: NodeIkeSa, successor: NodeIkeSa) -> None:
        """Another IKE SA has taken the place of ``sa``, with its children."""
        identity = str(sa.remote_identity)
        for sas in (self._by_identity, self._superseded):
            if sas.get(identity) is sa:
                sas[identity] = successor

    def child_established(self, sa: NodeIkeSa, child: ChildSa, now: float, *, outbound_waits: bool = False) -> str:
        """Put a child SA to work.

        Args:
            sa: the IKE SA.
            child: its new child.
            now: monotonic seconds.
            outbound_waits: go on sending under the child that this one replaces; the peer may not know this one yet.

        Returns:
            The node.

        Raises:
            IpsecBackendError: see :meth:`ProtectedSignalling.install`; ``no-home-address``: the node has lost the one
                that the child is for since it was agreed.
        """
        identity = str(sa.remote_identity)
        home_address = self._directory.home_address(identity)
        if home_address is None:
            raise IpsecBackendError("no-home-address", identity)
        self._signalling.install(child, home_address, now, outbound_waits=outbound_waits)
        self._identity_of_spi[child.inbound_spi] = identity
        return identity

    def install_static(self, now: float) -> None:
        """Put the associations of all nodes that were keyed by hand to work; they stay.

        Args:
            now: monotonic seconds.

        Raises:
            IpsecBackendError: see :meth:`ProtectedSignalling.install_static`.
        """
        for node in self._directory:
            home_address = self._directory.home_address(node.identity)
            if home_address is None:
                continue
            for pair in node.static:
                self._signalling.install_static(pair, home_address, now)
                self._identity_of_spi[pair.inbound.spi] = node.identity

    def child_closed(self, child: ChildSa) -> None:
        """Take a child SA out of use."""
        self._signalling.remove(child)
        self._identity_of_spi.pop(child.inbound_spi, None)

    def replace_used_up(self, now: float) -> list[str]:
        """Rekey child SAs that have carried nearly as much as they may, and close those that have carried all of it.

        Returns a slug for each: ``child-soft-limit`` or ``child-hard-limit``.
        """
        slugs: list[str] = []
        for expiry in self._signalling.usage_expiries():
            identity = self._identity_of_spi.get(expiry.inbound_spi)
            for sa in () if identity is None else self.of(identity):
                child = sa.children.get(expiry.inbound_spi)
                if child is not None and expiry.hard:
                    slugs.append("child-hard-limit")
                    sa.delete_child(child, now)
                elif child is not None:
                    slugs.append("child-soft-limit")
                    sa.replace_child(child, now)
        return slugs

    def rerouted(self, sa: NodeIkeSa) -> None:
        """The peer of an IKE SA is somewhere else, and so are its child SAs."""
        for child in sa.children.values():
            self._signalling.reroute(child)

    def closed(self, sa: NodeIkeSa) -> None:
        """Forget an IKE SA with all its child SAs."""
        for child in list(sa.children.values()):
            self.child_closed(child)
        identity = str(sa.remote_identity)
        if self._superseded.get(identity) is sa:
            del self._superseded[identity]
        if self._by_identity.get(identity) is sa:
            older = self._superseded.pop(identity, None)
            if older is None:
                del self._by_identity[identity]
            else:
                self._by_identity[identity] = older
