"""The scheduler under every kind of luck: bounds are never passed, and every key comes to an end."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.bootstrap.scheduler import GiveUpCause, RateGate, Scheduler
from tests.control.bootstrap.schedulers import make_scheduler


@dataclass
class World:
    """Runs a scheduler on a simulated clock; attempts take a while and succeed or fail at random."""

    scheduler: Scheduler
    dice: random.Random
    success: float = 0.5
    hopeless: float = 0.0
    longest_s: float = 2.0
    now: float = 100.0
    started: list[tuple[float, str]] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    under_way: list[tuple[float, str]] = field(default_factory=list)
    most_under_way: int = 0
    rounds: int = 0

    def run(self) -> None:
        while True:
            timer = self.scheduler.next_timer()
            ends = self.under_way[0][0] if self.under_way else None
            if timer is None and ends is None:
                return
            self.now = max(self.now, min(t for t in (timer, ends) if t is not None))
            self.step()

    def step(self) -> None:
        self.rounds += 1
        while self.under_way and self.under_way[0][0] <= self.now:
            self.settle(heappop(self.under_way)[1])
        for key in self.scheduler.start_ready(self.now):
            self.started.append((self.now, key))
            heappush(self.under_way, (self.now + self.dice.uniform(0.0, self.longest_s), key))
        self.most_under_way = max(self.most_under_way, len(self.under_way))
        timer = self.scheduler.next_timer()
        assert timer is None or timer > self.now, "something could have been begun and was not"

    def settle(self, key: str) -> None:
        if self.dice.random() < self.success:
            self.scheduler.succeeded(key, self.now)
            self.recovered.append(key)
        elif self.scheduler.failed(key, "timeout", self.now, retry=self.dice.random() >= self.hopeless):
            self.given_up.append(key)


@given(
    seed=st.integers(0, 2**32),
    keys=st.integers(1, 60),
    concurrency=st.integers(1, 10),
    rate_per_s=st.floats(0.5, 500.0),
    attempts=st.integers(1, 6),
    give_up_after_s=st.floats(0.1, 60.0),
    success=st.floats(0.0, 1.0),
    hopeless=st.floats(0.0, 0.3),
)
def test_every_key_ends_and_no_bound_is_passed(
    seed: int,
    keys: int,
    concurrency: int,
    rate_per_s: float,
    attempts: int,
    give_up_after_s: float,
    success: float,
    hopeless: float,
) -> None:
    dice = random.Random(seed)
    scheduler = make_scheduler(
        concurrency=concurrency,
        rate_per_s=rate_per_s,
        attempts=attempts,
        give_up_after_s=give_up_after_s,
        random=random.Random(seed + 1),
    )
    world = World(scheduler, dice, success, hopeless)
    names = [f"mn{n}" for n in range(keys)]
    for name in names:
        assert scheduler.submit(name, dice.uniform(-5, 5), world.now)
        assert not scheduler.submit(name, -100.0, world.now)
    world.run()

    assert sorted(world.recovered + world.given_up) == sorted(names)
    assert set(scheduler.given_up) == set(world.given_up)
    assert max(Counter(key for _, key in world.started).values()) <= attempts
    assert world.most_under_way <= concurrency
    assert scheduler.progress(world.now).peak_in_flight == world.most_under_way
    # Within any time t, no more than a burst and rate * t are begun.
    times = [time for time, _ in world.started]
    burst = max(1.0, rate_per_s / 10)
    for index, begin in enumerate(times):
        for later in range(index, len(times)):
            assert later - index + 1 <= burst + rate_per_s * (times[later] - begin) + 1e-6
    # A round of the simulation begins or ends something: it never spins.
    assert world.rounds <= 3 * len(world.started) + 2


@settings(max_examples=12)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_key_of_low_priority_has_its_turn_however_many_others_come(seed: int, concurrency: int) -> None:
    """Better keys arrive faster than they can be tried, for ever; a priority is worth seconds of waiting, no more."""
    dice = random.Random(seed)
    scheduler = make_scheduler(concurrency=concurrency, rate_per_s=20.0)
    world = World(scheduler, dice, success=0.9, longest_s=0.2)
    scheduler.submit("patient", 30.0, world.now)
    submitted = 0
    while "patient" not in (key for _, key in world.started):
        for _ in range(4):
            submitted += 1
            scheduler.submit(f"pushy{submitted}", 0.0, world.now)
        world.step()
        world.now += 0.1
        assert world.now < 100.0 + 200.0
    assert world.now >= 100.0 + 29.0


def test_priorities_then_order_of_submission() -> None:
    scheduler = make_scheduler(concurrency=10, rate_per_s=1000.0)
    for key, priority in (("c", 5.0), ("a", -5.0), ("b1", 0.0), ("b2", 0.0)):
        scheduler.submit(key, priority, 100.0)
    assert scheduler.start_ready(100.0) == ["a", "b1", "b2", "c"]


def test_concurrency_holds_back_until_an_attempt_ends() -> None:
    scheduler = make_scheduler(concurrency=2, rate_per_s=1000.0)
    for n in range(4):
        scheduler.submit(f"mn{n}", 0.0, 100.0)
    assert scheduler.start_ready(100.0) == ["mn0", "mn1"]
    assert scheduler.next_timer() is None
    scheduler.succeeded("mn0", 101.0)
    timer = scheduler.next_timer()
    assert timer is not None
    assert timer <= 101.0
    assert scheduler.start_ready(101.0) == ["mn2"]


def test_the_rate_holds_back_and_the_timer_says_how_long() -> None:
    scheduler = make_scheduler(concurrency=100, rate_per_s=2.0)
    for n in range(3):
        scheduler.submit(f"mn{n}", 0.0, 100.0)
    assert scheduler.start_ready(100.0) == ["mn0"]
    assert scheduler.next_timer() == 100.5
    assert scheduler.start_ready(100.49) == []
    assert scheduler.start_ready(100.5) == ["mn1"]
    assert scheduler.start_ready(200.0) == ["mn2"]


@given(st.integers(0, 2**32))
def test_waits_between_attempts_are_drawn_from_zero_to_the_doubling_ceiling(seed: int) -> None:
    scheduler = make_scheduler(attempts=7, give_up_after_s=1e9, random=random.Random(seed))
    scheduler.submit("mn", 0.0, 100.0)
    now = 100.0
    for ceiling in (1.0, 2.0, 4.0, 8.0, 8.0, 8.0):
        assert scheduler.start_ready(now) == ["mn"]
        now += 1.0
        assert not scheduler.failed("mn", "timeout", now)
        timer = scheduler.next_timer()
        assert timer is not None
        assert now <= timer <= now + ceiling
        assert timer == now or scheduler.start_ready(timer - 1e-6) == []
        now = timer
    assert scheduler.start_ready(now) == ["mn"]
    assert scheduler.failed("mn", "timeout", now)


def test_waits_use_the_whole_range() -> None:
    waits = []
    for seed in range(300):
        scheduler = make_scheduler(random=random.Random(seed))
        scheduler.submit("mn", 0.0, 100.0)
        scheduler.start_ready(100.0)
        scheduler.failed("mn", "timeout", 100.0)
        timer = scheduler.next_timer()
        assert timer is not None
        waits.append(timer - 100.0)
    assert min(waits) < 0.05
    assert max(waits) > 0.95
    assert 0.4 < sum(waits) / len(waits) < 0.6


def test_gives_up_after_the_last_attempt_with_its_reason() -> None:
    scheduler = make_scheduler(attempts=2)
    scheduler.submit("mn", 0.0, 100.0)
    scheduler.start_ready(100.0)
    assert not scheduler.failed("mn", "timeout", 101.0)
    assert scheduler.start_ready(110.0) == ["mn"]
    assert scheduler.failed("mn", "no-binding-update", 111.0)
    given_up = scheduler.given_up["mn"]
    assert (given_up.cause, given_up.reason, given_up.attempts) == (GiveUpCause.ATTEMPTS, "no-binding-update", 2)
    assert scheduler.reasons == {"no-binding-update": 1}
    assert scheduler.next_timer() is None


def test_gives_up_at_once_where_another_attempt_cannot_help() -> None:
    scheduler = make_scheduler()
    scheduler.submit("mn", 0.0, 100.0)
    scheduler.start_ready(100.0)
    assert scheduler.failed("mn", "authentication-failed", 101.0, retry=False)
    assert scheduler.given_up["mn"].cause is GiveUpCause.NOT_RETRYABLE


def test_gives_up_when_attempts_have_taken_too_long() -> None:
    scheduler = make_scheduler(attempts=100, give_up_after_s=60.0)
    scheduler.submit("mn", 0.0, 100.0)
    scheduler.start_ready(100.0)
    assert not scheduler.failed("mn", "timeout", 130.0)
    assert scheduler.start_ready(140.0) == ["mn"]
    assert scheduler.failed("mn", "timeout", 175.0)
    assert scheduler.given_up["mn"].cause is GiveUpCause.TIME


def test_waits_between_attempts_count_as_time_spent() -> None:
    scheduler = make_scheduler(attempts=1000, backoff_initial_s=20.0, backoff_max_s=20.0, give_up_after_s=60.0)
    scheduler.submit("mn", 0.0, 100.0)
    now = 100.0
    while True:
        assert scheduler.start_ready(now) == ["mn"]
        assert now < 100.0 + 60.0
        if scheduler.failed("mn", "unreachable", now):  # attempts that take no time at all
            break
        timer = scheduler.next_timer()
        assert timer is not None
        now = max(now, timer)
    assert scheduler.given_up["mn"].cause is GiveUpCause.TIME


def test_waiting_for_a_turn_does_not_count_as_time_spent() -> None:
    """With 100,000 nodes the queue alone takes longer than any node may."""
    scheduler = make_scheduler(concurrency=1, attempts=100, give_up_after_s=60.0)
    scheduler.submit("mn", 0.0, 100.0)
    scheduler.submit("slow", 0.5, 100.0)
    scheduler.start_ready(100.0)
    assert not scheduler.failed("mn", "timeout", 101.0)
    assert scheduler.start_ready(101.0) == ["slow"]
    scheduler.succeeded("slow", 500.0)
    assert scheduler.start_ready(500.0) == ["mn"]
    assert not scheduler.failed("mn", "timeout", 501.0)


def test_a_node_that_comes_by_itself_is_not_tried() -> None:
    scheduler = make_scheduler(concurrency=1)
    for key in ("a", "b", "c"):
        scheduler.submit(key, 0.0, 100.0)
    scheduler.succeeded("b", 100.0)
    assert scheduler.start_ready(100.0) == ["a"]
    scheduler.succeeded("a", 100.1)
    assert scheduler.start_ready(100.1) == ["c"]
    scheduler.failed("c", "timeout", 100.2)
    scheduler.succeeded("c", 100.2)
    assert scheduler.next_timer() is None
    assert scheduler.start_ready(1000.0) == []
    assert scheduler.recovered_total == 3


def test_pausing_begins_nothing_and_forgets_nothing() -> None:
    scheduler = make_scheduler()
    scheduler.submit("a", 0.0, 100.0)
    scheduler.submit("b", 0.0, 100.0)
    assert scheduler.start_ready(100.0) == ["a", "b"]
    scheduler.pause()
    scheduler.submit("c", 0.0, 100.0)
    scheduler.failed("a", "timeout", 101.0)
    scheduler.succeeded("b", 101.0)
    assert scheduler.next_timer() is None
    assert scheduler.start_ready(200.0) == []
    assert scheduler.progress(200.0).eta_s is None
    scheduler.resume()
    timer = scheduler.next_timer()
    assert timer is not None
    assert timer <= 200.0
    assert sorted(scheduler.start_ready(200.0)) == ["a", "c"]


def test_cancelling_frees_the_place_and_late_reports_change_nothing() -> None:
    scheduler = make_scheduler(concurrency=1)
    for key in ("a", "b", "c"):
        scheduler.submit(key, 0.0, 100.0)
    assert scheduler.start_ready(100.0) == ["a"]
    assert scheduler.cancel("a", "operator")
    assert scheduler.cancel("b")
    assert not scheduler.cancel("b")
    assert {key: (g.cause, g.reason, g.attempts) for key, g in scheduler.given_up.items()} == {
        "a": (GiveUpCause.CANCELLED, "operator", 1),
        "b": (GiveUpCause.CANCELLED, "cancelled", 0),
    }
    assert not scheduler.failed("a", "timeout", 101.0)
    scheduler.succeeded("a", 101.0)
    assert scheduler.recovered_total == 0
    assert scheduler.start_ready(101.0) == ["c"]
    assert scheduler.progress(101.0).in_flight == 1


def test_a_failure_reported_for_a_key_that_waits_changes_nothing() -> None:
    scheduler = make_scheduler()
    scheduler.submit("a", 0.0, 100.0)
    assert not scheduler.failed("a", "timeout", 100.0)
    assert scheduler.start_ready(100.0) == ["a"]


def test_progress_counts_a_round_and_the_totals_go_on() -> None:
    scheduler = make_scheduler(concurrency=10, rate_per_s=1000.0, attempts=1)
    for n in range(6):
        scheduler.submit(f"mn{n}", 0.0, 100.0)
    progress = scheduler.progress(100.0)
    assert (progress.total, progress.waiting, progress.in_flight, progress.eta_s) == (6, 6, 0, None)
    started = scheduler.start_ready(100.0)
    scheduler.succeeded(started[0], 101.0)
    scheduler.failed(started[1], "timeout", 102.0)
    progress = scheduler.progress(102.0)
    assert (progress.total, progress.recovered, progress.given_up, progress.in_flight) == (6, 1, 1, 4)
    assert progress.eta_s == pytest.approx(4.0)  # one a second so far, four left
    for key in started[2:]:
        scheduler.succeeded(key, 103.0)
    progress = scheduler.progress(103.0)
    assert (progress.in_flight, progress.waiting, progress.eta_s, progress.peak_in_flight) == (0, 0, 0.0, 6)

    scheduler.submit("again", 0.0, 500.0)
    progress = scheduler.progress(500.0)
    assert (progress.total, progress.recovered, progress.given_up, progress.peak_in_flight) == (1, 0, 0, 0)
    assert (scheduler.recovered_total, scheduler.given_up_total) == (5, 1)


def test_a_key_given_up_may_be_submitted_again() -> None:
    scheduler = make_scheduler(attempts=1)
    scheduler.submit("mn", 0.0, 100.0)
    scheduler.submit("other", 0.0, 100.0)
    scheduler.start_ready(100.0)
    assert scheduler.failed("mn", "timeout", 101.0)
    assert scheduler.submit("mn", 0.0, 102.0)
    assert "mn" not in scheduler.given_up
    assert scheduler.progress(102.0).total == 2
    assert scheduler.start_ready(102.0) == ["mn"]


def test_the_eta_never_promises_more_than_the_rate_allows() -> None:
    scheduler = make_scheduler(concurrency=1000, rate_per_s=100.0)
    for n in range(1000):
        scheduler.submit(f"mn{n}", 0.0, 100.0)
    for key in scheduler.start_ready(100.0):
        scheduler.succeeded(key, 100.001)
    eta_s = scheduler.progress(100.001).eta_s
    assert eta_s is not None
    assert eta_s >= 9.9


def test_keys_settled_while_they_wait_do_not_pile_up() -> None:
    scheduler = make_scheduler(concurrency=1)
    scheduler.submit("blocker", 0.0, 100.0)
    scheduler.start_ready(100.0)
    for n in range(5000):
        scheduler.submit(f"mn{n}", 0.0, 100.0)
        scheduler.succeeded(f"mn{n}", 100.0)
    assert len(scheduler._ready) < 200


def test_twenty_thousand_keys_end() -> None:
    scheduler = make_scheduler(concurrency=500, rate_per_s=5000.0, attempts=3)
    world = World(scheduler, random.Random(3), success=0.8)
    for n in range(20_000):
        scheduler.submit(f"mn{n}", float(n % 7), world.now)
    world.run()
    assert len(world.recovered) + len(world.given_up) == 20_000
    assert world.most_under_way == 500
    times = [time for time, _ in world.started]
    busiest = max(bisect_right(times, begin + 1.0) - index for index, begin in enumerate(times))
    assert busiest <= 5000 + 500 + 1


@given(st.floats(0.1, 1e5), st.floats(1.0, 100.0), st.lists(st.floats(0.0, 3.0), max_size=40))
def test_the_gate_is_open_exactly_when_it_says(rate_per_s: float, burst: float, waits: list[float]) -> None:
    gate, now = RateGate(rate_per_s, burst), 100.0
    for wait in waits:
        now = max(now + wait, gate.opens_at)
        gate.take(now)
        assert gate.opens_at <= now + 1.0 / rate_per_s + 1e-9


@pytest.mark.parametrize("changes", [{"concurrency": 0}, {"attempts": 0}, {"rate_per_s": 0.0}])
def test_bounds_that_let_nothing_happen_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        make_scheduler(**changes)


def test_failed_home_agents_take_turns() -> None:
    scheduler = make_scheduler(concurrency=4, rate_per_s=1000.0)
    for number in range(20):
        scheduler.submit(f"large-{number}", 0.0, 0.0, "ha1")
    scheduler.submit("small-0", 0.0, 5.0, "ha2")  # long after, and of no better priority
    scheduler.submit("small-1", 0.0, 5.0, "ha2")
    assert scheduler.start_ready(10.0) == ["large-0", "small-0", "large-1", "small-1"]


def test_a_reserve_is_left_to_nodes_that_come_by_themselves() -> None:
    others = 0
    scheduler = make_scheduler(concurrency=10, rate_per_s=1000.0, reserve=0.2, others_in_flight=lambda: others)
    for number in range(20):
        scheduler.submit(str(number), 0.0, 0.0)
    others = 2
    assert len(scheduler.start_ready(1.0)) == 8  # the two are within the reserve
    others = 5
    for number in range(4):
        scheduler.succeeded(str(number), 1.0)
    assert len(scheduler.start_ready(2.0)) == 1  # 10 less 5 of theirs less 4 of ours
    others = 50
    assert scheduler.limit == 1  # never nothing


def test_what_is_left_when_the_total_time_is_over_is_given_up() -> None:
    scheduler = make_scheduler(concurrency=2, total_give_up_after_s=10.0)
    for key in "abc":
        scheduler.submit(key, 0.0, 100.0)
    assert scheduler.start_ready(100.0) == ["a", "b"]
    scheduler.succeeded("a", 101.0)
    assert scheduler.give_up_overdue(109.9) == []
    assert scheduler.start_ready(105.0) == ["c"]
    assert scheduler.next_timer() == 110.0
    assert scheduler.give_up_overdue(110.0) == ["b", "c"]
    assert {given.cause for given in scheduler.given_up.values()} == {GiveUpCause.TOTAL_TIME}
    assert scheduler.next_timer() is None
