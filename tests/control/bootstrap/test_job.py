"""The state machine of one rebootstrap (draft-li-mip6-ha-init-bootstrap-00 section 4.1)."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from control.bootstrap.job import JobAction, JobState, RebootstrapJob, SwitchTimeouts, init_tries


def make_job(**options):
    return RebootstrapJob("mn1@example.org", IPv6Address("2001:db8:100::1"), IPv6Address("2001:db8:c::1"), **options)


def switching_job(**options):
    job = make_job(**options)
    job.start(0.0)
    job.ike_established()
    job.mobility_child_established(0.5)
    return job


def test_the_happy_path_takes_the_steps_of_the_draft_in_order():
    job = make_job()
    assert job.start(0.0) is JobAction.OPEN_IKE
    assert job.ike_established() is JobAction.CREATE_MOBILITY_CHILD
    assert job.mobility_child_established(0.5) is JobAction.SEND_HOME_AGENT_SWITCH
    job.binding_registered()
    assert job.state is JobState.RECOVERED
    assert job.next_timer is None


def test_events_out_of_order_change_nothing():
    job = make_job()
    assert job.ike_established() is None
    assert job.mobility_child_established(0.0) is None
    assert job.state is JobState.WAITING
    job.start(0.0)
    assert job.start(1.0) is None
    assert job.mobility_child_established(1.0) is None
    assert job.state is JobState.KEY_EXCHANGE


def test_the_switch_is_repeated_with_doubling_time_outs_and_then_given_up():
    job = switching_job(timeouts=SwitchTimeouts(initial_s=1.0, maximum_s=4.0))
    sent_at = []
    while not job.finished:
        now = job.next_timer
        if job.handle_timer(now) is JobAction.SEND_HOME_AGENT_SWITCH:
            sent_at.append(now)
    assert sent_at == [1.5, 3.5]
    assert job.switches_sent == 3
    assert (job.state, job.failure) == (JobState.FAILED, "no-binding-update")


def test_a_timer_that_comes_early_does_nothing():
    job = switching_job()
    assert job.handle_timer(job.next_timer - 0.001) is None
    assert job.switches_sent == 1


@pytest.mark.parametrize("steps", [0, 1, 2, 3])
def test_a_failure_at_any_step_closes_the_ike_sa_and_keeps_its_reason(steps):
    job = make_job()
    for step in (
        lambda: job.start(0.0),
        job.ike_established,
        lambda: job.mobility_child_established(0.5),
    )[:steps]:
        step()
    assert job.failed("timeout") is JobAction.CLOSE_IKE
    assert (job.state, job.failure, job.next_timer) == (JobState.FAILED, "timeout", None)
    assert job.failed("again") is None
    job.binding_registered()
    assert job.state is JobState.FAILED


def test_a_node_that_comes_by_itself_is_recovered_before_any_switch():
    job = make_job()
    job.start(0.0)
    job.binding_registered()
    assert job.state is JobState.RECOVERED
    assert job.ike_established() is None


def test_renewing_security_associations_needs_no_switch():
    job = make_job(switch=False)
    job.start(0.0)
    job.ike_established()
    assert job.mobility_child_established(0.5) is None
    assert job.state is JobState.RECOVERED


def test_patience_grows_from_attempt_to_attempt_and_is_all_there_is_at_the_last():
    assert [init_tries(attempt, 7) for attempt in (1, 2, 3, 4, None)] == [3, 5, 7, 7, 7]
    assert init_tries(1, 2) == 2
