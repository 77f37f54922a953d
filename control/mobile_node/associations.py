"""The home agents a mobile node shares security associations with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from control.ikev2.child import ChildSa
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.events import Event
from control.ikev2.sa import IkeSa
from control.ipsec.errors import IpsecBackendError
from control.ipsec.security_association import SecurityAssociation, security_association_pair
from control.ipsec.userspace import UserspaceIpsec
from control.signalling_children import MOBILITY_CHILD

InstalledCallback = Callable[[SecurityAssociation, SecurityAssociation], None]


@dataclass(slots=True, eq=False)
class Association:
    """A home agent that proved who it is, and what it shares with the node.

    Attributes:
        sa: the IKE SA.
        home_agent: its address.
        identity: its authenticated identity as text.
        home_address: the node's home address with it: the one it assigned, else the one the node had.
        initiated_here: whether the node began.
        known_at: where the home agent takes the node's end of the IKE SA to be.
        children: inbound SPIs of installed child SAs by their names.
        switched: whether a Home Agent Switch of this association was obeyed already.
    """

    sa: IkeSa
    home_agent: IPv6Address
    identity: str
    home_address: IPv6Address
    initiated_here: bool
    known_at: IPv6Address
    children: dict[int, str | None] = field(default_factory=dict)
    switched: bool = False

    @property
    def protects_mobility(self) -> bool:
        """Whether Mobility Header messages can be exchanged."""
        return MOBILITY_CHILD in self.children.values()


class Associations:
    """All associations of a node, oldest first, and their child SAs at work in IPsec."""

    def __init__(self, ipsec: UserspaceIpsec, limit: int, installed: InstalledCallback | None = None) -> None:
        """Start with none.

        Args:
            ipsec: the back end that holds the child SAs.
            limit: most associations kept.
            installed: told every pair put to work (inbound, outbound), for key files.
        """
        self._ipsec = ipsec
        self._limit = limit
        self._installed = installed
        self._by_sa: dict[IkeSa, Association] = {}
        self._by_spi: dict[int, Association] = {}

    def __len__(self) -> int:
        return len(self._by_sa)

    def of(self, sa: IkeSa) -> Association | None:
        """The association of an IKE SA."""
        return self._by_sa.get(sa)

    def of_spi(self, inbound_spi: int) -> Association | None:
        """The association a received ESP packet came under."""
        return self._by_spi.get(inbound_spi)

    def protecting(self, home_agent: IPv6Address, home_address: IPv6Address) -> Association | None:
        """The newest association that can carry Binding Updates between these addresses."""
        for association in reversed(self._by_sa.values()):
            addresses = (association.home_agent, association.home_address)
            if association.protects_mobility and addresses == (home_agent, home_address):
                return association
        return None

    def established(self, sa: IkeSa, home_address: IPv6Address, *, initiated_here: bool, now: float) -> Association:
        """A home agent was authenticated. Beyond the limit the oldest association is forgotten."""
        while len(self._by_sa) >= self._limit:
            self.forget(next(iter(self._by_sa.values())), now)
        association = Association(
            sa=sa,
            home_agent=sa.remote.ipv6_address,
            identity=str(sa.remote_identity),
            home_address=home_address,
            initiated_here=initiated_here,
            known_at=sa.local.ipv6_address,
        )
        self._by_sa[sa] = association
        return association

    def rekeyed(self, sa: IkeSa, successor: IkeSa) -> None:
        """Another IKE SA has taken the place of ``sa``, with its children; the association stays as old as it is."""
        renewed = {successor if one is sa else one: association for one, association in self._by_sa.items()}
        self._by_sa = renewed
        association = renewed.get(successor)
        if association is not None:
            association.sa = successor

    def install(
        self, association: Association, child: ChildSa, now: float, *, outbound_waits: bool = False
    ) -> str | None:
        """Put a child SA to work. Returns None, or the reason (slug) why it cannot be.

        With ``outbound_waits`` the child it replaces goes on being used until the peer has used this one.
        """
        try:
            inbound, outbound = security_association_pair(
                child, association.home_address, association.home_agent, created_at=now
            )
            self._ipsec.install(inbound, outbound, outbound_waits=outbound_waits)
        except IpsecBackendError as error:
            return error.reason
        association.children[child.inbound_spi] = child.name
        self._by_spi[child.inbound_spi] = association
        if self._installed is not None:
            self._installed(inbound, outbound)
        return None

    def events(self, endpoint: IkeEndpoint, now: float) -> Iterator[tuple[IkeSa, Event]]:
        """What has happened to IKE SAs, until nothing more does.

        Child SAs that have carried nearly as much as they may are rekeyed first, and those that have carried all of it
        are closed.
        """
        for expiry in self._ipsec.usage_expiries():
            association = self._by_spi.get(expiry.inbound_spi)
            child = None if association is None else association.sa.children.get(expiry.inbound_spi)
            if association is not None and child is not None and expiry.hard:
                association.sa.delete_child(child, now)
            elif association is not None and child is not None:
                association.sa.replace_child(child, now)
        while events := endpoint.events():
            yield from events

    def rerouted(self, sa: IkeSa) -> None:
        """The home agent of an IKE SA has another address on the way, and so have its child SAs."""
        for child in sa.children.values():
            if child.encapsulation is not None:
                self._ipsec.reroute(child.inbound_spi, child.encapsulation)

    def child_closed(self, child: ChildSa) -> None:
        """Take one child SA out of use."""
        association = self._by_spi.pop(child.inbound_spi, None)
        if association is not None:
            self._ipsec.remove(child.inbound_spi)
            association.children.pop(child.inbound_spi, None)

    def closed(self, sa: IkeSa) -> Association | None:
        """An IKE SA is over. Returns its association, None if it had none."""
        association = self._by_sa.pop(sa, None)
        if association is not None:
            for inbound_spi in association.children:
                self._by_spi.pop(inbound_spi, None)
                self._ipsec.remove(inbound_spi)
            association.children.clear()
        return association

    def forget(self, association: Association, now: float) -> None:
        """Drop an association here without a word to the peer, which is gone or no longer concerns the node."""
        self.closed(association.sa)
        association.sa.abandon(now)

    def forget_all_but(self, kept: Association, now: float) -> None:
        """Drop every association except one."""
        for association in [one for one in self._by_sa.values() if one is not kept]:
            self.forget(association, now)

    def leave_all(self, now: float) -> None:
        """Tell every home agent that its IKE SA is deleted, and take the child SAs out of use."""
        for association in list(self._by_sa.values()):
            self.closed(association.sa)
            association.sa.delete(now)
