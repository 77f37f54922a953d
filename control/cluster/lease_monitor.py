"""When to renew one's own lease, and which other home agents are dead.

Sans-IO: the caller reads and writes the store and says what came of it. It has two clocks. Leases in the store carry
wall-clock times, which may jump; everything here that depends on how much time has *passed* uses the monotonic one.
So a step of the wall clock neither makes this agent believe in a lease it has lost, nor makes a living one look dead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from control.cluster.store import Lease, LeaseRecord

_RETRIES_PER_HEARTBEAT = 4
_BLIND_AFTER_HEARTBEATS = 2  # looks at the store are a heartbeat apart, give or take what a busy process adds
_SHORTEST_WAIT_S = 0.001  # the two clocks are read one after the other and rounded: do not spin on the difference


class LeaseAction(Enum):
    """What to ask of the store now."""

    ACQUIRE = auto()
    RENEW = auto()


@dataclass(slots=True)
class _Observation:
    record: LeaseRecord
    unchanged_since: float


class LeaseMonitor:
    """Keeps one home agent's lease alive and watches those of the others.

    Whenever :meth:`next_timer` has come, the caller

    1. does what :meth:`handle_timer` returns and reports it to :meth:`acquired`, :meth:`lost` or :meth:`store_failed`,
    2. reads all leases and gives them to :meth:`observe`, which returns the dead agents.

    Attributes:
        lease: the lease held, None if there is none.
    """

    def __init__(self, home_agent: str, lease_s: float, heartbeat_s: float) -> None:
        """Begin without a lease; acquiring one is due at once.

        Args:
            home_agent: this agent's name in the cluster.
            lease_s: how long a lease lasts.
            heartbeat_s: how often it is renewed; at most half of ``lease_s``, so that one renewal may fail.

        Raises:
            ValueError: the heartbeat does not fit the lease.
        """
        if not 0 < heartbeat_s <= lease_s / 2:
            raise ValueError(f"a heartbeat of {heartbeat_s} s is not within half of the lease of {lease_s} s")
        self.lease: Lease | None = None
        self._home_agent = home_agent
        self._lease_s = lease_s
        self._heartbeat_s = heartbeat_s
        self._confirmed_at = 0.0
        self._next_request = 0.0  # in the past: at once
        self._next_check: float | None = None
        self._observations: dict[str, _Observation] = {}
        self._observed_at: float | None = None
        self._nobody_dead_before = 0.0  # in the past

    def next_timer(self) -> float:
        """When the caller's round is due (monotonic seconds)."""
        return self._next_request if self._next_check is None else min(self._next_request, self._next_check)

    def handle_timer(self, now: float) -> LeaseAction | None:
        """What to ask of the store, None if it is not time yet."""
        if now < self._next_request:
            return None
        self._next_request = now + self._heartbeat_s
        return LeaseAction.RENEW if self.lease is not None else LeaseAction.ACQUIRE

    def acquired(self, lease: Lease, asked_at: float) -> None:
        """The store granted or renewed the lease.

        Args:
            lease: as the store returned it.
            asked_at: when it was asked (monotonic seconds), not when it answered: the lease may not seem longer here
                than it is for the others.
        """
        self.lease = lease
        self._confirmed_at = asked_at

    def lost(self, now: float) -> None:
        """The store said that the lease is void. A new one is due after a heartbeat, not in a tight race."""
        self.lease = None
        self._next_request = now + self._heartbeat_s

    def doubted(self, now: float) -> None:
        """The lease may be void: it is not relied upon until a renewal, due at once, says that it is not."""
        self._confirmed_at = now - self._lease_s
        self._next_request = now

    def store_failed(self, now: float) -> None:
        """The store did not answer: ask again soon, a lease waits for nobody, and the next look is the first again."""
        self._observed_at = None
        self._next_request = now + self._heartbeat_s / _RETRIES_PER_HEARTBEAT

    def holds_lease(self, now: float) -> bool:
        """Whether the lease is held and, seen from here, no other agent can have claimed it for being lapsed."""
        return self.lease is not None and now < self.held_until

    @property
    def held_until(self) -> float:
        """Until when :meth:`holds_lease` says yes, unless the lease is renewed or lost (monotonic seconds)."""
        return self._confirmed_at + self._lease_s if self.lease is not None else self._confirmed_at

    def observe(self, leases: Iterable[LeaseRecord], now: float, wall_now: float) -> list[LeaseRecord]:
        """The other agents that are dead: their lease ran out and was not renewed before our eyes either.

        A dead agent is returned in every round until its lease is claimed or renewed, so a claim that failed is tried
        again. After a time in which the store could not be looked at, nobody is dead for one heartbeat: the others
        could not renew either, and who asks first must not take what the rest serve.

        Args:
            leases: all in the store.
            now: monotonic seconds.
            wall_now: seconds since the epoch.
        """
        if self._observed_at is None or now - self._observed_at > _BLIND_AFTER_HEARTBEATS * self._heartbeat_s:
            self._nobody_dead_before = now + self._heartbeat_s
        self._observed_at = now
        lapsed = []
        checks = []
        seen: dict[str, _Observation] = {}
        for record in leases:
            if record.home_agent == self._home_agent:
                continue
            known = self._observations.get(record.home_agent)
            # Claiming a part of a dead agent's nodes changes its token; only a renewal changes its end.
            same = known is not None and known.record.expires_at == record.expires_at
            observation = _Observation(record, known.unchanged_since if known is not None and same else now)
            seen[record.home_agent] = observation
            wait = self._time_left(observation, now, wall_now)
            if wait > 0:
                checks.append(now + max(wait, _SHORTEST_WAIT_S))
            else:
                lapsed.append(record)
        self._observations = seen
        self._next_check = min(checks, default=None)
        return sorted(lapsed, key=lambda record: record.expires_at)

    def _time_left(self, observation: _Observation, now: float, wall_now: float) -> float:
        """Seconds until an agent counts as dead unless it renews.

        A renewal is noticed up to a heartbeat after it was made; that much is taken off what is asked of our own
        watching, or every death would be noticed that much later.
        """
        by_wall_clock = observation.record.expires_at - wall_now
        by_our_watch = observation.unchanged_since + self._lease_s - self._heartbeat_s - now
        return max(by_wall_clock, by_our_watch, self._nobody_dead_before - now)
