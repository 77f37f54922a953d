"""Clocks that do not agree are found by the leases."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest

from control.cluster.clock_watch import ClockWatch
from control.cluster.store import LeaseRecord

LEASE_S = 3.0


def told(ahead_s, rounds=10, *, watch=None, begin=0, missed=()):
    """What a watch tells while a peer, whose clock is ahead, renews its lease every second."""
    watch = watch or ClockWatch("ha1", LEASE_S)
    found = []
    for now in range(begin, begin + rounds):
        if now in missed:
            continue
        leases = [
            LeaseRecord("ha1", IPv6Address("2001:db8::1"), 1, 1e9),
            LeaseRecord("ha2", IPv6Address("2001:db8::2"), 2, now - 0.3 + ahead_s + LEASE_S),
        ]
        found += watch.look(leases, now)
    return found


@pytest.mark.parametrize("ahead_s", [0.0, 1.0, 2.9, -1.0, -2.5])
def test_clocks_that_agree_well_enough(ahead_s):
    assert told(ahead_s) == []


@pytest.mark.parametrize("ahead_s", [3600.0, 4.0, -4.0, -3600.0])
def test_one_that_does_not_is_told_of_once(ahead_s):
    [(home_agent, seconds)] = told(ahead_s)
    assert home_agent == "ha2"
    assert seconds == pytest.approx(ahead_s, abs=1.0)


def test_again_once_it_had_agreed():
    watch = ClockWatch("ha1", LEASE_S)
    assert len(told(60.0, watch=watch)) == 1
    assert told(0.0, watch=watch, begin=10) == []
    assert len(told(60.0, watch=watch, begin=20)) == 1


def test_a_dead_one_says_nothing_of_its_clock():
    watch = ClockWatch("ha1", LEASE_S)
    lease = LeaseRecord("ha2", IPv6Address("2001:db8::2"), 2, 2.0)
    assert [each for now in range(100) for each in watch.look([lease], now)] == []
