"""This home agent's place in the cluster: its lease, and the nodes of agents whose lease has lapsed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address

from control.bootstrap.home_address_pool import PoolExhausted
from control.bootstrap.takeover import NodeToRecover
from control.cluster.clock_watch import ClockWatch
from control.cluster.lease_monitor import LeaseAction, LeaseMonitor
from control.cluster.shares import capacities, share
from control.cluster.store import ClaimedNode, Lease, LeaseHeld, LeaseLost, LeaseRecord, StoreError
from control.daemon.claims import claim, left_behind, priority, unfinished
from control.daemon.store_thread import StoreThread
from control.home_agent.directory import NodeDirectory
from control.home_agent.events import Happening, TimelineEvent
from control.wire import address_text

_LOG = logging.getLogger(__name__)

_CLAIMED_AT_ONCE = 1_000
_RECOVERED_AT_ONCE = 100
# How long the others have for their shares of a failed agent's nodes, before whoever comes first takes the rest.
_HEARTBEATS_FOR_OTHERS = 2


@dataclass(frozen=True, slots=True)
class MembershipSettings:
    """What the configuration says about the cluster.

    Attributes:
        name: this agent's name.
        address: its home agent address.
        lease_s: how long a lease lasts without renewal, seconds.
        heartbeat_s: how often it is renewed, seconds.
        take_over: whether lapsed agents are taken over from without being asked.
        capacity: how many bindings this agent can hold.
    """

    name: str
    address: IPv6Address
    lease_s: float
    heartbeat_s: float
    take_over: bool
    capacity: int


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two times a member of a cluster lives by.

    Attributes:
        monotonic: seconds that only pass, for how long something has lasted.
        wall: seconds since the epoch, which all members share, for what is written down.
    """

    monotonic: Callable[[], float]
    wall: Callable[[], float]


