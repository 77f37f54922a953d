"""This home agent's place in the cluster: its lease, and the nodes of agents whose lease has lapsed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

from control.bootstrap.home_address_pool import PoolExhausted
from control.bootstrap.takeover import NodeToRecover
from control.cluster.store import ClaimedNode, Lease, LeaseLost, StateStore, StoreError
from control.home_agent.directory import NodeDirectory
from control.home_agent.events import Happening, TimelineEvent

_LOG = logging.getLogger(__name__)

_CLAIMED_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class MembershipSettings:
    """What the configuration says about the cluster.

    Attributes:
        name: this agent's name.
        address: its home agent address.
        lease_s: how long a lease lasts without renewal, seconds.
        take_over: whether lapsed agents are taken over from without being asked.
        capacity: how many bindings this agent can hold.
    """

    name: str
    address: IPv6Address
    lease_s: float
    take_over: bool
    capacity: int


class Membership:
    """Holds the lease and claims what failed agents leave behind.

    Attributes:
        lease: the right to write and to serve; None while it is lost.
        takeovers: how many agents were taken over from.
    """

    def __init__(
        self,
        settings: MembershipSettings,
        store: StateStore,
        directory: NodeDirectory,
        *,
        clock: Callable[[], float],
        happened: Callable[[Iterable[Happening]], None],
        recover: Callable[[list[NodeToRecover]], int],
        stand_down: Callable[[], None],
        resume: Callable[[], None],
    ) -> None:
        """Not a member yet.

        Args:
            settings: from the configuration.
            store: the state store.
            directory: the nodes this agent may serve.
            clock: seconds since the epoch.
            happened: told what goes into the timeline.
            recover: brings nodes back; returns how many were queued.
            stand_down: stops serving every node, because another agent has claimed them.
            resume: serves again what the store says is ours, after a new lease was acquired.
        """
        self.lease: Lease | None = None
        self.takeovers = 0
        self._settings = settings
        self._store = store
        self._directory = directory
        self._clock = clock
        self._happened = happened
        self._recover = recover
        self._stand_down = stand_down
        self._resume = resume

    def join(self) -> Lease:
        """Acquire the lease, at the start and after it was lost.

        Raises:
            StoreError: the store does not answer.
        """
        settings = self._settings
        self.lease = self._store.acquire_lease(
            settings.name, settings.address, self._clock(), settings.lease_s, capacity=settings.capacity
        )
        self._happened([Happening(TimelineEvent.LEASE_ACQUIRED, None, {"token": self.lease.token})])
        return self.lease

    def lost(self) -> None:
        """Stop writing and serving: another agent has claimed what was ours."""
        if self.lease is not None:
            self.lease = None
            self._happened([Happening(TimelineEvent.LEASE_LOST)])
            self._stand_down()

    def beat(self) -> None:
        """Renew the lease and look after the others. Store errors are logged: the next beat tries again."""
        try:
            if self.lease is None:
                self.join()
                self._resume()
            else:
                self.lease = self._store.renew_lease(self.lease, self._clock(), self._settings.lease_s)
            if self._settings.take_over:
                for lapsed in self._store.lapsed_leases(self._clock()):
                    if lapsed.home_agent != self._settings.name:
                        self._take_over_from(lapsed.home_agent, "lease-lapsed", lapsed.expires_at)
        except LeaseLost:
            self.lost()
        except StoreError as error:
            _LOG.error("state store: %s", error)

    def take_over_from(self, home_agent: str) -> int:
        """Claim the nodes of an agent because the operator says so. Returns how many were queued.

        Raises:
            StoreError: the store does not answer, or knows no such agent.
            LeaseLost: this agent has no lease itself.
        """
        return self._take_over_from(home_agent, "operator", None)

    def _take_over_from(self, home_agent: str, cause: str, expired_at: float | None) -> int:
        if self.lease is None:
            raise LeaseLost(self._settings.name, 0)
        if expired_at is not None:
            detail: dict[str, object] = {"home_agent": home_agent, "expired_at": round(expired_at, 6)}
            self._happened([Happening(TimelineEvent.LEASE_LAPSED, None, detail)])
        claimed = self._claim(home_agent, self.lease, force=expired_at is None)
        if not claimed:
            return 0
        self.takeovers += 1
        detail = {"home_agent": home_agent, "nodes": len(claimed), "cause": cause, "token": self.lease.token}
        self._happened([Happening(TimelineEvent.NODES_CLAIMED, None, detail)])
        return self._recover(list(self.nodes_to_recover(claimed)))

    def _claim(self, home_agent: str, lease: Lease, *, force: bool) -> list[ClaimedNode]:
        """Everything the failed agent leaves, in parts, so that our own lease does not lapse over it."""
        claimed: list[ClaimedNode] = []
        while part := self._store.claim(home_agent, lease, self._clock(), force=force, limit=_CLAIMED_AT_ONCE):
            claimed += part
            lease = self.lease = self._store.renew_lease(lease, self._clock(), self._settings.lease_s)
        return claimed

    def nodes_to_recover(self, claimed: Iterable[ClaimedNode]) -> Iterator[NodeToRecover]:
        """The claimed nodes this agent can and may bring back; the longest remaining lifetime has the best priority.

        Args:
            claimed: nodes with their bindings, as the store has them.
        """
        wall = self._clock()
        for entry in claimed:
            node, binding = entry.node, entry.binding
            if self._directory.find(node.identity) is None:
                self._give_up(node.identity, "not-authorised")
                continue
            if binding is None or binding.lifetime_expires_at <= wall:
                self._give_up(node.identity, "no-binding")
                continue
            try:
                home_address = self._directory.assign(node.identity, node.home_address)
            except PoolExhausted:
                self._give_up(node.identity, "home-address-pool-exhausted")
                continue
            yield NodeToRecover(
                identity=node.identity,
                home_address=home_address,
                care_of_address=binding.care_of_address,
                new_home_address=home_address != node.home_address,
                priority=-binding.lifetime_expires_at,
            )

    def _give_up(self, identity: str, reason: str) -> None:
        self._happened([Happening(TimelineEvent.GIVEN_UP, identity, {"reason": reason})])
