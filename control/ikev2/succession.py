"""One IKE SA takes the place of another after rekeying (RFC 7296 sections 2.8, 2.8.2 and 2.18)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control.ikev2.events import IkeRekeyed
from control.ikev2.states import Role, State, Trigger
from control.records import MutableRecord

if TYPE_CHECKING:
    from control.ikev2.sa import IkeSa

_OBSOLETE_LIFETIME_S = 120.0
"""The peer deletes what it has replaced at once; after this long it is forgotten without that."""


class IkeRekeying(MutableRecord):
    """The rekeying of an IKE SA that this side has asked for and the peer has not answered yet.

    Attributes:
        successor: the SA that is to come of it.
        rival: the SA the peer has made meanwhile by rekeying the same one.
        rival_nonce: the lower one of the nonces that one was made with.
    """

    successor: IkeSa
    rival: IkeSa | None = None
    rival_nonce: bytes = b""

    @property
    def has_rival(self) -> bool:
        """Whether the peer's SA may still take the place of the old one: the peer has not deleted it."""
        return self.rival is not None and self.rival.state is State.UNDECIDED

    def drop(self, now: float) -> None:
        """Nothing comes of it, as the old SA is over."""
        self.successor.end(now)
        self.drop_rival(now)

    def drop_rival(self, now: float) -> None:
        """Nothing comes of the peer's SA."""
        if self.rival is not None and self.has_rival:
            delete_superfluous(self.rival, now)


def make_successor(old: IkeSa, role: Role, now: float) -> IkeSa:
    """An IKE SA with the same peer as ``old``, without keys yet."""
    successor = type(old)(old.environment, role, old.local, old.remote, now, handshake=None)
    successor.local_identity = old.local_identity
    successor.uses_fragments = old.uses_fragments
    successor.takes_redirects = old.takes_redirects
    successor.nat = old.nat
    return successor


def inherit(old: IkeSa, successor: IkeSa, now: float) -> None:
    """``successor``, which has keys, takes the place of ``old``: all that the two sides share is its own now."""
    environment = old.environment
    successor.change(Trigger.INHERIT)
    successor.predecessor = None
    successor.remote_identity = old.remote_identity
    successor.peer_configuration = old.peer_configuration
    successor.context = old.context
    successor.mobike = old.mobike
    # One of the sides may have moved since the successor was made.
    successor.local, successor.remote = old.local, old.remote
    successor.established_at = now
    successor.last_heard_at = old.last_heard_at
    successor.last_sent_at = old.last_sent_at
    environment.replace(old, successor)
    successor.children, old.children = old.children, {}
    successor.superseded, old.superseded = old.superseded, {}
    successor.lifetimes.inherit(old.lifetimes)
    successor.lifetimes.begin_ike(now)
    for exchange in old.exchanges.take_queue():
        # Not at once: the peer has to learn of the new SA first.
        successor.lifetimes.postpone(exchange, now)
    environment.emit(old, IkeRekeyed(successor))
    environment.count("ike-rekeyed")
    successor.reschedule()


def retire(old: IkeSa, now: float) -> None:
    """The peer, which has replaced ``old`` or finds it superfluous, is about to delete it."""
    old.change(Trigger.RETIRE)
    old.predecessor = None
    old.expires_at = now + _OBSOLETE_LIFETIME_S
    old.reschedule()


def delete_superfluous(sa: IkeSa, now: float) -> None:
    """Delete an IKE SA that nobody will use; the application has never heard of it."""
    sa.predecessor = None
    sa.begin_closing(now)
    sa.reschedule()


def adopt_rival(old: IkeSa, rekeying: IkeRekeying, now: float) -> None:
    """The SA the peer has made takes the place of ``old``, and nothing comes of this side's rekeying."""
    old.rekeying = None
    old.exchanges.end_current()
    rekeying.successor.end(now)
    if rekeying.rival is not None:
        inherit(old, rekeying.rival, now)
    retire(old, now)
