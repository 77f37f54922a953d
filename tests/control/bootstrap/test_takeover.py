"""Jobs under the scheduler: started, retried, given up, counted."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from control.bootstrap.job import JobAction, SwitchTimeouts
from control.bootstrap.takeover import NodeToRecover, Takeover
from tests.control.bootstrap.schedulers import make_scheduler


class Driver:
    """Notes what it is told to do."""

    def __init__(self):
        self.performed = []
        self.lost = []

    def perform(self, job, action, now):
        self.performed.append((job.identity, action))

    def given_up(self, node, reason, now):
        self.lost.append((node.identity, reason))

    def started(self):
        return [identity for identity, action in self.performed if action is JobAction.OPEN_IKE]


@pytest.fixture
def driver():
    return Driver()


def make_takeover(driver, *, concurrency=2, attempts=3, total_give_up_after_s=0.0, **options):
    scheduler = make_scheduler(
        concurrency=concurrency,
        rate_per_s=1000.0,
        attempts=attempts,
        give_up_after_s=1000.0,
        total_give_up_after_s=total_give_up_after_s,
    )
    return Takeover(scheduler, driver, timeouts=SwitchTimeouts(1.0, 4.0), **options)


def node(name, priority=0.0, **options):
    return NodeToRecover(
        name, IPv6Address("2001:db8:100::1"), IPv6Address("2001:db8:c::1"), priority=priority, **options
    )


def bring_to_switching(takeover, name, now):
    job = takeover.job(name)
    takeover.ike_established(job, now)
    takeover.mobility_child_established(job, now)
    return job


def test_no_more_jobs_than_allowed_and_the_best_priority_first(driver):
    takeover = make_takeover(driver)
    takeover.submit([node("late", 3.0), node("first", 1.0), node("second", 2.0)], 0.0)
    takeover.handle_timer(0.0)
    assert driver.started() == ["first", "second"]
    assert takeover.binding_registered("first", 1.0)
    takeover.handle_timer(1.0)
    assert driver.started() == ["first", "second", "late"]


def test_a_node_is_queued_once(driver):
    takeover = make_takeover(driver)
    assert takeover.submit([node("a"), node("a")], 0.0) == 1
    takeover.handle_timer(0.0)
    assert takeover.submit([node("a")], 0.0) == 0


def test_a_node_that_came_by_itself_ends_its_job(driver):
    takeover = make_takeover(driver)
    takeover.submit([node("a")], 0.0)
    takeover.handle_timer(0.0)
    assert takeover.binding_registered("a", 0.5)
    assert not takeover.active
    assert takeover.job("a") is None
    assert not takeover.binding_registered("a", 0.6)


def test_a_failed_attempt_is_repeated_and_the_last_one_gives_the_node_up(driver):
    takeover = make_takeover(driver, attempts=3)
    takeover.submit([node("a")], 0.0)
    now = 0.0
    while takeover.active:
        takeover.handle_timer(now)
        if (job := takeover.job("a")) is not None:
            takeover.job_failed(job, "timeout", now)
        else:
            now = takeover.next_timer()
    assert driver.started() == ["a"] * 3
    assert driver.lost == [("a", "timeout")]
    assert takeover.failures == {"timeout": 3}


def test_a_failure_of_trust_is_not_repeated(driver):
    takeover = make_takeover(driver)
    takeover.submit([node("a")], 0.0)
    takeover.handle_timer(0.0)
    takeover.job_failed(takeover.job("a"), "authentication-failed", 0.1)
    assert driver.lost == [("a", "authentication-failed")]


def test_the_switch_is_repeated_by_the_timer_until_the_binding_update_comes(driver):
    takeover = make_takeover(driver)
    takeover.submit([node("a")], 0.0)
    takeover.handle_timer(0.0)
    job = bring_to_switching(takeover, "a", 0.2)
    assert takeover.next_timer() == pytest.approx(1.2)
    takeover.handle_timer(1.2)
    assert job.switches_sent == 2
    takeover.binding_registered("a", 1.3)
    assert takeover.next_timer() is None or takeover.next_timer() > 1.3
    takeover.handle_timer(10.0)
    assert job.switches_sent == 2


def test_a_job_from_an_earlier_attempt_has_no_say_any_more(driver):
    takeover = make_takeover(driver)
    takeover.submit([node("a")], 0.0)
    takeover.handle_timer(0.0)
    old = takeover.job("a")
    takeover.job_failed(old, "timeout", 0.0)
    takeover.handle_timer(100.0)
    assert takeover.job("a") is not old
    takeover.job_failed(old, "timeout", 100.0)
    assert takeover.job("a") is not None
    assert takeover.failures == {"timeout": 1}


def test_handshakes_are_measured_from_the_start_of_the_attempt(driver):
    seen = []
    takeover = make_takeover(driver, observe_handshake=seen.append, sample_limit=1)
    takeover.submit([node("a"), node("b")], 5.0)
    takeover.handle_timer(5.0)
    bring_to_switching(takeover, "a", 5.25)
    bring_to_switching(takeover, "b", 5.5)
    assert seen == [0.25, 0.5]
    assert takeover.handshake_s == [0.25]


def test_cancelling_closes_what_is_under_way_and_forgets_the_rest(driver):
    takeover = make_takeover(driver, concurrency=1)
    takeover.submit([node("a"), node("b")], 0.0)
    takeover.handle_timer(0.0)
    takeover.cancel(1.0)
    assert not takeover.active
    assert driver.performed == [("a", JobAction.OPEN_IKE), ("a", JobAction.CLOSE_IKE)]
    takeover.handle_timer(2.0)
    assert driver.started() == ["a"]


def test_a_takeover_past_its_total_time_is_given_up(driver):
    takeover = make_takeover(driver, concurrency=1, total_give_up_after_s=5.0)
    takeover.submit([node("a"), node("b")], 0.0)
    takeover.handle_timer(0.0)
    takeover.handle_timer(5.0)
    assert not takeover.active
    assert driver.performed == [("a", JobAction.OPEN_IKE), ("a", JobAction.CLOSE_IKE)]
    assert driver.lost == [("a", "total-time-exhausted"), ("b", "total-time-exhausted")]


def test_named_nodes_are_cancelled_and_the_others_go_on(driver):
    takeover = make_takeover(driver, concurrency=1)
    takeover.submit([node("a"), node("b")], 0.0)
    takeover.handle_timer(0.0)
    assert takeover.cancel(1.0, ["a", "unknown"]) == 1
    takeover.handle_timer(1.0)
    assert driver.started() == ["a", "b"]


def test_while_it_is_paused_nothing_begins(driver):
    takeover = make_takeover(driver)
    takeover.pause()
    takeover.submit([node("a")], 0.0)
    takeover.handle_timer(0.0)
    assert (driver.started(), takeover.paused) == ([], True)
    takeover.resume()
    takeover.handle_timer(1.0)
    assert driver.started() == ["a"]
