"""How many transactions of the store bindings take, and bindings that end while it is at work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from ipaddress import IPv6Address
from types import SimpleNamespace

import pytest

from control.cluster.store import Lease, StoreError
from control.daemon.binding_writer import BindingWriter
from control.daemon.write_gate import WriteGate
from control.home_agent.registrations import PendingRegistration
from control.mobility.binding_cache import Binding, BindingCache
from control.mobility.home_registration import Change

HOME_AGENT, CARE_OF = IPv6Address("2001:db8::1"), IPv6Address("2001:db8:c::1")


def registration(number: int, change: Change = Change.INSTALL) -> PendingRegistration:
    home_address = IPv6Address(f"2001:db8:100::{number}")
    binding = Binding(home_address, CARE_OF, HOME_AGENT, f"mn{number}", 2e9, 1)
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
            fenced_out=lambda: None,
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

    def _stored(self, registration: PendingRegistration, _now: float) -> None:
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
