"""Several home agents take over from one: who claims which of its nodes."""

from __future__ import annotations

import pytest

from control.home_agent.events import TimelineEvent
from tests.control.daemon.members import Member, binding, serving_first


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


MANY = tuple(f"mn{index}" for index in range(1, 10))


def failed_with_many(path, *survivors):
    first = serving_first(path, *(binding(index) for index in range(1, 10)))
    members = [Member(name, path, authorised=MANY, capacity=capacity) for name, capacity in survivors]
    for member in members:
        member.join()
    for now in (1.0, 2.0):
        for member in members:
            member.beat(now)
    return first, members


def identities(member):
    return {node.identity for node in member.recovered}


def test_survivors_divide_the_nodes_by_capacity_though_they_come_one_after_the_other(path):
    _, (large, small) = failed_with_many(path, ("ha2", 200), ("ha3", 100))
    large.beat(3.8)
    small.beat(4.0)
    assert (len(large.recovered), len(small.recovered)) == (6, 3)
    assert identities(large) | identities(small) == {f"{name}@example.org" for name in MANY}
    for now in (5.0, 6.1, 7.0):
        large.beat(now)
        small.beat(now)
    assert (len(large.recovered), len(small.recovered)) == (6, 3)
    assert large.events().count(TimelineEvent.LEASE_LAPSED) == 1
    assert [record.home_agent for record in large.membership.leases] == ["ha2", "ha3"]


def test_a_survivor_that_never_claims_leaves_its_share_to_the_others(path):
    serving_first(path, *(binding(index) for index in range(1, 10)))
    second = Member("ha2", path, authorised=MANY)
    idle = Member("ha3", path, authorised=MANY, take_over=False)
    second.join()
    idle.join()
    for now in (1.0, 2.0, 3.0, 4.0):
        idle.beat(now)
        second.beat(now)
    assert len(second.recovered) == 5
    second.beat(4.9)
    assert len(second.recovered) == 5
    idle.beat(5.0)
    second.beat(5.1)
    assert identities(second) == {f"{name}@example.org" for name in MANY}
    assert idle.recovered == []


def test_the_operator_who_names_an_agent_has_all_its_nodes_moved_here(path):
    _, (second, third) = failed_with_many(path, ("ha2", 100), ("ha3", 100))
    assert second.take_over_from("ha1", 2.5) == 9
    third.beat(4.0)
    assert third.recovered == []
