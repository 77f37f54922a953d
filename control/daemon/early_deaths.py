"""A daemon that dies again and again soon after it has joined its cluster must not keep its nodes by that.

Each start acquires the lease anew, so the others would never see it lapse. After some such deaths in a row a start
first leaves them the time to take over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from control.cluster.store import LeaseRecord
from control.daemon.membership import Clocks, MembershipSettings
from control.daemon.store_thread import StoreThread

_LOG = logging.getLogger(__name__)

SOUND_AFTER_S = 60.0
"""Whoever has served for this long does not count as having died early."""
_PATIENCE = 3
# Beyond the one that runs out: to notice that, and to divide what it leaves.
_LEASES_FOR_OTHERS = 2


class EarlyDeaths:
    """How many processes in a row have joined and not lived for long, in a file; the one that runs is among them."""

    def __init__(self, file: Path) -> None:
        """Nothing is read yet.

        Args:
            file: survives the process, and need not survive the machine.
        """
        self._file = file

    @property
    def are_too_many(self) -> bool:
        """Whether the others had better serve the nodes."""
        return self._count() >= _PATIENCE

    def joined(self) -> None:
        """This process has the lease."""
        try:
            self._file.write_text(f"{self._count() + 1}\n")
        except OSError as error:
            _LOG.warning("an early end of this process will not be remembered: %s", error)

    def sound(self) -> None:
        """This process has lived for long enough, or ends because it was told to."""
        try:
            self._file.unlink(missing_ok=True)
        except OSError as error:
            _LOG.warning("this process will be taken for one that has died early: %s", error)

    def _count(self) -> int:
        try:
            return int(self._file.read_text())
        except (OSError, ValueError):
            return 0


async def leave_to_others(
    settings: MembershipSettings,
    store: StoreThread,
    clocks: Clocks,
    waiting: Callable[[float], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Wait until others have claimed what this home agent has left, or had the time to; at once if there are none.

    Args:
        settings: of this home agent, which does not run yet.
        store: the state store.
        clocks: both times.
        waiting: told now and then how many seconds are left.
        sleep: for tests.

    Raises:
        StoreError: the store does not answer.
    """
    own, has_others = _look(await store.run(lambda store: store.leases()), settings.name, clocks.wall())
    if own is None or not has_others:
        return
    left_s = min(max(0.0, own.expires_at - clocks.wall()), settings.lease_s)
    until = clocks.monotonic() + left_s + _LEASES_FOR_OTHERS * settings.lease_s
    _LOG.warning("the last processes of this home agent ended early: what they served is left to the others for now")
    while own is not None and clocks.monotonic() < until:
        waiting(until - clocks.monotonic())
        await sleep(settings.heartbeat_s)
        own, _ = _look(await store.run(lambda store: store.leases()), settings.name, clocks.wall())


def _look(leases: list[LeaseRecord], name: str, wall: float) -> tuple[LeaseRecord | None, bool]:
    """This home agent's lease, and whether another one's runs."""
    own = next((lease for lease in leases if lease.home_agent == name), None)
    return own, any(lease.home_agent != name and lease.expires_at > wall for lease in leases)
