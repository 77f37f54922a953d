"""What an IKE SA has to do at some time: rekey, end what could not be rekeyed, ask again, probe a silent peer.

See RFC 7296 sections 2.4, 2.8 and 2.25.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from control.ikev2.exchanges.base import Exchange
from control.ikev2.nat import keep_mapping_alive, keepalive_at
from control.ikev2.states import State
from control.records import MutableRecord

if TYPE_CHECKING:
    from control.ikev2.environment import Environment
    from control.ikev2.policy import LifetimePolicy
    from control.ikev2.sa import IkeSa

_NEVER = math.inf
_LIVENESS_JITTER = 0.25


class Lifetime(MutableRecord):
    """Of one IKE SA or child SA.

    Attributes:
        rekey_at: when this side rekeys it, None while it does so.
        expires_at: when it must not be used any more.
    """

    rekey_at: float | None
    expires_at: float

    @property
    def next_at(self) -> float:
        """What comes first."""
        rekey_at, expires_at = self.rekey_at, self.expires_at
        return expires_at if rekey_at is None or rekey_at > expires_at else rekey_at

    def rekeying_in(self, now: float) -> float:
        """Seconds until this side rekeys it, 0 while it does so."""
        return 0.0 if self.rekey_at is None else max(0.0, self.rekey_at - now)


class Lifetimes:
    """Of an IKE SA and its children, and the requests that are to be tried again.

    Attributes:
        ike: of the IKE SA, None for as long as it lives.
        children: of the child SAs by inbound SPI; those that are never rekeyed are missing.
        next_at: when the first of all that is due, infinity for never. Asked for after every message, so it is kept.
    """

    __slots__ = ("_environment", "_failing_since", "_postponed", "children", "ike", "next_at")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._failing_since: float | None = None
        self._postponed: tuple[tuple[float, Exchange], ...] = ()
        self.ike: Lifetime | None = None
        self.children: dict[int, Lifetime] = {}
        self.next_at = _NEVER

    def begin_ike(self, now: float) -> None:
        """The IKE SA has new keys."""
        policy = self._environment.configuration.lifetimes
        if policy.ike_s:
            self.ike = self._begin(policy.ike_s, policy, now)

    def begin_child(self, inbound_spi: int, now: float) -> None:
        """A child SA was made."""
        policy = self._environment.configuration.lifetimes
        if policy.child_s:
            self.children[inbound_spi] = self._begin(policy.child_s, policy, now)

    def end_child(self, inbound_spi: int) -> None:
        """A child SA is over."""
        if self.children.pop(inbound_spi, None) is not None:
            self._find_next()

    def inherit(self, older: Lifetimes) -> None:
        """The children of another IKE SA are those of this one now."""
        self.children, older.children = older.children, {}
        self._postponed, older._postponed = older._postponed, ()
        self._find_next()

    def rekey_ike_later(self, exchange: Exchange, now: float, *, refused: bool) -> None:
        """The peer has not rekeyed the IKE SA; ``refused`` unless it gave a temporary failure as the reason."""
        self._again(self.ike, exchange, now + self._waiting_s(refused))

    def rekey_child_later(self, exchange: Exchange, inbound_spi: int, now: float, *, refused: bool) -> None:
        """The same for a child SA."""
        self._again(self.children.get(inbound_spi), exchange, now + self._waiting_s(refused))

    def rekey_child_early(self, sa: IkeSa, inbound_spi: int, now: float) -> None:
        """Rekey a child of ``sa`` before its time, unless that is under way or done."""
        lifetime = self.children.get(inbound_spi)
        is_under_way = lifetime is not None and lifetime.rekey_at is None
        if is_under_way or inbound_spi in sa.superseded or not sa.is_established:
            return
        if lifetime is not None:
            lifetime.rekey_at = None
            self._find_next()
        sa.rekey_child(inbound_spi, now)

    def _again(self, lifetime: Lifetime | None, exchange: Exchange, at: float) -> None:
        if lifetime is not None:
            lifetime.rekey_at = at
            self._find_next()
        else:
            self.postpone(exchange, at)

    def postpone(self, exchange: Exchange, at: float) -> None:
        """Begin ``exchange`` at that time."""
        self._postponed = (*self._postponed, (at, exchange))
        self.next_at = min(self.next_at, at)

    def retry(self, exchange: Exchange, now: float) -> None:
        """Begin ``exchange`` when the peer may have overcome its temporary failure."""
        self.postpone(exchange, now + self._waiting_s(refused=False))

    def note_success(self) -> None:
        """The peer has fulfilled a request."""
        self._failing_since = None

    def note_temporary_failure(self, now: float) -> bool:
        """The peer could not fulfil a request for the moment; returns whether that has gone on for too long."""
        self._environment.count("temporary-failures")
        if self._failing_since is None:
            self._failing_since = now
        return now - self._failing_since >= self._environment.configuration.lifetimes.out_of_sync_s

    def handle(self, sa: IkeSa, now: float) -> None:
        """Do what is due for ``sa``, which is established and which these are the lifetimes of."""
        if now >= _probe_at(sa):
            self._environment.count("liveness-probes")
            sa.probe_liveness(now)
        keep_mapping_alive(sa, now)
        if now >= self.next_at:
            self._do_due(sa, now)
            self._find_next()

    def _do_due(self, sa: IkeSa, now: float) -> None:
        due = [exchange for at, exchange in self._postponed if now >= at]
        self._postponed = tuple(entry for entry in self._postponed if now < entry[0])
        for exchange in due:
            sa.exchanges.submit(exchange, now)
        for inbound_spi, lifetime in tuple(self.children.items()):
            replaced = inbound_spi in sa.superseded
            if now >= lifetime.expires_at and not replaced:
                sa.terminate("expired", now)
                return
            if now >= lifetime.expires_at:
                sa.delete_child(inbound_spi, now)
            elif lifetime.rekey_at is not None and now >= lifetime.rekey_at:
                # One that was replaced is left to the peer, which is about to delete it.
                lifetime.rekey_at = now + self._waiting_s(refused=False) if replaced else None
                sa.rekey_child(inbound_spi, now)
        if self.ike is None:
            return
        if now >= self.ike.expires_at:
            sa.terminate("expired", now)
        elif self.ike.rekey_at is not None and now >= self.ike.rekey_at:
            self.ike.rekey_at = None
            sa.rekey(now)

    def _begin(self, duration_s: float, policy: LifetimePolicy, now: float) -> Lifetime:
        rekey_at = now + duration_s * (1 - policy.jitter * self._environment.fraction())
        if rekey_at < self.next_at:
            self.next_at = rekey_at
        return Lifetime(rekey_at, now + duration_s * (1 + policy.overtime))

    def _find_next(self) -> None:
        lifetimes = [*self.children.values()] if self.ike is None else [self.ike, *self.children.values()]
        times = [*(lifetime.next_at for lifetime in lifetimes), *(at for at, _ in self._postponed)]
        self.next_at = min(times, default=_NEVER)

    def _waiting_s(self, refused: bool) -> float:
        policy = self._environment.configuration.lifetimes
        return (policy.refused_retry_s if refused else policy.retry_s) * (1 + self._environment.fraction())


def next_deadline(sa: IkeSa) -> float:
    """When ``sa`` wants attention next, infinity for never. Asked for after every message: it has to be quick."""
    state = sa.state
    if state is State.CLOSED:
        return _NEVER
    earliest = sa.exchanges.next_at
    if sa.expires_at < earliest:
        earliest = sa.expires_at
    if sa.partial_messages:
        earliest = min(earliest, *[partial.expires_at for partial in sa.partial_messages.values()])
    if state is State.ESTABLISHED:
        if sa.lifetimes.next_at < earliest:
            earliest = sa.lifetimes.next_at
        probe_at = _probe_at(sa)
        if probe_at < earliest:
            earliest = probe_at
        if sa.nat is not None and sa.nat.local_behind and (mapping_at := keepalive_at(sa)) is not None:
            earliest = min(earliest, mapping_at)
    return earliest


def _probe_at(sa: IkeSa) -> float:
    """When the silence of the peer has lasted too long; infinity where that does not matter or a request is under way.

    With a request under way there is no need for another one that asks for a sign of life.

    The SPI, which is random, decides how much later than the interval that is: thousands of SAs made together are not
    probed together.
    """
    interval_s = sa.environment.configuration.liveness_interval_s
    if not interval_s or not sa.exchanges.is_idle:
        return _NEVER
    last = sa.last_heard_at if sa.last_heard_at is not None else sa.handshake_started_at
    return last + interval_s * (1 + _LIVENESS_JITTER * int.from_bytes(sa.local_spi[:2], "big") / 0x10000)
