"""The wall clock is set while bindings are in force."""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address, IPv6Network

import pytest

from control.cluster.store import Lease, StoreError
from control.daemon.clock_steps import ClockSteps
from control.mobility.binding_cache import Binding, BindingCache

LEASE = Lease("ha1", 1, 1e9)
LONGEST_S = 3600.0


class World:
    """Bindings that last 100 s and 600 s, a clock to set, and a store that may be away."""

    def __init__(self):
        self.wall, self.elapsed, self.written = 1e9, 50.0, []
        self.cache = BindingCache(10)
        for number, lifetime_s in ((1, 100.0), (2, 600.0)):
            home_address = IPv6Address(f"2001:db8:100::{number}")
            networks = (IPv6Network(f"2001:db8:70{number}::/64"),)
            care_of, home_agent = IPv6Address("2001:db8:c::1"), IPv6Address("2001:db8:a1::1")
            identity = f"mn{number}@example.org"
            self.cache.put(
                Binding(
                    home_address, care_of, home_agent, identity, self.wall + lifetime_s, 7, mobile_networks=networks
                )
            )
        self.is_away = False
        self.steps = ClockSteps(self.cache, self._republish, LONGEST_S, lambda: self.wall, lambda: self.elapsed)

    async def _republish(self, lease):
        if self.is_away:
            raise StoreError("unreachable", "It is away.", "Wait.")
        left = sorted(each.lifetime_expires_at - self.wall for each in self.cache.bindings())
        self.written.append((lease, self.wall, left))

    def tell(self, lease=LEASE):
        asyncio.run(self.steps.tell_store(lease))

    def look(self, seconds, step_s=0.0):
        """After some seconds, by the end of which the clock was set; how many bindings have ended."""
        self.elapsed += seconds
        self.wall += seconds + step_s
        return len(self.cache.expire(self.steps.follow()))


@pytest.mark.parametrize("step_s", [86_400.0, -86_400.0, 90.0])
def test_bindings_last_as_long_as_was_promised(step_s, caplog):
    world = World()
    assert world.look(10.0, step_s) == 0
    assert [binding.lifetime_expires_at - world.wall for binding in world.cache.bindings()] == [90.0, 590.0]
    assert world.look(89.0) == 0
    assert world.look(1.5) == 1
    assert world.look(500.0) == 1
    assert [record.getMessage() for record in caplog.records] == [
        f"the clock was set by {step_s:+.1f} s: the lifetimes of 2 bindings follow"
    ]


def test_a_clock_that_drifts_is_not_one_that_is_set(caplog):
    world = World()
    ends = [binding.lifetime_expires_at for binding in world.cache.bindings()]
    for _ in range(50):
        world.look(1.0, 0.4)
    world.tell()
    assert [binding.lifetime_expires_at for binding in world.cache.bindings()] == ends
    assert (world.written, caplog.messages) == ([], [])


def test_what_a_wrong_clock_had_made_endless_ends():
    world = World()
    # Restored from the store at a start with a clock that was years behind, which is set right now.
    world.wall -= 1e9
    world.steps = ClockSteps(world.cache, world._republish, LONGEST_S, lambda: world.wall, lambda: world.elapsed)
    world.look(0.0, 1e9)
    assert [binding.lifetime_expires_at - world.wall for binding in world.cache.bindings()] == [LONGEST_S] * 2


def test_the_store_is_told_once_it_can_be():
    world = World()
    world.tell()
    assert world.written == []
    world.look(1.0, 3600.0)
    world.tell(None)
    world.is_away = True
    world.tell()
    world.is_away = False
    world.look(1.0)
    world.tell()
    world.tell()
    assert world.written == [(LEASE, world.wall, [98.0, 598.0])]


def test_networks_of_mobile_routers_stay_theirs():
    world = World()
    world.look(1.0, 3600.0)
    networks = IPv6Network("2001:db8:701::/64")
    assert world.cache.get(IPv6Address("2001:db8:100::1")).mobile_networks == (networks,)
    assert world.look(100.0) == 1
    world.cache.prefixes.add(IPv6Address("2001:db8:100::9"), (networks,))
