"""IKE SAs follow their nodes: the Key Management Mobility Capability (RFC 6275 section 10.3.1, RFC 4877 section 7.4).

The child SAs are in transport mode between the home agent and the home address, so a movement leaves them as they are:
only where IKE requests go to changes.
"""

from __future__ import annotations

from control.home_agent.ike_sessions import IkeSessions
from control.home_agent.key_exchange import NodeIkeSa
from control.home_agent.registrations import PendingRegistration
from control.ikev2.address import SocketAddress
from control.mobility.home_registration import Change

_DISCARD_AFTER_S = 20.0
"""Without the capability the node makes a new IKE SA. Until then the old one protects repeated Binding Updates and
their acknowledgements; its requests would go to where the node was, so it is not kept for long."""


class Movements:
    """Moves the IKE SAs of nodes that can follow, and discards those of the others."""

    def __init__(self, sessions: IkeSessions) -> None:
        self._sessions = sessions
        self._discarded: dict[NodeIkeSa, tuple[float, SocketAddress]] = {}

    def registered(self, registration: PendingRegistration, now: float) -> bool:
        """A Binding Update has taken effect. Returns whether an IKE SA was moved.

        A node that is at home is reached at its home address.
        """
        outcome = registration.outcome
        address, acknowledgement, moved = registration.reply_to, outcome.acknowledgement, False
        if outcome.binding is not None and outcome.change is not Change.REMOVE:
            address = outcome.binding.care_of_address
        for sa in self._sessions.of(registration.identity):
            if sa.nat is not None and sa.nat.follows_peer:
                # Behind a NAT the node knows only its inside address; its packets show where it is reached.
                continue
            remote = sa.remote.address
            if remote is address or remote == address or not sa.is_established:
                if self._discarded:
                    self._discarded.pop(sa, None)
            elif acknowledgement is not None and acknowledgement.key_management:
                moved |= sa.move(now, remote=sa.remote._replace(address=address))
            else:
                self._discarded.setdefault(sa, (now + _DISCARD_AFTER_S, sa.remote))
        return moved

    def next_timer(self) -> float | None:
        """When :meth:`handle_timer` wants to be called (monotonic seconds), None for never."""
        # All wait equally long, so the first one in is the first one due. Asked for after every datagram.
        return next((at for at, _ in self._discarded.values()), None)

    def handle_timer(self, now: float) -> None:
        """Forget the IKE SAs whose nodes have gone elsewhere, without a word to where they were.

        A node may have moved its IKE SA by MOBIKE since.
        """
        for sa in [sa for sa, (at, _) in self._discarded.items() if now >= at]:
            _, remote = self._discarded.pop(sa)
            if sa.remote == remote:
                sa.abandon(now)
