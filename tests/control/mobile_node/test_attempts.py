"""When a node tries its home agent again."""

from __future__ import annotations

from ipaddress import IPv6Address
from random import Random

from control.mobile_node.attempts import Attempts, WantedHomeAgent
from control.mobile_node.settings import RetryTimers

WANTED = WantedHomeAgent(IPv6Address("2001:db8:a1::1"), "ha1.example.org")


def waits(attempts, count):
    times = []
    for _ in range(count):
        attempts.failed(0.0)
        times.append(attempts.retry_at)
    return times


def test_the_wait_doubles_up_to_its_limit_and_is_spread():
    means = [0.0] * 9
    for seed in range(200):
        attempts = Attempts(RetryTimers(initial_s=1.0, maximum_s=60.0), Random(seed))
        attempts.wanted = WANTED
        for index, wait in enumerate(waits(attempts, 9)):
            middle = min(2.0**index, 60.0)
            assert middle / 2 <= wait <= middle * 2
            means[index] += wait / 200
    assert all(1.0 < mean / min(2.0**index, 60.0) < 1.5 for index, mean in enumerate(means))


def test_success_begins_anew():
    attempts = Attempts(RetryTimers(), Random(1))
    attempts.wanted = WANTED
    waits(attempts, 6)
    attempts.succeeded(WANTED)
    assert attempts.idle
    assert waits(attempts, 1)[0] <= 2.0


def test_without_a_wish_there_is_no_attempt():
    attempts = Attempts(RetryTimers(), Random(1))
    attempts.failed(0.0)
    assert attempts.idle
    assert not attempts.due(1e9)


def test_home_agents_that_were_named_have_their_turn_in_order_until_one_serves():
    others = [IPv6Address(f"2001:db8:a{number}::1") for number in (2, 3, 4)]
    attempts = Attempts(RetryTimers(), Random(1), {others[1]: "ha3.example.org"})
    attempts.wanted = WANTED
    attempts.name(others)
    for address, identity in zip(others[:2], (None, "ha3.example.org"), strict=True):
        attempts.failed(0.0)
        assert attempts.wanted == WantedHomeAgent(address, identity)
    attempts.succeeded(attempts.wanted)
    attempts.failed(0.0)
    assert attempts.wanted.address == others[1]


def test_an_attempt_is_due_when_its_time_has_come():
    attempts = Attempts(RetryTimers(), Random(1))
    attempts.wanted = WANTED
    attempts.failed(100.0)
    assert not attempts.due(100.4)
    assert attempts.due(102.0)
