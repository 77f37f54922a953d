"""Where a binding goes before its acknowledgement leaves: the state store first, then the data path.

A node that holds an acknowledgement finds its binding again after a crash of this process at any point, because the
store had it first; and its packets already flow, because the data path had it too. While the store works on one
batch the next one gathers, so a slow store makes batches larger and not the home agent slow.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv6Address

from control.cluster.store import BindingRecord, FencedOut, Lease, StateStore, StoreError
from control.daemon.store_thread import StoreThread
from control.daemon.tunnels import Tunnels
from control.daemon.write_gate import WriteGate
from control.home_agent.engine import HomeAgent
from control.home_agent.registrations import PendingRegistration
from control.mobility.binding_cache import Binding
from control.mobility.home_registration import Change
from control.records import Record
from datapath.errors import DatapathError, MapFull

_LOG = logging.getLogger(__name__)

QUEUE_LIMIT = 20_000
"""Most registrations that wait for the store."""
PATIENCE_S = 10.0
"""How long a registration waits for a store that does not answer; by then its node has repeated it anyway."""
_RETRY_S = 0.25
# To hand a transaction to the thread of the store and back costs a tenth of a node's recovery. In a takeover a Binding
# Update comes every few milliseconds, so there are several in one.
_GATHER_S = 0.020
_REPUBLISHED_AT_ONCE = 1_000


class _Waiting(Record, frozen=True):
    registration: PendingRegistration
    since: float


class BindingWriter:
    """Writes what the engine has accepted and then lets it acknowledge.

    Attributes:
        failures: registrations left unacknowledged, by reason.
    """

    def __init__(
        self,
        name: str,
        agent: HomeAgent,
        store: StoreThread,
        tunnels: Tunnels,
        gate: WriteGate,
        *,
        lease: Callable[[], Lease | None],
        fenced_out: Callable[[Lease], None],
        flush: Callable[[], None],
        observe_latency: Callable[[float], None],
    ) -> None:
        """Nothing waits.

        Args:
            name: the home agent's name in the cluster.
            agent: the engine.
            store: the state store.
            tunnels: the data path.
            gate: what changes of it go through.
            lease: the right to write, None while there is none; without one nothing is acknowledged.
            fenced_out: told the lease under which the store did not let it write any more.
            flush: sends what the engine has decided.
            observe_latency: told the seconds from the arrival of each Binding Update to its acknowledgement.
        """
        self.failures: Counter[str] = Counter()
        self._name = name
        self._agent = agent
        self._store = store
        self._tunnels = tunnels
        self._gate = gate
        self._lease = lease
        self._fenced_out = fenced_out
        self._flush = flush
        self._observe_latency = observe_latency
        self._waiting: dict[IPv6Address, _Waiting] = {}
        self._expired: set[IPv6Address] = set()
        # What the store is being told, None for bindings that end.
        self._in_hand: dict[IPv6Address, Binding | None] = {}
        self._writing: asyncio.Task[None] | None = None
        self._trouble = ""

    def __len__(self) -> int:
        """How many registrations wait for the store."""
        return len(self._waiting)

    def settle(self, now: float) -> None:
        """Take all pending registrations of the engine; they are acknowledged when they are stored.

        Args:
            now: monotonic seconds.
        """
        pending = self._agent.registrations.pending()
        if pending and self._lease() is None:
            self._refuse(pending, "no-lease")
            return
        for registration in pending:
            if len(self._waiting) >= QUEUE_LIMIT and registration.home_address not in self._waiting:
                self._refuse([registration], "queue-full")
            else:
                self._waiting[registration.home_address] = _Waiting(registration, now)
        self._begin()

    def remove_expired(self, expired: list[Binding]) -> None:
        """Take bindings out of the data path and the store that have reached the end of their lifetime."""
        for binding in expired:
            self._remove_from_data_path(binding.home_address)
            self._expired.add(binding.home_address)
        self._begin()

    async def republish(self, lease: Lease, wall: float) -> None:
        """Write again what the store may have lost, and let go of what belongs to another agent by now.

        Args:
            lease: the right to write.
            wall: seconds since the epoch.

        Raises:
            StoreError: the store did not take it all.
        """
        cache = self._agent.registrations.rules.cache
        home_addresses = [
            binding.home_address for binding in cache.bindings() if binding.home_agent == self._agent.address
        ]
        for begin in range(0, len(home_addresses), _REPUBLISHED_AT_ONCE):
            part = home_addresses[begin : begin + _REPUBLISHED_AT_ONCE]
            # As they are now: what registers meanwhile is not to be written over by what it was before.
            bindings = (self._in_hand.get(each, cache.get(each)) for each in part)
            records = [record_of(self._name, binding) for binding in bindings if binding is not None]
            write = partial(_write_missing, lease, records, wall)
            for home_address in await self._store.run(write):
                self._agent.let_go(home_address)
                self._remove_from_data_path(home_address)

    def forget(self) -> None:
        """Drop what waits: another agent has claimed it."""
        self._refuse([waiting.registration for waiting in self._waiting.values()], "fenced-out")
        self._waiting.clear()
        self._expired.clear()

    def _begin(self) -> None:
        if self._writing is None and (self._waiting or self._expired):
            self._writing = asyncio.get_running_loop().create_task(self._write_all())
            self._writing.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._writing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("writing bindings failed", exc_info=error)

    async def _write_all(self) -> None:
        while self._waiting or self._expired:
            if self._agent.takeover.active:
                await asyncio.sleep(_GATHER_S)
            batch, self._waiting = list(self._waiting.values()), {}
            expired, self._expired = self._expired, set()
            lease = self._lease()
            if lease is None:
                # Those of the store are past their lifetime as well, and are dropped when it is next read.
                self._refuse([waiting.registration for waiting in batch], "no-lease")
                continue
            self._in_hand = {each.registration.home_address: _to_be(each.registration) for each in batch}
            try:
                await self._store.run(_write_operation(self._name, lease, batch, expired))
            except FencedOut:
                self._refuse([waiting.registration for waiting in batch], "fenced-out")
                self._fenced_out(lease)
            except StoreError as error:
                if str(error) != self._trouble:  # once, not at each of the attempts until it is over
                    self._trouble = str(error)
                    _LOG.error("bindings not stored yet: %s", error)
                self._put_back(batch, expired)
                await asyncio.sleep(_RETRY_S)
            else:
                if self._trouble:
                    self._trouble = ""
                    _LOG.info("bindings are stored again")
                finished = await self._finish_all(lease, [waiting.registration for waiting in batch])
                self._flush()
                now = asyncio.get_running_loop().time()
                for registration in finished:
                    self._observe_latency(now - registration.received_at)
            finally:
                self._in_hand = {}

    async def _finish_all(self, lease: Lease, registrations: list[PendingRegistration]) -> list[PendingRegistration]:
        """Let the engine acknowledge what is stored; returns what the data path has taken."""
        async with self._gate.passing():
            return await self._finish_while_open(lease, registrations)

    async def _finish_while_open(
        self, lease: Lease, registrations: list[PendingRegistration]
    ) -> list[PendingRegistration]:
        finished: list[PendingRegistration] = []
        installed: list[PendingRegistration] = []
        is_held = self._is_held(lease)
        for registration in registrations:
            if not is_held:
                # Claimed while it was written, for all we know: not ours to acknowledge.
                self._refuse([registration], "fenced-out")
            elif (error := self._install(registration)) is None:
                installed.append(registration)
            else:
                # What is in the data path takes effect before anything else can happen to it.
                finished += self._take_effect(installed)
                installed = []
                await self._roll_back(lease, registration)
                self._refuse_for(error, registration)
                is_held = self._is_held(lease)  # to undo it took a while
        return finished + self._take_effect(installed)

    def _take_effect(self, installed: list[PendingRegistration]) -> list[PendingRegistration]:
        """Have the engine acknowledge what store and data path have."""
        self._agent.stored(installed, asyncio.get_running_loop().time())
        return installed

    def _is_held(self, lease: Lease) -> bool:
        current = self._lease()
        return current is not None and current.token == lease.token

    def _put_back(self, batch: list[_Waiting], expired: set[IPv6Address]) -> None:
        """To be tried again, but for what has been overtaken meanwhile or has waited for too long."""
        now = asyncio.get_running_loop().time()
        newer = self._waiting
        self._waiting = {}
        for waiting in batch:
            home_address = waiting.registration.home_address
            if home_address in newer:
                continue
            if now - waiting.since > PATIENCE_S:
                self._refuse([waiting.registration], "store")
            else:
                self._waiting[home_address] = waiting
        self._waiting.update(newer)
        self._expired |= expired

    def _install(self, registration: PendingRegistration) -> DatapathError | None:
        """Put a registration into the data path; returns why it does not take it."""
        outcome, home_address = registration.outcome, registration.home_address
        try:
            if outcome.change is Change.REMOVE:
                self._tunnels.remove(home_address)
            elif outcome.binding is not None and (outcome.change is Change.INSTALL or self._has_ended(home_address)):
                self._tunnels.install(outcome.binding)
        except DatapathError as error:
            return error
        self._expired.discard(home_address)
        return None

    def _refuse_for(self, error: DatapathError, registration: PendingRegistration) -> None:
        if isinstance(error, MapFull):
            self.failures["no-room"] += 1
            self._agent.no_room(registration, asyncio.get_running_loop().time())
            _LOG.error("binding of %s refused: %s", registration.home_address, error)
        else:
            self._refuse([registration], "data-path")
            _LOG.error("binding of %s not installed: %s", registration.home_address, error)

    def _has_ended(self, home_address: IPv6Address) -> bool:
        """Whether the binding that was to be renewed has ended since, so that the data path has dropped it."""
        return self._agent.registrations.rules.cache.get(home_address) is None

    async def _roll_back(self, lease: Lease, registration: PendingRegistration) -> None:
        """Undo in the store what the data path did not take: store and data path agree, the node repeats."""
        previous = registration.outcome.previous
        home_address = registration.home_address

        def operation(store: StateStore) -> None:
            if previous is not None:
                store.write_bindings(lease, [record_of(self._name, previous)])
            else:
                store.remove_bindings(lease, [home_address])

        try:
            await self._store.run(operation)
        except StoreError as error:
            _LOG.error("store and data path disagree about %s until the next start: %s", home_address, error)

    def _refuse(self, registrations: Iterable[PendingRegistration], reason: str) -> None:
        for registration in registrations:
            self.failures[reason] += 1
            self._agent.not_stored(registration)

    def _remove_from_data_path(self, home_address: IPv6Address) -> None:
        self._gate.change(partial(self._remove_now, home_address))

    def _remove_now(self, home_address: IPv6Address) -> None:
        try:
            self._tunnels.remove(home_address)
        except DatapathError as error:
            _LOG.error("binding of %s not removed: %s", home_address, error)


def _to_be(registration: PendingRegistration) -> Binding | None:
    outcome = registration.outcome
    return None if outcome.change is Change.REMOVE else outcome.binding


def _write_missing(lease: Lease, records: list[BindingRecord], wall: float, store: StateStore) -> list[IPv6Address]:
    return store.write_missing(lease, records, wall)


def _write_operation(
    name: str, lease: Lease, batch: list[_Waiting], expired: set[IPv6Address]
) -> Callable[[StateStore], None]:
    outcomes = [waiting.registration.outcome for waiting in batch]
    records = [
        record_of(name, outcome.binding)
        for outcome in outcomes
        if outcome.change is not Change.REMOVE and outcome.binding is not None
    ]
    kept = {record.home_address for record in records}
    gone = [outcome.home_address for outcome in outcomes if outcome.change is Change.REMOVE]
    gone += [home_address for home_address in expired if home_address not in kept]

    def operation(store: StateStore) -> None:
        if records:
            store.write_bindings(lease, records, max(outcome.decided_at for outcome in outcomes))
        if gone:
            store.remove_bindings(lease, gone)

    return operation


def record_of(name: str, binding: Binding) -> BindingRecord:
    """A binding as the store keeps it.

    Args:
        name: the home agent's name in the cluster.
        binding: one of its bindings.
    """
    return BindingRecord(
        home_address=binding.home_address,
        care_of_address=binding.care_of_address,
        home_agent=name,
        home_agent_address=binding.home_agent,
        identity=binding.identity,
        lifetime_expires_at=binding.lifetime_expires_at,
        sequence_number=binding.sequence_number,
        key_management=binding.key_management,
        mobile_networks=binding.mobile_networks,
    )


def binding_of(record: BindingRecord) -> Binding:
    """A stored binding as the binding cache holds it."""
    return Binding(
        home_address=record.home_address,
        care_of_address=record.care_of_address,
        home_agent=record.home_agent_address,
        identity=record.identity,
        lifetime_expires_at=record.lifetime_expires_at,
        sequence_number=record.sequence_number,
        key_management=record.key_management,
        mobile_networks=record.mobile_networks,
    )
