"""Where a node is, on links that come and go."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from control.mobile_node.care_of_selection import Candidate, CareOfSelector

CABLE = Candidate("eth0", IPv6Address("2001:db8:1::1"), 1500, routed=True)
RADIO = Candidate("wlan0", IPv6Address("2001:db8:2::1"), 1400, routed=True)


def selector(*present, now=0.0):
    made = CareOfSelector(["eth0", "wlan0"])
    made.observe(present, now)
    made.choose(now)
    return made


def after(selector, now, *present):
    selector.observe(present, now)
    return selector.choose(now)


def test_the_preferred_interface_is_taken_first():
    assert selector(RADIO, CABLE).current == CABLE


def test_a_lost_link_is_left_at_once():
    assert after(selector(CABLE, RADIO), 1.0, RADIO) == RADIO


def test_without_any_link_there_is_nothing_to_choose():
    one = selector(CABLE)
    assert after(one, 1.0) is None
    assert one.next_timer(1.0) is None
    assert after(one, 2.0, CABLE) == CABLE


def test_another_address_of_the_same_interface_is_taken_when_the_old_one_is_gone():
    other = replace(CABLE, address=IPv6Address("2001:db8:9::1"))
    one = selector(CABLE)
    assert after(one, 1.0, CABLE, other) == CABLE
    assert after(one, 2.0, other) == other


def test_the_node_returns_to_the_preferred_interface_once_that_has_held():
    one = selector(RADIO)
    assert after(one, 1.0, CABLE, RADIO) == RADIO
    due = one.next_timer(1.0)
    assert due is not None
    assert one.choose(due - 0.1) == RADIO
    assert one.choose(due) == CABLE


def test_a_link_that_flaps_has_to_hold_longer_each_time():
    one = selector(CABLE, RADIO)
    waits = []
    now = 0.0
    for _ in range(8):
        assert after(one, now + 1.0, RADIO) == RADIO
        after(one, now + 2.0, CABLE, RADIO)
        waits.append(one.next_timer(now + 2.0) - (now + 2.0))
        now += 4.0
    assert waits == sorted(waits)
    assert waits[0] < waits[3] <= waits[-1] <= 120.0
    assert after(one, now + 1000.0, RADIO) == RADIO
    after(one, now + 1001.0, CABLE, RADIO)
    assert one.next_timer(now + 1001.0) - (now + 1001.0) == waits[0], "it is forgiven"


def test_an_address_without_a_default_route_is_taken_only_after_a_moment():
    bare = replace(RADIO, routed=False)
    one = selector(CABLE)
    assert after(one, 1.0, bare) is None
    due = one.next_timer(1.0)
    assert one.choose(due) == bare
    assert after(one, due + 1.0, RADIO) == RADIO


def test_a_link_whose_default_route_went_gives_way_to_one_that_has_one():
    assert after(selector(CABLE, RADIO), 1.0, replace(CABLE, routed=False), RADIO) == RADIO
    assert after(selector(CABLE), 1.0, replace(CABLE, routed=False)).key == CABLE.key


def test_interfaces_that_were_not_named_do_not_count():
    assert selector(replace(CABLE, interface="eth9")).current is None


@given(
    st.lists(
        st.tuples(st.floats(0.01, 5.0), st.sets(st.sampled_from([CABLE, RADIO, replace(CABLE, routed=False)]))),
        max_size=30,
    )
)
def test_what_is_chosen_is_there_and_sooner_or_later_something_is(history):
    one, now = selector(), 0.0
    for step, present in history:
        now += step
        chosen = after(one, now, *present)
        assert chosen is None or chosen.key in {each.key for each in present}
        for _ in range(10):
            due = one.next_timer(now)
            if due is None:
                break
            assert due > now
            now = due
            chosen = one.choose(now)
        assert (chosen is not None) is bool(present)
