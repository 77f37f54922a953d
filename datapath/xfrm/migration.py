"""Tunnels whose outer addresses change (``xfrm_user_migrate``), as the K bit has it (RFC 6275 section 10.3.1).

The states keep their keys, their sequence numbers and their replay windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from datapath.xfrm.attributes import attribute
from datapath.xfrm.numbers import FAMILY_INET6, PROTOCOL_ESP, AttributeType, Direction, Mode
from datapath.xfrm.policies import policy_key
from datapath.xfrm.selectors import Selector
from datapath.xfrm.states import state_key
from datapath.xfrm.structs import MIGRATION, STATE_MIGRATION

Ends = tuple[IPv6Address, IPv6Address]
"""Source and destination."""


@dataclass(frozen=True, slots=True)
class TunnelMove:
    """A policy of tunnel mode and the states of its template get other outer addresses.

    Attributes:
        direction: of the policy.
        selector: of the policy.
        reqid: of template and states.
        old: outer source and destination so far.
        new: outer source and destination from now on.
    """

    direction: Direction
    selector: Selector
    reqid: int
    old: Ends
    new: Ends

    def to_wire(self) -> bytes:
        """The body of ``XFRM_MSG_MIGRATE``."""
        move = MIGRATION.pack(
            *(self.old[1].packed, self.old[0].packed, self.new[1].packed, self.new[0].packed),
            *(PROTOCOL_ESP, Mode.TUNNEL, self.reqid, FAMILY_INET6, FAMILY_INET6),
        )
        return policy_key(self.direction, self.selector) + attribute(AttributeType.MIGRATE, move)


@dataclass(frozen=True, slots=True)
class StateMove:
    """One state, whatever policies say, gets other addresses; Linux 7.2 and later.

    Attributes:
        destination: with ``spi`` which it is.
        new: source and destination from now on.
        selector: from now on.
        reqid: from now on.
    """

    destination: IPv6Address
    spi: int
    new: Ends
    selector: Selector
    reqid: int

    def to_wire(self) -> bytes:
        """The body of ``XFRM_MSG_MIGRATE_STATE``."""
        return STATE_MIGRATION.pack(
            state_key(self.destination, self.spi),
            *(self.new[1].packed, self.new[0].packed, 0, 0),
            self.selector.to_wire(),
            *(self.reqid, 0, FAMILY_INET6, 0),
        )
