"""Bringing many nodes back: jobs started as the scheduler allows, their results counted.

draft-li-mip6-ha-init-bootstrap-00 section 5: "An initiator Home Agent SHOULD control the number of IKE exchange
simultaneously […] SHOULD also bring best effort to recover those MN that were served by the failed HA."
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from ipaddress import IPv6Address
from itertools import count
from typing import Protocol

from control.bootstrap.job import JobAction, RebootstrapJob, SwitchTimeouts
from control.bootstrap.scheduler import Progress, Scheduler
from control.records import Record

# An answer that says the peers do not trust each other: asking again changes nothing.
_HOPELESS = frozenset(("authentication-failed", "certificate-invalid", "peer-refused"))


class NodeToRecover(Record, frozen=True):
    """A node that needs this home agent.

    Attributes:
        identity: its IKE identity as text.
        home_address: the home address it will have here.
        care_of_address: where it was last registered.
        new_home_address: whether ``home_address`` is new to the node.
        switch: see :class:`RebootstrapJob`.
        keyed: the same.
        priority: smaller comes first.
        group: nodes of different groups, such as failed home agents, take turns.
    """

    identity: str
    home_address: IPv6Address
    care_of_address: IPv6Address
    new_home_address: bool = False
    switch: bool = True
    keyed: bool = False
    priority: float = 0.0
    group: str = ""


class JobDriver(Protocol):
    """Carries out what a job decides."""

    def perform(self, job: RebootstrapJob, action: JobAction, now: float) -> None:
        """Carry ``action`` out; results come back through the methods of :class:`Takeover`."""

    def given_up(self, node: NodeToRecover, reason: str, now: float) -> None:
        """No further attempt will be made for ``node``."""


class Takeover:
    """All jobs of a home agent, started by its scheduler.

    Attributes:
        handshake_s: durations, in seconds, from the first IKE_SA_INIT of an attempt to its security associations
            for the Mobility Header; at most ``sample_limit`` of them.
        failures: failed attempts by reason.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        driver: JobDriver,
        *,
        timeouts: SwitchTimeouts | None = None,
        sample_limit: int = 200_000,
        observe_handshake: Callable[[float], None] | None = None,
        observe_recovery: Callable[[float], None] | None = None,
    ) -> None:
        """Nothing to do yet.

        Args:
            scheduler: says who is tried when.
            driver: carries out what jobs decide.
            timeouts: see :class:`RebootstrapJob`; None: the usual ones.
            sample_limit: most durations kept in ``handshake_s``.
            observe_handshake: told each of those durations.
            observe_recovery: told the seconds from the queueing of each recovered node to its registration.
        """
        self.handshake_s: list[float] = []
        self.failures: Counter[str] = Counter()
        self._scheduler = scheduler
        self._driver = driver
        self._timeouts = timeouts or SwitchTimeouts()
        self._sample_limit = sample_limit
        self._observe_handshake = observe_handshake
        self._observe_recovery = observe_recovery
        self._queued: dict[str, tuple[NodeToRecover, float]] = {}  # and since when
        self._jobs: dict[str, RebootstrapJob] = {}
        self._timers: list[tuple[float, int, RebootstrapJob]] = []
        self._order = count()

    def submit(self, nodes: Iterable[NodeToRecover], now: float) -> int:
        """Queue nodes; those already queued or under way are left as they are. Returns how many were new."""
        added = 0
        for node in nodes:
            identity = node.identity
            if identity not in self._queued:
                self._queued[identity] = (node, now)
                self._scheduler.submit(identity, node.priority, now, node.group)
                added += 1
        return added

    def __contains__(self, identity: str) -> bool:
        """Whether the node is to be brought back."""
        return identity in self._queued

    def awaits(self, identity: str, home_address: IPv6Address) -> bool:
        """Whether the node is to be brought back to a home address that it has had before."""
        if identity not in self._queued:
            return False
        node, _ = self._queued[identity]
        same = node.home_address is home_address or node.home_address == home_address
        return same and not node.new_home_address

    def job(self, identity: str) -> RebootstrapJob | None:
        """The attempt under way for a node."""
        return self._jobs.get(identity)

    def progress(self, now: float) -> Progress:
        """How far the whole is."""
        return self._scheduler.progress(now)

    @property
    def recovered_total(self) -> int:
        """Nodes brought back since the start."""
        return self._scheduler.recovered_total

    @property
    def active(self) -> bool:
        """Whether any node still waits or is under way."""
        return bool(self._queued)

    @property
    def paused(self) -> bool:
        """Whether no further node is begun with for now."""
        return self._scheduler.paused

    def pause(self) -> None:
        """Begin with no further node; what is under way goes on."""
        self._scheduler.pause()

    def resume(self) -> None:
        """Go on after :meth:`pause`."""
        self._scheduler.resume()

    def observe_lag(self, lag_s: float) -> None:
        """The event loop came ``lag_s`` seconds late to a timer."""
        self._scheduler.observe_lag(lag_s)

    def next_timer(self) -> float | None:
        """When :meth:`handle_timer` wants to be called (monotonic seconds), None for never."""
        times = [time for time in (self._scheduler.next_timer(),) if time is not None]
        if self._timers:
            times.append(self._timers[0][0])
        return min(times, default=None)

    def handle_timer(self, now: float) -> None:
        """Repeat what is due and start what may start."""
        while self._timers and self._timers[0][0] <= now:
            _, _, job = heappop(self._timers)
            if not job.finished and self._jobs.get(job.identity) is job:
                self._carry_out(job, job.handle_timer(now), now)
        for identity in self._scheduler.give_up_overdue(now):
            self._abandon(identity, "total-time-exhausted", now)
        for identity in self._scheduler.start_ready(now):
            self._start(self._queued[identity][0], now)

    def ike_established(self, job: RebootstrapJob, now: float) -> None:
        """The IKE SA of ``job`` is up."""
        self._carry_out(job, job.ike_established(), now)

    def mobility_child_established(self, job: RebootstrapJob, now: float) -> None:
        """The security associations for the Mobility Header of ``job`` are installed."""
        if job.started_at is not None:
            elapsed = now - job.started_at
            if len(self.handshake_s) < self._sample_limit:
                self.handshake_s.append(elapsed)
            if self._observe_handshake is not None:
                self._observe_handshake(elapsed)
        self._carry_out(job, job.mobility_child_established(now), now)

    def binding_registered(self, identity: str, now: float) -> NodeToRecover | None:
        """A Binding Update of the node was acknowledged, whoever began. Returns the node if it had been waited for."""
        node, queued_at = self._queued.pop(identity, (None, 0.0))
        if node is None:
            return None
        if self._observe_recovery is not None:
            self._observe_recovery(now - queued_at)
        job = self._jobs.pop(identity, None)
        if job is not None:
            job.binding_registered()
        self._scheduler.succeeded(identity, now)
        return node

    def job_failed(self, job: RebootstrapJob, reason: str, now: float) -> None:
        """An attempt failed for ``reason``; the scheduler decides about another."""
        if self._jobs.get(job.identity) is job:
            self._carry_out(job, job.failed(reason), now)

    def cancel(self, now: float, identities: Iterable[str] | None = None) -> int:
        """Give nodes up at once: all, or those named. Returns how many there were."""
        wanted = list(self._queued) if identities is None else [each for each in identities if each in self._queued]
        for identity in wanted:
            self._scheduler.cancel(identity)
            self._abandon(identity, "cancelled", now)
        return len(wanted)

    def _abandon(self, identity: str, reason: str, now: float) -> None:
        """End what is under way for a node that the scheduler has given up."""
        node, _ = self._queued.pop(identity)
        job = self._jobs.pop(identity, None)
        if job is not None:
            action = job.failed(reason)
            if action is not None:
                self._driver.perform(job, action, now)
        self._driver.given_up(node, reason, now)

    def _start(self, node: NodeToRecover, now: float) -> None:
        identity = node.identity
        job = RebootstrapJob(
            identity,
            node.home_address,
            node.care_of_address,
            new_home_address=node.new_home_address,
            switch=node.switch,
            keyed=node.keyed,
            attempt=self._scheduler.attempt(identity),
            timeouts=self._timeouts,
        )
        self._jobs[identity] = job
        self._carry_out(job, job.start(now), now)

    def _carry_out(self, job: RebootstrapJob, action: JobAction | None, now: float) -> None:
        if action is not None:
            self._driver.perform(job, action, now)
        if job.next_timer is not None:
            heappush(self._timers, (job.next_timer, next(self._order), job))
        if job.finished and self._jobs.get(job.identity) is job:
            self._settle(job, now)

    def _settle(self, job: RebootstrapJob, now: float) -> None:
        del self._jobs[job.identity]
        if job.failure is None:
            del self._queued[job.identity]
            self._scheduler.succeeded(job.identity, now)
            return
        self.failures[job.failure] += 1
        retry = job.failure not in _HOPELESS
        final = self._scheduler.failed(job.identity, job.failure, now, retry=retry, answered=job.answered)
        if final:
            node, _ = self._queued.pop(job.identity)
            self._driver.given_up(node, job.failure, now)
