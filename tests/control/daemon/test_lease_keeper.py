"""The lease outlives a start that takes longer than it."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from control.cluster.store import Lease, LeaseLost, StoreError
from control.daemon.lease_keeper import lease_kept
from control.daemon.membership import Clocks

SETTINGS = SimpleNamespace(heartbeat_s=0.001, lease_s=3.0)
LEASE = Lease("ha1", 7, 1e9)


class Store:
    """Renews what the test lets it."""

    def __init__(self, *failures):
        self.failures, self.renewals, self.closed = list(failures), 0, threading.Event()
        self.enough = threading.Event()

    def renew_lease(self, lease, now, duration):
        self.renewals += 1
        if self.renewals >= 5:
            self.enough.set()
        if self.failures:
            raise self.failures.pop(0)
        return Lease(lease.home_agent, lease.token, now + duration)

    def close(self):
        self.closed.set()


def kept(store, lease=LEASE):
    """What the membership is told while the event loop has no time."""
    told = []
    membership = SimpleNamespace(lease=lease, settings=SETTINGS, renewed=lambda *renewal: told.append(renewal))

    async def run():
        async with lease_kept(membership, lambda: store, Clocks(lambda: 50.0, lambda: 1e9)):
            if lease is not None:
                assert store.enough.wait(60) or store.closed.is_set()
            assert told == []  # nobody was there to listen
        await asyncio.sleep(0)

    asyncio.run(run())
    return told


def test_it_is_renewed_though_the_event_loop_and_the_store_are_busy():
    store = Store()
    told = kept(store)
    assert told[0] == (Lease("ha1", 7, 1e9 + 3.0), 50.0)
    assert len(told) == store.renewals >= 5
    assert store.closed.is_set()


def test_a_store_that_fails_for_a_while_is_asked_again():
    store = Store(*[StoreError("timeout", "It does not answer.", "Wait.")] * 4)
    assert len(kept(store)) == store.renewals - 4 > 0


def test_a_lease_that_is_lost_is_left_alone():
    store = Store(LeaseLost("ha1", 7))
    store.enough = store.closed
    assert kept(store) == []
    assert store.renewals == 1


def test_without_a_lease_there_is_nothing_to_keep():
    store = Store()
    assert kept(store, None) == []
    assert not store.closed.is_set()


def test_what_goes_wrong_meanwhile_is_told_and_the_store_closed():
    store = Store()

    async def run():
        membership = SimpleNamespace(lease=LEASE, settings=SETTINGS, renewed=lambda *_renewal: None)
        async with lease_kept(membership, lambda: store, Clocks(time.monotonic, time.time)):
            raise RuntimeError("the data path is gone")

    with pytest.raises(RuntimeError, match="the data path is gone"):
        asyncio.run(run())
    assert store.closed.is_set()
