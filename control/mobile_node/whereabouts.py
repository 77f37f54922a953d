"""Where a mobile node is: its care-of address, and the one before."""

from __future__ import annotations

from ipaddress import IPv6Address

from control.ikev2.exchanges.mobike import update_addresses
from control.ikev2.sa import IkeSa
from control.mobile_node.events import CareOfAddressChanged, NodeEvent


class Whereabouts:
    """Follows the node's movements.

    Attributes:
        care_of_address: where it is, or was last.
        attached: whether it is anywhere.
        addresses: care-of addresses whose packets it takes, 16 bytes each. Packets go on arriving where the node was
            until its home agent has heard of the movement.
    """

    __slots__ = ("_events", "addresses", "attached", "care_of_address")

    def __init__(self, care_of_address: IPv6Address, events: list[NodeEvent]) -> None:
        self.care_of_address = care_of_address
        self.attached = True
        self.addresses: tuple[bytes, ...] = (care_of_address.packed,)
        self._events = events

    def change(self, care_of_address: IPv6Address | None) -> bool:
        """The node is somewhere else, or nowhere (None). Returns whether it has another address now."""
        previous, was_attached = self.care_of_address, self.attached
        self.attached = care_of_address is not None
        moved = care_of_address is not None and care_of_address != previous
        if moved or self.attached is not was_attached:
            self._events.append(CareOfAddressChanged(care_of_address, previous))
        if care_of_address is not None and moved:
            self.care_of_address = care_of_address
            self.addresses = (care_of_address.packed, previous.packed)
        return moved

    @staticmethod
    def tell_by_mobike(sa: IkeSa, now: float) -> bool:
        """Have the home agent take the movement by MOBIKE, if the node began the IKE SA (RFC 4877 section 7.4).

        Returns whether that is possible; else the node needs a new one.
        """
        if sa.mobike is None or not sa.mobike.decides:
            return False
        update_addresses(sa, now)
        return True

    def take_along(self, sa: IkeSa, now: float) -> None:
        """Have an IKE SA that is or was in use send its requests from where the node is."""
        if sa.established_at is not None and sa.local_address != self.care_of_address:
            sa.move(now, local=sa.local._replace(address=self.care_of_address))
