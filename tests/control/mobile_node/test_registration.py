"""The entry of the Binding Update List, state by state."""

from __future__ import annotations

from ipaddress import IPv6Address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.mobile_node.registration import (
    Registration,
    RegistrationState,
    RegistrationTimers,
    SequenceCounter,
    Step,
    Verdict,
    status_slug,
)
from control.mobility.messages import BindingAcknowledgement
from control.mobility.options import BindingRefreshAdvice

HA = IPv6Address("2001:db8:a1::1")
HOME_ADDRESS = IPv6Address("2001:db8:100::11")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c0::11")


def make(lifetime_s=400.0, last=99, now=0.0):
    return Registration(HA, HOME_ADDRESS, lifetime_s, SequenceCounter(last), RegistrationTimers(), Random(1), now)


def send(registration, now):
    assert registration.handle_timer(now) == [Step.SEND]
    return registration.binding_update(CARE_OF_ADDRESS, now)


def accept(registration, now, lifetime_units=100, options=()):
    update = send(registration, now)
    answer = BindingAcknowledgement(0, update.sequence_number, lifetime_units, options=options)
    assert registration.acknowledge(answer, now) is Verdict.ACCEPTED
    return update


@pytest.mark.parametrize(("lifetime_s", "units"), [(0.5, 1), (4, 1), (600, 150), (1e9, 0xFFFF)])
def test_the_lifetime_fits_the_field(lifetime_s, units):
    assert send(make(lifetime_s), 0.0).lifetime_units == units


def test_sequence_numbers_wrap():
    registration = make(last=0xFFFE)
    assert send(registration, 0.0).sequence_number == 0xFFFF
    assert send(registration, 1.5).sequence_number == 0


def test_the_binding_counts_from_when_the_update_was_sent():
    registration = make()
    update = send(registration, 10.0)
    registration.acknowledge(BindingAcknowledgement(0, update.sequence_number, 100), 12.0)
    assert registration.expires_at == 410.0
    assert registration.state is RegistrationState.REGISTERED
    assert 290.0 <= registration.next_timer <= 330.0


def test_the_answer_to_an_earlier_repetition_counts():
    registration = make()
    first = send(registration, 0.0)
    send(registration, 1.5)
    assert registration.acknowledge(BindingAcknowledgement(0, first.sequence_number, 100), 1.6) is Verdict.ACCEPTED
    assert registration.expires_at == 400.0


def test_an_answer_to_nothing_does_not_count():
    registration = make()
    update = send(registration, 0.0)
    stray = BindingAcknowledgement(0, (update.sequence_number + 1) % 65536, 100)
    assert registration.acknowledge(stray, 0.1) is Verdict.UNEXPECTED
    assert not registration.in_force


def test_an_answer_does_not_count_twice():
    registration = make()
    update = accept(registration, 0.0)
    again = BindingAcknowledgement(0, update.sequence_number, 100)
    assert registration.acknowledge(again, 100.0) is Verdict.UNEXPECTED
    assert registration.expires_at == 400.0


def test_refresh_advice_is_taken_when_it_is_earlier():
    registration = make()
    accept(registration, 0.0, options=(BindingRefreshAdvice(10),))
    assert registration.next_timer == 40.0


def test_refresh_advice_later_than_the_lifetime_is_ignored():
    registration = make()
    accept(registration, 0.0, options=(BindingRefreshAdvice(1000),))
    assert registration.next_timer < 400.0


def test_a_refresh_keeps_the_binding_in_force():
    registration = make()
    accept(registration, 0.0)
    update = send(registration, registration.next_timer)
    assert registration.in_force
    assert registration.state is RegistrationState.UPDATING
    registration.acknowledge(BindingAcknowledgement(0, update.sequence_number, 100), 331.0)
    assert registration.expires_at > 600


def test_an_unanswered_refresh_leaves_the_binding_until_its_end():
    registration = make()
    accept(registration, 0.0)
    steps = []
    while registration.next_timer is not None:
        now = registration.next_timer
        for step in registration.handle_timer(now):
            steps.append(step)
            if step is Step.SEND:
                registration.binding_update(CARE_OF_ADDRESS, now)
            if step is Step.UNANSWERED:
                assert registration.in_force
    assert steps == [Step.SEND] * 5 + [Step.UNANSWERED, Step.EXPIRED]
    assert now == 400.0


def test_a_refused_refresh_ends_the_binding():
    registration = make()
    accept(registration, 0.0)
    update = send(registration, 330.0)
    assert registration.acknowledge(BindingAcknowledgement(133, update.sequence_number), 330.1) is Verdict.REFUSED
    assert (registration.state, registration.in_force) == (RegistrationState.ENDED, False)
    assert registration.next_timer is None


def test_leaving():
    registration = make()
    accept(registration, 0.0)
    registration.leave(10.0)
    update = send(registration, 10.0)
    assert update.lifetime_units == 0
    assert registration.in_force, "until the home agent agrees"
    assert registration.acknowledge(BindingAcknowledgement(0, update.sequence_number), 10.1) is Verdict.DEREGISTERED
    assert not registration.in_force


def test_leaving_unanswered():
    registration = make()
    accept(registration, 0.0)
    registration.leave(10.0)
    for now in (10.0, 11.0, 13.0):
        send(registration, now)
    assert registration.handle_timer(17.0) == [Step.LEFT_UNANSWERED]
    assert not registration.in_force


def test_a_number_out_of_window_is_corrected_at_once_but_not_for_ever():
    registration = make(last=99)
    for attempt in range(5):
        send(registration, 0.0)
        verdict = registration.acknowledge(BindingAcknowledgement(135, 5000 + attempt), 0.0)
        assert verdict is (Verdict.RESEND if attempt < 4 else Verdict.UNEXPECTED)
    assert registration.handle_timer(0.0) == []


@given(
    st.lists(
        st.one_of(
            st.builds(
                BindingAcknowledgement,
                status=st.integers(0, 255),
                sequence_number=st.integers(100, 110),
                lifetime_units=st.integers(0, 0xFFFF),
            ),
            st.floats(0.0, 1000.0),
            st.just("leave"),
            st.just("update"),
        ),
        max_size=30,
    )
)
def test_whatever_comes_it_stays_consistent(inputs):
    registration, now = make(), 0.0
    for item in inputs:
        if isinstance(item, float):
            now += item
            for step in registration.handle_timer(now):
                if step is Step.SEND:
                    registration.binding_update(CARE_OF_ADDRESS, now)
        elif item == "leave":
            registration.leave(now)
        elif item == "update":
            registration.update_now(now)
        else:
            registration.acknowledge(item, now)
        timer = registration.next_timer
        if registration.in_force:
            assert timer is not None
            assert timer <= registration.expires_at
        if registration.state in (RegistrationState.UPDATING, RegistrationState.LEAVING):
            assert timer is not None


def test_statuses_have_names():
    assert status_slug(132) == "not-home-subnet"
    assert status_slug(200) == "status-200"
