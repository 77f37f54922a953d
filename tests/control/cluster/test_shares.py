"""How survivors divide nodes."""

from __future__ import annotations

from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from control.cluster.shares import capacities, share
from control.cluster.store import LeaseRecord

SIZES = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 10**6), min_size=1, max_size=8)


@given(st.integers(0, 10**6), SIZES)
def test_everything_is_somebodys_and_nobody_has_much_more_than_its_part(total, by_capacity):
    shares = {name: share(total, name, by_capacity) for name in by_capacity}
    assert total <= sum(shares.values()) < total + len(shares)
    for name, number in shares.items():
        exact = total * by_capacity[name] / sum(by_capacity.values())
        assert exact - 1e-6 <= number < exact + 1 + 1e-6


def lease(name, capacity):
    return LeaseRecord(name, IPv6Address("2001:db8::1"), 1, 0.0, capacity)


def test_the_dead_have_no_part_and_who_says_nothing_counts_like_the_others():
    leases = [lease("a", 10), lease("b", 30), lease("c", 5)]
    assert capacities(leases, ["c"]) == {"a": 10, "b": 30}
    assert capacities([*leases, lease("d", 0)], ["c"]) == {"a": 1, "b": 1, "d": 1}
    assert share(40, "b", {"a": 10, "b": 30}) == 30
    assert share(7, "x", {"a": 10}) == 7
