"""How many transactions of the store bindings take, and bindings that end while it is at work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from control.cluster.store import FencedOut, Lease, StoreError
from control.daemon.binding_writer import BindingWriter
from control.daemon.write_gate import WriteGate
from control.home_agent.registrations import PendingRegistration
from control.mobility.binding_cache import Binding, BindingCache
from control.mobility.home_registration import Change
from datapath.errors import MapFull

HOME_AGENT, CARE_OF = IPv6Address("2001:db8::1"), IPv6Address("2001:db8:c::1")


def registration(number: int, change: Change = Change.INSTALL, sequence: int = 1) -> PendingRegistration:
    home_address = IPv6Address(f"2001:db8:100::{number}")
    binding = Binding(home_address, CARE_OF, HOME_AGENT, f"mn{number}", 2e9, sequence)
    outcome = SimpleNamespace(change=change, binding=binding, home_address=home_address, decided_at=1e9)
    return PendingRegistration(f"mn{number}", home_address, outcome, CARE_OF, 0.0)


class World:
    """A writer between an engine, a store and a data path that remember what they are told."""

    def __init__(self, *, taking_over: bool) -> None:
        self.pending: list[PendingRegistration] = []
        self.transactions: list[int] = []
        self.acknowledged: list[IPv6Address] = []
        self.cache = BindingCache(10)
        self.in_store: set[IPv6Address] = set()
        self.in_data_path: set[IPv6Address] = set()
        registrations = SimpleNamespace(pending=self._drain, rules=SimpleNamespace(cache=self.cache))
        agent = SimpleNamespace(
            registrations=registrations,
            takeover=SimpleNamespace(active=taking_over),
            stored=self._stored,
        )
        self.full_for = 0
        self.writing: Callable[[int], None] | None = None
        store = SimpleNamespace(write_bindings=self._write, remove_bindings=self._remove)
        tunnels = SimpleNamespace(
            install=lambda binding: self.in_data_path.add(binding.home_address), remove=self.in_data_path.discard
        )
        self.writer = BindingWriter(
            "ha1",
            agent,
            SimpleNamespace(run=lambda operation: self._run(operation, store)),
            tunnels,
            WriteGate(),
            lease=lambda: Lease("ha1", 1, 2e9),
            fenced_out=lambda _lease: None,
            flush=lambda: None,
            observe_latency=lambda _seconds: None,
        )

    def _drain(self) -> list[PendingRegistration]:
        pending, self.pending = self.pending, []
        return pending

    def _write(self, _lease, records, _now) -> None:
        if self.full_for:
            self.full_for -= 1
            raise StoreError("disk-full", "The disk is full.", "Free space.")
        self.transactions.append(len(records))
        self.in_store |= {record.home_address for record in records}

    def _remove(self, _lease, home_addresses) -> None:
        self.in_store -= set(home_addresses)

    def _stored(self, registrations: list[PendingRegistration], _now: float) -> None:
        for registration in registrations:
            self.cache.put(registration.outcome.binding)
            self.acknowledged.append(registration.home_address)

    def expire(self, number: int) -> None:
        self.writer.remove_expired([self.cache.remove(registration(number).home_address)])

    async def _run(self, operation, store) -> None:
        operation(store)
        if self.writing is not None:
            writing, self.writing = self.writing, None
            writing(1)

    async def arrive(self, number: int) -> None:
        self.pending = [registration(number)]
        self.writer.settle(0.0)
        for _ in range(5):  # as long as a write takes here that waits for nothing
            await asyncio.sleep(0)


@pytest.mark.parametrize(("taking_over", "transactions"), [(False, [1, 1, 1]), (True, [3])])
def test_updates_are_written_at_once_but_in_a_takeover_together(taking_over, transactions):
    async def run() -> World:
        loop, clock = asyncio.get_running_loop(), [100.0]
        loop.time = lambda: clock[0]  # stands still, so that no slow machine makes a difference
        world = World(taking_over=taking_over)
        for number in (1, 2, 3):
            await world.arrive(number)
        clock[0] += 1.0
        while len(world.acknowledged) < 3:
            await asyncio.sleep(0)
        return world

    world = asyncio.run(run())
    assert world.transactions == transactions
    assert world.acknowledged == [registration(number).home_address for number in (1, 2, 3)]


@pytest.mark.parametrize("change", [Change.REFRESH, Change.INSTALL])
@pytest.mark.parametrize("in_store", [False, True], ids=["waiting", "being written"])
def test_a_binding_that_ends_while_it_is_renewed_is_as_acknowledged(change, in_store):
    async def run() -> World:
        loop = asyncio.get_running_loop()
        loop.time = lambda: 100.0
        world = World(taking_over=False)
        await world.arrive(1)
        world.acknowledged.clear()
        world.pending = [registration(1, change)]
        world.writer.settle(100.0)
        if in_store:
            world.writing = world.expire
        else:
            world.expire(1)
        for _ in range(20):
            await asyncio.sleep(0)
        return world

    world = asyncio.run(run())
    assert world.acknowledged == [registration(1).home_address]
    assert world.in_data_path == world.in_store == {registration(1).home_address}


def test_the_log_tells_of_trouble_with_the_store_once_and_of_its_end(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("control.daemon.binding_writer._RETRY_S", 0.0)

    async def run() -> World:
        loop = asyncio.get_running_loop()
        loop.time = lambda: 100.0
        world = World(taking_over=False)
        world.full_for = 5
        world.pending = [registration(1)]
        world.writer.settle(100.0)
        while not world.acknowledged:
            await asyncio.sleep(0)
        return world

    assert asyncio.run(run()).transactions == [1]
    assert caplog.messages == ["bindings not stored yet: The disk is full. Free space.", "bindings are stored again"]


class Shared:
    """A writer whose store, data path and lease the test has in its hands, while the writer waits for them."""

    def __init__(self) -> None:
        self.pending: list[PendingRegistration] = []
        self.stored: dict[IPv6Address, int] = {}
        self.cache: dict[IPv6Address, Binding] = {}
        self.acknowledged: list[IPv6Address] = []
        self.refused: list[IPv6Address] = []
        self.lease: Lease | None = Lease("ha1", 1, 2e9)
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.full: set[IPv6Address] = set()
        self.doubted: list[Lease] = []
        self.is_void = False
        cache = SimpleNamespace(bindings=lambda: list(self.cache.values()), get=self.cache.get, remove=self.cache.pop)
        registrations = SimpleNamespace(pending=self._drain, rules=SimpleNamespace(cache=cache))
        agent = SimpleNamespace(
            registrations=registrations,
            takeover=SimpleNamespace(active=False),
            address=HOME_AGENT,
            stored=self._take_effect,
            not_stored=lambda each: self.refused.append(each.home_address),
            no_room=lambda each, _now: self.refused.append(each.home_address),
            let_go=self.cache.pop,
        )
        self.writer = BindingWriter(
            "ha1",
            agent,
            SimpleNamespace(run=self._run),
            SimpleNamespace(install=self._install, remove=lambda _home_address: None),
            WriteGate(),
            lease=lambda: self.lease,
            fenced_out=self.doubted.append,
            flush=lambda: None,
            observe_latency=lambda _seconds: None,
        )

    def _drain(self) -> list[PendingRegistration]:
        pending, self.pending = self.pending, []
        return pending

    def _take_effect(self, registrations: list[PendingRegistration], _now: float) -> None:
        for each in registrations:
            self.cache[each.home_address] = each.outcome.binding
            self.acknowledged.append(each.home_address)

    def _install(self, binding: Binding) -> None:
        if binding.home_address in self.full:
            raise MapFull("bindings", 1)

    async def _run(self, operation):
        await asyncio.sleep(0)
        result = operation(self)  # done, but the answer takes its time
        await self.may_write.wait()
        return result

    def write_bindings(self, lease, records, _now=None):
        if self.is_void:
            raise FencedOut(lease.home_agent, lease.token)
        self.stored.update((record.home_address, record.sequence_number) for record in records)

    def write_missing(self, lease, records, _wall):
        self.write_bindings(lease, records)
        return []

    def remove_bindings(self, _lease, home_addresses):
        for home_address in home_addresses:
            self.stored.pop(home_address, None)

    def arrive(self, *numbers: int, sequence: int = 1) -> None:
        self.pending = [registration(number, sequence=sequence) for number in numbers]
        self.writer.settle(0.0)


async def settled(condition) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never comes to that")


def home(number: int) -> IPv6Address:
    return registration(number).home_address


def test_nothing_is_acknowledged_under_a_lease_that_was_lost_while_another_registration_was_undone():
    async def run() -> None:
        world = Shared()
        world.full = {home(1)}
        remove_bindings = world.remove_bindings

        def undo_and_lose(lease, home_addresses):
            remove_bindings(lease, home_addresses)
            world.lease = None

        world.remove_bindings = undo_and_lose
        first, second = registration(1), registration(2)
        first.outcome.previous = second.outcome.previous = None
        world.pending = [first, second]
        world.writer.settle(0.0)
        await settled(lambda: len(world.refused) == 2)
        assert world.acknowledged == []
        assert world.writer.failures == {"no-room": 1, "fenced-out": 1}

    asyncio.run(run())


def test_what_is_written_again_does_not_take_the_place_of_what_came_since():
    async def run() -> None:
        world = Shared()
        world.cache[home(1)] = registration(1).outcome.binding
        world.may_write.clear()
        world.arrive(1, sequence=2)
        await settled(lambda: world.stored)
        again = asyncio.create_task(world.writer.republish(world.lease, 1e9))
        for _ in range(5):
            await asyncio.sleep(0)
        world.may_write.set()
        await again
        await settled(lambda: world.acknowledged)
        assert world.stored == {home(1): 2}

    asyncio.run(run())


def test_what_belongs_to_another_home_agent_by_now_is_let_go():
    async def run() -> None:
        world = Shared()
        for number in (1, 2):
            world.cache[home(number)] = registration(number).outcome.binding
        world.write_missing = lambda _lease, records, _wall: [record.home_address for record in records][:1]
        await world.writer.republish(world.lease, 1e9)
        assert list(world.cache) == [home(2)]

    asyncio.run(run())


def test_what_registers_while_much_is_written_again_is_not_taken_back(monkeypatch):
    monkeypatch.setattr("control.daemon.binding_writer._REPUBLISHED_AT_ONCE", 1)

    async def run() -> None:
        world = Shared()
        for number in (1, 2):
            world.cache[home(number)] = registration(number).outcome.binding
        write_missing, written = world.write_missing, []

        def written_in_parts(lease, records, wall):
            if not written:  # while the first is written, the second node registers
                world.write_bindings(lease, [SimpleNamespace(home_address=home(2), sequence_number=2)])
                world.cache[home(2)] = registration(2, sequence=2).outcome.binding
            written.append(len(records))
            return write_missing(lease, records, wall)

        world.write_missing = written_in_parts
        await world.writer.republish(world.lease, 1e9)
        assert written == [1, 1]
        assert world.stored == {home(1): 1, home(2): 2}

    asyncio.run(run())


def test_a_refused_write_is_told_with_the_lease_it_was_made_under():
    async def run() -> None:
        world = Shared()
        world.is_void = True
        world.arrive(1)
        await settled(lambda: world.doubted)
        assert world.doubted == [world.lease]
        assert (world.refused, world.acknowledged) == ([home(1)], [])

    asyncio.run(run())