class Membership:
    """Holds the lease and claims what failed agents leave behind.

    Attributes:
        settings: from the configuration.
        takeovers: how many agents were taken over from.
        leases: all leases, as the store had them at the last beat.
        store_answers: whether the store answered then.
    """

    def __init__(
        self,
        settings: MembershipSettings,
        store: StoreThread,
        directory: NodeDirectory,
        clocks: Clocks,
        *,
        happened: Callable[[Iterable[Happening]], None],
        recover: Callable[[list[NodeToRecover]], int],
        stand_down: Callable[[], None],
        resume: Callable[[], Awaitable[None]],
        republish: Callable[[Lease], Awaitable[None]],
    ) -> None:
        """Not a member yet.

        Args:
            settings: from the configuration.
            store: the state store.
            directory: the nodes this agent may serve.
            clocks: both times.
            happened: told what goes into the timeline.
            recover: brings nodes back; returns how many were queued.
            stand_down: stops serving every node, because another agent has claimed them.
            resume: serves again what the store says is ours, after a new lease was acquired.
            republish: writes again what this agent serves, after the store may have lost it.
        """
        self.settings = settings
        self.takeovers = 0
        self.leases: list[LeaseRecord] = []
        self.store_answers = True
        self._incarnation = ""
        self._claim_in_doubt = False
        self._resume_due = False
        self._doubted = asyncio.Event()
        self._share_claimed_at: dict[str, float] = {}
        self._turn = asyncio.Lock()
        self._by_hand: set[asyncio.Task[int]] = set()
        self._clock_watch = ClockWatch(settings.name, settings.lease_s)
        self._monitor = LeaseMonitor(settings.name, settings.lease_s, settings.heartbeat_s)
        self._store = store
        self._directory = directory
        self._clocks = clocks
        self._happened = happened
        self._recover = recover
        self._stand_down = stand_down
        self._resume = resume
        self._republish = republish

    @property
    def name(self) -> str:
        """This home agent's, in the cluster."""
        return self.settings.name

    @property
    def lease(self) -> Lease | None:
        """The right to write and to acknowledge; None while it is lost, or could have lapsed unseen."""
        return self._monitor.lease if self._monitor.holds_lease(self._clocks.monotonic()) else None

    def serves_until(self) -> float | None:
        """From when on another home agent may have claimed the nodes of this one, unless a renewal succeeds.

        Monotonic seconds; None while no other home agent is known.
        """
        return self._monitor.held_until if self.has_others() else None

    def has_others(self) -> bool | None:
        """Whether another home agent is known; None while the store has not told of any, not even of this one."""
        return any(lease.home_agent != self.settings.name for lease in self.leases) if self.leases else None

    def others_alive(self) -> list[LeaseRecord]:
        """The leases of the other home agents that ran when the store was last looked at."""
        wall = self._clocks.wall()
        return [lease for lease in self.leases if lease.home_agent != self.settings.name and lease.expires_at > wall]

    async def join(self) -> None:
        """Acquire the lease for the first time.

        Raises:
            StoreError: the store does not answer, or a living home agent at another address has the same name.
        """
        self._monitor.handle_timer(self._clocks.monotonic())
        self._incarnation = await self._store.run(lambda store: store.incarnation())
        await self._require_own_name()
        await self._acquire()

    async def _require_own_name(self) -> None:
        """To acquire the lease of another one would fence that out, and it would do the same in turn."""
        name, address, wall = self.settings.name, self.settings.address, self._clocks.wall()
        for lease in await self._store.run(lambda store: store.leases()):
            if lease.home_agent == name and lease.address != address and lease.expires_at > wall:
                raise StoreError(
                    "name-taken",
                    f"The home agent at {address_text(lease.address)} has the name {name} in the state store and is "
                    "alive.",
                    "Give this one another [home_agent] name; if it is the same one with a new address, wait until the "
                    "lease of the old one has lapsed.",
                )

    def renewed(self, lease: Lease, asked_at: float) -> None:
        """The lease was renewed for this agent while it had no time to."""
        if self._monitor.lease is not None and self._monitor.lease.token == lease.token:
            self._monitor.acquired(lease, asked_at)

    def doubt(self, lease: Lease) -> None:
        """The store has refused to write under a lease: write and acknowledge nothing until a beat, due at once, has
        found out whether another agent has claimed our nodes, or the store has lost what it had.
        """
        if self._monitor.lease is not None and self._monitor.lease.token == lease.token:
            self._monitor.doubted(self._clocks.monotonic())
            self._doubted.set()

    def _lost(self) -> None:
        """Stop writing and serving: another agent has claimed what was ours."""
        if self._monitor.lease is None:
            return
        self._monitor.lost(self._clocks.monotonic())
        self._happened([Happening(TimelineEvent.LEASE_LOST)])
        self._stand_down()

    def next_timer(self) -> float:
        """When :meth:`beat` wants to be called (monotonic seconds)."""
        return self._monitor.next_timer()

    async def until_next_beat(self) -> None:
        """Return when :meth:`beat` wants to be called."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._doubted.wait(), max(0.0, self.next_timer() - self._clocks.monotonic()))
        self._doubted.clear()

    async def beat(self) -> None:
        """Renew the lease and look after the others. Store errors are logged: the next beat tries again."""
        async with self._turn:
            try:
                await self._keep_lease()
                await self._look_after_others()
            except LeaseLost:
                self._lost()
            except StoreError as error:
                self._monitor.store_failed(self._clocks.monotonic())
                if self.store_answers:  # once, not at every beat until it is back
                    _LOG.error("state store: %s", error)
                self.store_answers = False
            else:
                if not self.store_answers:
                    _LOG.info("state store: it answers again")
                self.store_answers = True

    async def take_over_from(self, home_agent: str) -> int:
        """Claim the nodes of an agent because the operator says so. Returns how many were queued.

        It goes on if whoever waits for it is cancelled: nodes that were claimed have to be brought back.

        Raises:
            StoreError: the store does not answer.
            LeaseLost: this agent has no lease itself.
        """
        task = asyncio.get_running_loop().create_task(self._take_over_by_hand(home_agent))
        self._by_hand.add(task)
        task.add_done_callback(self._ended_by_hand)
        return await asyncio.shield(task)

    async def _take_over_by_hand(self, home_agent: str) -> int:
        async with self._turn:
            return await self._take_over_from(home_agent, "operator", force=True)

    def _ended_by_hand(self, task: asyncio.Task[int]) -> None:
        self._by_hand.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a takeover that was asked for failed: %s", error)

    async def _keep_lease(self) -> None:
        action = self._monitor.handle_timer(self._clocks.monotonic())
        if action is LeaseAction.ACQUIRE:
            await self._acquire()
            self._resume_due = True
        elif action is LeaseAction.RENEW and self._monitor.lease is not None:
            await self._renew_or_return(self._monitor.lease)
        if self._resume_due and self.lease is not None:
            await self._resume()
            self._resume_due = False

    async def _renew_or_return(self, lease: Lease) -> None:
        """Renew; after the store has lost what it had, be a member again and write what this agent serves."""
        incarnation = await self._store.run(lambda store: store.incarnation())
        try:
            lease = await self._renew(lease)
        except LeaseLost:
            # It may have lost everything since it was asked.
            incarnation = await self._store.run(lambda store: store.incarnation())
            if incarnation == self._incarnation:
                raise
            lease = await self._acquire()
        if incarnation != self._incarnation:
            _LOG.warning("the state store was restarted, replaced or emptied: what is served here is written again")
            await self._republish(lease)
            self._incarnation = incarnation

    async def _acquire(self) -> Lease:
        settings, asked_at, wall = self.settings, self._clocks.monotonic(), self._clocks.wall()
        lease = await self._store.run(
            lambda store: store.acquire_lease(
                settings.name, settings.address, wall, settings.lease_s, capacity=settings.capacity
            )
        )
        self._monitor.acquired(lease, asked_at)
        self._happened([Happening(TimelineEvent.LEASE_ACQUIRED, None, {"token": lease.token})])
        return lease

    async def _renew(self, lease: Lease) -> Lease:
        asked_at, wall = self._clocks.monotonic(), self._clocks.wall()
        renewed = await self._store.run(lambda store: store.renew_lease(lease, wall, self.settings.lease_s))
        self._monitor.acquired(renewed, asked_at)
        return renewed

    async def _look_after_others(self) -> None:
        self.leases = await self._store.run(lambda store: store.leases())
        for home_agent, ahead_s in self._clock_watch.look(self.leases, self._clocks.wall()):
            detail: dict[str, object] = {"home_agent": home_agent, "ahead_s": round(ahead_s, 1)}
            self._happened([Happening(TimelineEvent.CLOCK_DIFFERS, None, detail)])
        if self.lease is not None and self._claim_in_doubt:
            await self._recover_claimed_in_doubt()
        if not self.settings.take_over or self.lease is None:
            return
        lapsed = self._monitor.observe(self.leases, self._clocks.monotonic(), self._clocks.wall())
        self._share_claimed_at = {
            dead.home_agent: self._share_claimed_at[dead.home_agent]
            for dead in lapsed
            if dead.home_agent in self._share_claimed_at
        }
        for dead in lapsed:
            try:
                await self._take_share_of(dead, capacities(self.leases, [each.home_agent for each in lapsed]))
            except LeaseHeld:
                continue  # it lives again
            except LeaseLost:
                return  # or the clock was set, or the store emptied: the next renewal tells

    async def _take_share_of(self, dead: LeaseRecord, living: dict[str, int]) -> None:
        """Our share of a failed agent's nodes at once; what others have left of theirs some heartbeats later."""
        now = self._clocks.monotonic()
        claimed_at = self._share_claimed_at.get(dead.home_agent)
        if claimed_at is None:
            detail: dict[str, object] = {"home_agent": dead.home_agent, "expired_at": round(dead.expires_at, 6)}
            self._happened([Happening(TimelineEvent.LEASE_LAPSED, None, detail)])
            limit = None
            if len(living) > 1:
                total = await self._store.run(partial(left_behind, dead, list(living)))
                limit = share(total, self.settings.name, living)
            await self._take_over_from(dead.home_agent, "lease-lapsed", force=False, limit=limit)
            self._share_claimed_at[dead.home_agent] = now
        elif now >= claimed_at + _HEARTBEATS_FOR_OTHERS * self.settings.heartbeat_s:
            await self._take_over_from(dead.home_agent, "lease-lapsed", force=False)

    async def _take_over_from(self, home_agent: str, cause: str, *, force: bool, limit: int | None = None) -> int:
        lease = self.lease
        if lease is None:
            raise LeaseLost(self.settings.name, 0)
        claimed = await self._claim(home_agent, lease, force=force, limit=limit)
        if not claimed:
            return 0
        self.takeovers += 1
        detail: dict[str, object] = {
            "home_agent": home_agent,
            "nodes": len(claimed),
            "cause": cause,
            "token": lease.token,
        }
        self._happened([Happening(TimelineEvent.NODES_CLAIMED, None, detail)])
        return await self._recover_all(claimed)

    async def _recover_all(self, claimed: list[ClaimedNode]) -> int:
        """In parts, between which everything else has its turn. Returns how many were queued."""
        claimed.sort(key=partial(priority, self._clocks.wall()))
        queued = 0
        for begin in range(0, len(claimed), _RECOVERED_AT_ONCE):
            queued += self._recover(list(self.nodes_to_recover(claimed[begin : begin + _RECOVERED_AT_ONCE])))
            await self._stay_alive()
        return queued

    async def _stay_alive(self) -> None:
        """Between two parts of long work: everything else has its turn, and our own lease does not lapse over it."""
        lease, now = self._monitor.lease, self._clocks.monotonic()
        if lease is None or self._monitor.handle_timer(now) is None:
            await asyncio.sleep(0)
            return
        try:
            await self._renew(lease)
        except StoreError:
            self._monitor.store_failed(now)  # what that means, the next beat finds out

    async def _claim(self, home_agent: str, lease: Lease, *, force: bool, limit: int | None) -> list[ClaimedNode]:
        """What the failed agent leaves, or so much of it, in parts, so that our own lease does not lapse over it."""
        claimed: list[ClaimedNode] = []
        try:
            while limit is None or len(claimed) < limit:
                size = _CLAIMED_AT_ONCE if limit is None else min(_CLAIMED_AT_ONCE, limit - len(claimed))
                part = await self._store.run(partial(claim, home_agent, lease, self._clocks.wall(), force, size))
                claimed += part
                if len(part) < size:
                    break
                lease = await self._renew(lease)
        except LeaseHeld:
            if not claimed:
                raise
        except StoreError as error:
            # It may have been done and only the answer been lost.
            self._claim_in_doubt = True
            if not claimed or isinstance(error, LeaseLost):
                raise
        return claimed

    async def _recover_claimed_in_doubt(self) -> None:
        claimed = await self._store.run(lambda store: unfinished(store, self.settings.name, self.settings.address))
        self._claim_in_doubt = False
        await self._recover_all(claimed)

    def nodes_to_recover(self, claimed: Iterable[ClaimedNode]) -> Iterator[NodeToRecover]:
        """The claimed nodes this agent can and may bring back, with the priority each has.

        Args:
            claimed: nodes with their bindings, as the store has them.
        """
        wall = self._clocks.wall()
        for entry in claimed:
            node, binding = entry.node, entry.binding
            authorised = self._directory.find(node.identity)
            if authorised is None:
                self._give_up(node.identity, "not-authorised")
                continue
            if not authorised.can_be_called:
                self._give_up(node.identity, "not-possible-with-eap")
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
                priority=priority(wall, entry),
                group=address_text(binding.home_agent_address),
            )

    def _give_up(self, identity: str, reason: str) -> None:
        self._happened([Happening(TimelineEvent.GIVEN_UP, identity, {"reason": reason})])
