"""The lease is renewed by a thread while a start has much to read: neither event loop nor store has time then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event

from control.cluster.store import Lease, LeaseLost, StateStore, StoreError
from control.daemon.membership import Clocks, Membership, MembershipSettings

Renewed = Callable[[Lease, float], None]
"""Told the lease and when its renewal was asked for, monotonic seconds."""


@asynccontextmanager
async def lease_kept(
    membership: Membership, open_store: Callable[[], StateStore], clocks: Clocks
) -> AsyncIterator[None]:
    """Keep the lease from lapsing for the length of the block; without effect if there is none.

    Args:
        membership: whose lease.
        open_store: opens the state store once more, so that renewals need not wait for what else is asked of it.
        clocks: both times.

    Raises:
        StoreError: the store cannot be opened.
    """
    lease = membership.lease
    if lease is None:
        yield
        return
    loop, is_over = asyncio.get_running_loop(), Event()
    store = await asyncio.to_thread(open_store)

    def renewed(lease: Lease, asked_at: float) -> None:
        loop.call_soon_threadsafe(membership.renewed, lease, asked_at)

    keeping = loop.run_in_executor(None, _keep, store, lease, membership.settings, clocks, renewed, is_over)
    try:
        yield
    finally:
        is_over.set()
        await keeping


def _keep(
    store: StateStore,
    lease: Lease,
    settings: MembershipSettings,
    clocks: Clocks,
    renewed: Renewed,
    is_over: Event,
) -> None:
    try:
        while not is_over.wait(settings.heartbeat_s):
            asked_at = clocks.monotonic()
            try:
                lease = store.renew_lease(lease, clocks.wall(), settings.lease_s)
            except LeaseLost:
                return  # the next beat deals with that
            except StoreError:
                continue
            renewed(lease, asked_at)
    finally:
        store.close()
