"""Whom a takeover brings back first."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from control.bootstrap.urgency import urgency
from tests.control.bootstrap.schedulers import make_scheduler

WALL = 1_700_000_000.0
HOUR_S = 3600.0
LONGEST_S = 262_140.0

node = st.tuples(st.floats(0.0, 2 * HOUR_S), st.floats(0.0, LONGEST_S))


def order(nodes: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The nodes as a scheduler with one place begins them, each by how long it was silent and how long it is bound."""
    scheduler = make_scheduler(concurrency=1, rate_per_s=1e6)
    for index, (idle_s, left_s) in enumerate(nodes):
        scheduler.submit(str(index), urgency(WALL - idle_s, WALL + left_s, WALL), 100.0)
    begun = []
    for step in range(len(nodes)):
        (key,) = scheduler.start_ready(100.0 + step)
        scheduler.succeeded(key, 100.0 + step)
        begun.append(nodes[int(key)])
    return begun


@given(st.lists(node, max_size=30))
def test_recent_traffic_comes_first_and_then_the_longest_lifetime(nodes: list[tuple[float, float]]) -> None:
    begun = order(nodes)
    assert sorted(begun) == sorted(nodes)
    for (idle_s, left_s), (later_idle_s, later_left_s) in pairwise(begun):
        minutes, later_minutes = (min(60, int((WALL - (WALL - each)) / 60)) for each in (idle_s, later_idle_s))
        assert minutes <= later_minutes
        if minutes == later_minutes:
            assert left_s >= later_left_s - 0.01


@given(st.floats(0.0, 2 * WALL), st.floats(0.0, 2 * WALL))
def test_nobody_has_to_wait_for_more_than_an_hour_of_others(last_traffic: float, expires_at: float) -> None:
    """Whatever clocks of other machines have made of these times."""
    assert -HOUR_S - 60.0 <= urgency(last_traffic, expires_at, WALL) <= 0.0


def test_a_node_nothing_is_known_of_comes_behind_those_with_traffic() -> None:
    unknown, silent = (urgency(at, WALL + 600.0, WALL) for at in (0.0, WALL - HOUR_S))
    assert unknown == silent > urgency(WALL - HOUR_S + 61.0, WALL + 10.0, WALL)
