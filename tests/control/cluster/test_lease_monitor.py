"""When to renew, whom to call dead, and that neither clock fools the monitor."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from control.cluster.lease_monitor import LeaseAction, LeaseMonitor
from control.cluster.store import Lease, LeaseRecord

EPOCH = 1_700_000_000.0
OTHER = LeaseRecord("ha1", IPv6Address("2001:db8:a1::1"), 1, EPOCH + 3.0)
OWN = LeaseRecord("ha2", IPv6Address("2001:db8:a2::1"), 2, EPOCH + 3.0)


def monitor() -> LeaseMonitor:
    return LeaseMonitor("ha2", lease_s=3.0, heartbeat_s=1.0)


def test_acquires_at_once_and_then_renews_each_heartbeat() -> None:
    watch = monitor()
    assert watch.next_timer() <= 100.0
    assert watch.handle_timer(100.0) is LeaseAction.ACQUIRE
    watch.acquired(Lease("ha2", 2, EPOCH + 3.0), 100.0)
    assert watch.next_timer() == 101.0
    assert watch.handle_timer(100.9) is None
    assert watch.handle_timer(101.0) is LeaseAction.RENEW


def test_a_lease_not_renewed_is_not_relied_upon() -> None:
    watch = monitor()
    assert not watch.holds_lease(100.0)
    watch.handle_timer(100.0)
    watch.acquired(Lease("ha2", 2, EPOCH + 1e9), 100.0)  # whatever the wall clock says
    assert watch.holds_lease(102.9)
    assert not watch.holds_lease(103.0)
    watch.acquired(Lease("ha2", 2, EPOCH + 1e9), 103.5)
    assert watch.holds_lease(106.4)


def test_a_failing_store_is_asked_again_before_the_lease_runs_out() -> None:
    watch = monitor()
    watch.handle_timer(100.0)
    watch.acquired(Lease("ha2", 2, EPOCH + 3.0), 100.0)
    now, attempts = watch.next_timer(), 0
    while now < 103.0:
        assert watch.handle_timer(now) is LeaseAction.RENEW
        watch.store_failed(now)
        attempts += 1
        assert watch.next_timer() > now
        now = watch.next_timer()
    assert attempts >= 4


def test_a_lost_lease_is_acquired_anew_but_not_in_a_race() -> None:
    watch = monitor()
    watch.handle_timer(100.0)
    watch.acquired(Lease("ha2", 2, EPOCH + 3.0), 100.0)
    assert watch.handle_timer(101.0) is LeaseAction.RENEW
    watch.lost(101.0)
    assert watch.lease is None
    assert not watch.holds_lease(101.0)
    assert watch.next_timer() == 102.0
    assert watch.handle_timer(102.0) is LeaseAction.ACQUIRE


def test_a_dead_agent_is_noticed_when_its_lease_ends_not_a_heartbeat_later() -> None:
    watch = monitor()
    watch.handle_timer(100.0)
    assert watch.observe([OTHER, OWN], 100.0, EPOCH) == []
    watch.handle_timer(101.0)
    assert watch.observe([OTHER, OWN], 101.0, EPOCH + 1.0) == []
    watch.handle_timer(102.5)
    assert watch.observe([OTHER, OWN], 102.5, EPOCH + 2.5) == []
    assert watch.next_timer() == 103.0
    assert watch.observe([OTHER, OWN], 103.0, EPOCH + 3.0) == [OTHER]
    assert watch.observe([OTHER, OWN], 104.0, EPOCH + 4.0) == [OTHER]  # again, in case the claim failed
    assert watch.observe([OWN], 105.0, EPOCH + 5.0) == []


def test_a_jump_of_the_wall_clock_kills_nobody() -> None:
    watch = monitor()
    record, wall = OTHER, EPOCH
    for second in range(10):
        now = 100.0 + second
        wall += 1.0 + (3600.0 if second == 5 else 0.0)
        assert watch.observe([record], now, wall) == []
        record = replace(record, expires_at=wall + 0.5 + 3.0)  # it renews half a second later


def test_a_lease_found_lapsed_at_the_start_gets_a_grace_period() -> None:
    watch = monitor()
    assert watch.observe([OTHER], 100.0, EPOCH + 1000.0) == []
    assert watch.observe([OTHER], 101.9, EPOCH + 1001.9) == []
    assert watch.observe([OTHER], 102.0, EPOCH + 1002.0) == [OTHER]


def test_the_longest_dead_comes_first() -> None:
    watch = monitor()
    later = replace(OTHER, home_agent="ha0", expires_at=EPOCH + 4.0)
    watch.observe([later, OTHER], 100.0, EPOCH)
    assert watch.observe([later, OTHER], 109.0, EPOCH + 9.0) == []
    assert watch.observe([later, OTHER], 110.0, EPOCH + 10.0) == [OTHER, later]


def test_who_first_reaches_a_store_that_was_away_takes_nobody_for_dead() -> None:
    """All had no store for longer than a lease; the other one renews a moment after our look."""
    watch = monitor()
    watch.observe([OTHER], 100.0, EPOCH)
    for now in (101.0, 104.0, 110.0):
        watch.store_failed(now)
    assert watch.observe([OTHER], 110.25, EPOCH + 10.25) == []
    assert watch.next_timer() <= 111.25
    renewed = replace(OTHER, expires_at=EPOCH + 10.5 + 3.0)
    assert watch.observe([renewed], 111.25, EPOCH + 11.25) == []


def test_who_died_while_the_store_was_away_is_noticed_a_heartbeat_after_it_is_back() -> None:
    watch = monitor()
    watch.observe([OTHER], 100.0, EPOCH)
    watch.store_failed(101.0)
    assert watch.observe([OTHER], 110.0, EPOCH + 10.0) == []
    assert watch.observe([OTHER], 111.0, EPOCH + 11.0) == [OTHER]


def test_who_was_not_run_for_long_takes_nobody_for_dead() -> None:
    watch = monitor()
    watch.observe([OTHER], 100.0, EPOCH)
    assert watch.observe([OTHER], 110.0, EPOCH + 10.0) == []
    assert watch.observe([OTHER], 111.0, EPOCH + 11.0) == [OTHER]


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=30), st.floats(0.0, 2.9))
def test_every_death_is_noticed_within_a_lease_and_no_life_is_missed(steps: list[float], dies_after: float) -> None:
    """The other agent renews each second until it dies; our rounds come at irregular moments."""
    watch = monitor()
    now = 100.0
    for step in [*steps, *([1.0] * 8)]:
        wall = EPOCH + (now - 100.0)
        last_renewal = EPOCH + min(int(now - 100.0), int(dies_after))
        record = replace(OTHER, expires_at=last_renewal + 3.0)
        dead = watch.observe([record], now, wall)
        if wall < record.expires_at:
            assert dead == []
        if now > 100.0 + 8.0:
            assert dead == [record]
        now += step


@pytest.mark.parametrize("heartbeat_s", [0.0, -1.0, 1.6])
def test_a_heartbeat_that_does_not_fit_the_lease_is_refused(heartbeat_s: float) -> None:
    with pytest.raises(ValueError, match="heartbeat"):
        LeaseMonitor("ha2", lease_s=3.0, heartbeat_s=heartbeat_s)
