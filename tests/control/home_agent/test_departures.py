"""Nodes told to leave: at a bounded rate, again until they obey, and no more than the RFC says."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from control.home_agent.departures import DepartureProgress, Departures
from control.mobility.binding_cache import Binding

OTHER = IPv6Address("2001:db8:a2::1")
HOME = [IPv6Address(f"2001:db8:100::{number}") for number in range(1, 6)]
MOVED = IPv6Address("2001:db8:d::1")


class World:
    def __init__(self, rate_per_s=1000.0):
        self.sent = []
        self.named = []
        self.bindings = {home: self.binding(home, IPv6Address(f"2001:db8:c::{n}")) for n, home in enumerate(HOME, 1)}
        self.departures = Departures(self.send, self.bindings.get, rate_per_s)

    def binding(self, home, care_of):
        return Binding(
            home_address=home,
            care_of_address=care_of,
            home_agent=IPv6Address("2001:db8:a1::1"),
            identity="mn",
            lifetime_expires_at=1e9,
            sequence_number=1,
        )

    def send(self, message, home_address, care_of_address, now):
        self.named.append(message.addresses)
        assert not message.bootstrap
        self.sent.append((now, home_address, care_of_address))
        return True

    def run(self, end):
        while (timer := self.departures.next_timer()) is not None and timer <= end:
            self.departures.handle_timer(max(timer, 0.0))


@pytest.fixture
def world():
    return World()


def test_a_silent_node_is_told_at_0_5_and_15_seconds_and_then_no_more(world):
    assert world.departures.begin(HOME[:1], [OTHER]) == 1
    world.run(100.0)
    assert [now for now, _, _ in world.sent] == [0.0, 5.0, 15.0]
    assert world.named == 3 * [(OTHER,)]
    assert world.departures.progress == DepartureProgress(total=1, silent=1)
    assert not world.departures.active


def test_nodes_that_take_the_first_home_agent_of_the_list_are_divided_among_all(world):
    third = IPv6Address("2001:db8:a3::1")
    world.departures.begin(HOME[:4], [OTHER, third])
    world.run(1.0)
    assert world.named == 2 * [(OTHER, third), (third, OTHER)]


def test_who_has_left_is_told_nothing_more(world):
    world.departures.begin(HOME[:2], [OTHER])
    world.run(1.0)
    assert world.departures.gone(HOME[0])
    assert not world.departures.gone(HOME[0])
    world.run(6.0)
    assert [home for _, home, _ in world.sent] == [HOME[0], HOME[1], HOME[1]]
    assert world.departures.progress == DepartureProgress(total=2, left=1, waiting=1)


def test_a_node_is_told_where_it_is_now_and_one_without_a_binding_has_left(world):
    world.departures.begin(HOME[:2], [OTHER])
    world.run(1.0)
    world.bindings[HOME[0]] = world.binding(HOME[0], MOVED)
    del world.bindings[HOME[1]]
    world.run(6.0)
    assert world.sent[-1] == (5.0, HOME[0], MOVED)
    assert world.departures.progress.left == 1


def test_the_rate_is_bounded_and_nobody_is_queued_twice():
    world = World(rate_per_s=2.0)
    assert world.departures.begin(HOME, [OTHER]) == 5
    assert world.departures.begin(HOME, [OTHER]) == 0
    world.run(1.9)
    assert len(world.sent) == 4
    assert [now for now, _, _ in world.sent] == [0.0, 0.5, 1.0, 1.5]


def test_cancelling_ends_it(world):
    world.departures.begin(HOME, [OTHER])
    world.run(0.0)
    world.departures.cancel()
    assert world.departures.next_timer() is None
    assert not world.departures.active


def test_a_node_is_told_64_of_many_home_agents_and_each_is_told_to_some(world):
    many = [IPv6Address(f"2001:db8:a1::{number:x}") for number in range(2, 302)]
    homes = {IPv6Address(f"2001:db8:100::{number:x}"): number for number in range(1, 601)}
    world.bindings.update((home, world.binding(home, MOVED)) for home in homes)
    world.departures.begin(homes, many)
    world.run(4.0)
    assert {len(named) for named in world.named} == {64}
    assert {named[0] for named in world.named} == set(many)
    assert {named.index(named[-1]) for named in world.named} == {63}, "nobody is named twice"
