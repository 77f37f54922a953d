"""The bounds on attempts under way: against a simulated machine that can bear so many and no more."""

from __future__ import annotations

import random
from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.bootstrap.concurrency import AimdConcurrency, ConcurrencyPolicy, FixedConcurrency, GradientConcurrency

ADAPTIVE = [AimdConcurrency, GradientConcurrency]


def serve(
    policy: ConcurrencyPolicy, attempts: int, *, work_s: float, path_s: float, seed: int = 1, loss: float = 0.0
) -> list[int]:
    """A home agent with one CPU that needs ``work_s`` for each attempt, over a path of ``path_s``.

    The CPU does the work of attempts one after the other, and is late by what it has queued.
    Returns the bound after each.
    """
    dice = random.Random(seed)
    now = cpu_free_at = 0.0
    under_way: list[tuple[float, float, bool]] = []
    bounds = []
    for _ in range(attempts):
        while len(under_way) < policy.limit:
            cpu_free_at = max(cpu_free_at, now) + work_s
            lost = dice.random() < loss
            heappush(under_way, (cpu_free_at + path_s * dice.uniform(1.0, 1.1), now, lost))
        ends, began, lost = heappop(under_way)
        now = max(now, ends)
        policy.lagged(max(0.0, cpu_free_at - now - path_s))
        if lost:
            policy.failed(len(under_way) + 1)
        else:
            policy.succeeded(now - began, len(under_way) + 1)
        bounds.append(policy.limit)
    return bounds


def test_a_fixed_bound_stays() -> None:
    assert set(serve(FixedConcurrency(7), 500, work_s=0.01, path_s=0.05)) == {7}


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_an_idle_machine_on_a_long_path_is_let_grow(kind) -> None:
    # 1 ms of work and 200 ms of path: 200 under way keep the CPU busy.
    bounds = serve(kind(1000), 20_000, work_s=0.001, path_s=0.2)
    assert min(bounds[-5000:]) > 100


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_the_first_windows_double_until_something_speaks_against_it(kind) -> None:
    # 1 ms of work and 200 ms of path: with less than 200 under way the CPU is idle at times.
    bounds = serve(kind(1000), 1000, work_s=0.001, path_s=0.2)
    assert max(bounds[:200]) >= 128
    assert max(bounds) <= 512


def test_aimd_takes_a_long_queue_at_the_peers_for_one() -> None:
    policy = AimdConcurrency(1000)
    for _ in range(2000):
        policy.succeeded(0.1 * max(1.0, policy.limit / 20), in_flight=policy.limit)
    assert 20 < policy.limit < 100


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_a_slow_machine_is_not_buried(kind) -> None:
    # 20 ms of work each: ten under way mean a queue of 200 ms.
    bounds = serve(kind(1000, 500), 20_000, work_s=0.02, path_s=0.02)
    assert max(bounds[-5000:]) < 20
    assert min(bounds) >= 1


@pytest.mark.parametrize(("highest", "least"), [(1000, 8), (16, 4), (3, 1)])
@pytest.mark.parametrize("kind", ADAPTIVE)
def test_on_a_machine_that_others_keep_busy_a_handful_is_under_way(kind, highest: int, least: int) -> None:
    policy = kind(highest)
    for _ in range(1000):
        policy.lagged(0.5)
        policy.succeeded(0.5, in_flight=policy.limit)
    assert policy.limit == least


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_scattered_losses_are_no_reason_to_slow_down(kind) -> None:
    bounds = serve(kind(1000), 20_000, work_s=0.001, path_s=0.2, loss=0.05)
    assert min(bounds[-5000:]) > 80


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_failures_all_around_slow_down(kind) -> None:
    bounds = serve(kind(1000, 200), 20_000, work_s=0.001, path_s=0.2, loss=0.6)
    assert max(bounds[-1000:]) < 20


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_being_late_now_and_then_is_another_process_and_being_late_often_is_not(kind) -> None:
    policies = {every: kind(1000) for every in (10, 2)}
    for every, policy in policies.items():
        for number in range(3000):
            policy.lagged(0.5 if number % every == 0 else 0.001)
            policy.succeeded(0.1, in_flight=policy.limit)
    assert policies[10].limit > 200
    assert policies[2].limit < 16


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_a_bound_that_is_not_reached_does_not_grow(kind) -> None:
    policy = kind(1000)
    before = policy.limit
    for _ in range(1000):
        policy.succeeded(0.1, in_flight=2)
    assert policy.limit == before


def test_the_gradient_shrinks_for_delay_alone_and_gets_used_to_a_longer_path() -> None:
    policy = GradientConcurrency(100)
    for _ in range(2000):
        policy.succeeded(0.1, in_flight=policy.limit)
    grown = policy.limit
    for _ in range(800):
        policy.succeeded(1.0, in_flight=policy.limit)
    assert policy.limit < grown / 2
    for _ in range(40_000):
        policy.succeeded(1.0, in_flight=policy.limit)
    assert policy.limit > grown / 2


@pytest.mark.parametrize("kind", ADAPTIVE)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_the_bound_stays_within_its_bounds_whatever_happens(kind, data: st.DataObject) -> None:
    highest = data.draw(st.integers(1, 200))
    policy = kind(highest, data.draw(st.integers(1, highest)))
    events = st.one_of(
        st.tuples(st.just("succeeded"), st.floats(0, 1e6)),
        st.tuples(st.just("failed"), st.none()),
        st.tuples(st.just("lagged"), st.floats(0, 1e3)),
    )
    for what, value in data.draw(st.lists(events, max_size=300)):
        if what == "succeeded":
            policy.succeeded(value, data.draw(st.integers(1, policy.limit)))
        elif what == "failed":
            policy.failed(policy.limit)
        else:
            policy.lagged(value)
        assert 1 <= policy.limit <= highest


def test_bounds_that_let_nothing_happen_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        FixedConcurrency(0)
    for kind in ADAPTIVE:
        with pytest.raises(ValueError, match="from 1 to the highest"):
            kind(0)
