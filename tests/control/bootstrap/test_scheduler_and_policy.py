"""What the scheduler tells the policy of its concurrency, and what that makes of it."""

from __future__ import annotations

from control.bootstrap.concurrency import AimdConcurrency
from tests.control.bootstrap.schedulers import make_scheduler


class Recorder:
    """A policy that only listens."""

    limit = 3

    def __init__(self) -> None:
        self.heard: list[object] = []

    def succeeded(self, delay_s: float, in_flight: int) -> None:
        self.heard.append((delay_s, in_flight))

    def failed(self, in_flight: int) -> None:
        self.heard.append(in_flight)

    def lagged(self, lag_s: float) -> None:
        self.heard.append(f"late by {lag_s}")


def test_the_policy_hears_how_attempts_end_and_obeys_no_refusals() -> None:
    policy = Recorder()
    scheduler = make_scheduler(concurrency=policy)
    for key in "abc":
        scheduler.submit(key, 0.0, 0.0)
    scheduler.start_ready(1.0)
    scheduler.succeeded("a", 1.5)
    scheduler.failed("b", "timeout", 2.0)
    scheduler.failed("c", "peer-refused", 2.0, retry=False)  # an answer, and quick: no sign of too much
    scheduler.observe_lag(0.25)
    scheduler.submit("d", 0.0, 2.0)
    scheduler.succeeded("d", 2.0)  # came by itself: nothing was measured
    assert policy.heard == [(0.5, 3), 2, "late by 0.25"]


def test_a_policy_sees_that_its_bound_is_reached_though_a_part_is_reserved() -> None:
    scheduler = make_scheduler(concurrency=AimdConcurrency(1000, 16), rate_per_s=1e5, reserve=0.2)
    for index in range(2000):
        scheduler.submit(f"mn{index}", 0.0, 0.0)
    now, under_way = 0.0, scheduler.start_ready(0.0)
    assert len(under_way) == 12
    while under_way:
        now += 0.01
        scheduler.succeeded(under_way.pop(0), now)
        under_way += scheduler.start_ready(now)
    assert scheduler.progress(now).peak_in_flight > 40


def test_nodes_that_are_gone_do_not_count_as_overload() -> None:
    policy = AimdConcurrency(64, 16)
    scheduler = make_scheduler(concurrency=policy, rate_per_s=1e5, attempts=1)
    for index in range(200):
        scheduler.submit(f"mn{index}", 0.0, 0.0)
    now = 0.0
    while started := scheduler.start_ready(now):
        now += 40.0
        for key in started:
            scheduler.failed(key, "timeout", now, answered=False)
    assert policy.limit == 16
    assert scheduler.progress(now).given_up == 200
