"""Home agents of one store, each a membership without the rest of its daemon."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address, IPv6Network

from control.cluster.sqlite_store import SqliteStore
from control.cluster.store import BindingRecord, StoreError
from control.daemon.membership import Clocks, Membership, MembershipSettings
from control.daemon.store_thread import StoreThread
from control.home_agent.directory import AuthorisedNode, NodeDirectory

PREFIX = IPv6Network("2001:db8:100::/64")
OTHER_PREFIX = IPv6Network("2001:db8:200::/64")
LEASE_S = 3.0


class StoreOnANetwork(StoreThread):
    """A store that can be out of reach."""

    away = False

    async def run(self, operation):
        if self.away:
            raise StoreError("unreachable", "The test has taken the store away.", "Wait.")
        return await super().run(operation)


class Member:
    """A membership with what it told the rest of its daemon."""

    def __init__(
        self,
        name,
        path,
        *,
        prefix=PREFIX,
        take_over=True,
        authorised=("mn1", "mn2"),
        accounts=(),
        capacity=100,
        address=None,
    ):
        self.now = 0.0
        self.wall_step = 0.0
        self.happenings = []
        self.recovered = []
        self.stood_down = 0
        self.resumed = 0
        self.republished = []
        self.store = SqliteStore(path)
        nodes = accounts or [
            AuthorisedNode(f"{node}@example.org", PREFIX[index], b"key") for index, node in enumerate(authorised, 1)
        ]
        self.thread = StoreOnANetwork(self.store)
        self.membership = Membership(
            MembershipSettings(
                name, IPv6Address(address or f"2001:db8:a{name[-1]}::1"), LEASE_S, 1.0, take_over, capacity
            ),
            self.thread,
            NodeDirectory(nodes, [prefix]),
            Clocks(lambda: self.now, lambda: self.now + self.wall_step),
            happened=self.happenings.extend,
            recover=self._recover,
            stand_down=self._stand_down,
            resume=self._resume,
            republish=self._republish,
        )

    def join(self):
        asyncio.run(self.membership.join())

    def beat(self, now):
        self.now = now
        asyncio.run(self.membership.beat())

    def beat_until(self, end):
        while self.now < end:
            self.beat(min(end, max(self.membership.next_timer(), self.now + 0.01)))

    def take_over_from(self, name, now):
        self.now = now
        return asyncio.run(self.membership.take_over_from(name))

    def events(self):
        return [happening.event for happening in self.happenings]

    def _recover(self, nodes):
        self.recovered += nodes
        return len(nodes)

    def _stand_down(self):
        self.stood_down += 1

    async def _resume(self):
        self.resumed += 1

    async def _republish(self, lease):
        self.republished.append(lease.token)


def binding(index, expires_at=1000.0):
    return BindingRecord(
        home_address=PREFIX[index],
        care_of_address=IPv6Address(f"2001:db8:c::{index}"),
        home_agent="ha1",
        home_agent_address=IPv6Address("2001:db8:a1::1"),
        identity=f"mn{index}@example.org",
        lifetime_expires_at=expires_at,
        sequence_number=index,
    )


def serving_first(path, *bindings):
    first = Member("ha1", path)
    first.join()
    first.store.write_bindings(first.membership.lease, bindings)
    return first
