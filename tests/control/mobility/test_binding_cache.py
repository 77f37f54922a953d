from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from control.mobility.binding_cache import Binding, BindingCache

HOME_AGENT = IPv6Address("2001:db8:a1::1")


def binding(number: int = 1, expires_at: float = 100.0, sequence_number: int = 1) -> Binding:
    return Binding(
        home_address=IPv6Address(f"2001:db8:100::{number:x}"),
        care_of_address=IPv6Address(f"2001:db8:c::{number:x}"),
        home_agent=HOME_AGENT,
        identity=f"mn{number}@example.org",
        lifetime_expires_at=expires_at,
        sequence_number=sequence_number,
    )


def test_one_binding_for_each_home_address() -> None:
    cache = BindingCache(10)
    cache.put(binding(1))
    cache.put(binding(2))
    moved = replace(binding(1), care_of_address=IPv6Address("2001:db8:d::1"))
    cache.put(moved)
    assert len(cache) == 2
    assert cache.get(moved.home_address) == moved
    assert {found.identity for found in cache.bindings()} == {"mn1@example.org", "mn2@example.org"}
    assert cache.remove(moved.home_address) == moved
    assert cache.remove(moved.home_address) is None
    assert cache.get(moved.home_address) is None


def test_full_is_for_admission_and_refuses_nothing() -> None:
    cache = BindingCache(1)
    assert not cache.full
    cache.put(binding(1))
    assert cache.full
    cache.put(binding(2))
    assert len(cache) == 2
    with pytest.raises(ValueError, match="capacity 0"):
        BindingCache(0)


def test_bindings_end_in_their_order_and_at_the_moment_itself() -> None:
    cache = BindingCache(10)
    for number, end in ((1, 30.0), (2, 10.0), (3, 20.0)):
        cache.put(binding(number, end))
    assert cache.expire(9.999) == []
    assert cache.expire(20.0) == [binding(2, 10.0), binding(3, 20.0)]
    assert cache.expire(1000.0) == [binding(1, 30.0)]


def test_a_refreshed_binding_ends_when_the_last_update_says() -> None:
    cache = BindingCache(10)
    cache.put(binding(1, 10.0))
    cache.put(binding(1, 50.0))
    assert cache.expire(49.0) == []
    cache.put(binding(1, 20.0))
    assert cache.expire(20.0) == [binding(1, 20.0)]
    assert cache.expire(1000.0) == []


def test_many_refreshes_leave_no_litter() -> None:
    cache = BindingCache(10)
    for second in range(10_000):
        cache.put(binding(1, 100.0 + second))
    assert len(cache._ends) <= 2 * len(cache) + 64


def test_a_deregistered_number_is_remembered_for_ten_seconds_and_for_its_owner() -> None:
    cache = BindingCache(10)
    entry = binding(1)
    cache.put(entry)
    cache.deregister(entry.home_address, entry.identity, 7, now=50.0)
    assert cache.get(entry.home_address) is None
    assert cache.deregistered_sequence_number(entry.home_address, entry.identity, 59.9) == 7
    assert cache.deregistered_sequence_number(entry.home_address, entry.identity, 60.0) is None
    assert cache.deregistered_sequence_number(entry.home_address, "other@example.org", 51.0) is None
    cache.put(entry)
    assert cache.deregistered_sequence_number(entry.home_address, entry.identity, 51.0) is None


def test_deregistered_numbers_are_forgotten_in_time() -> None:
    cache = BindingCache(10)
    for second in range(100):
        cache.deregister(binding(second).home_address, "mn", 1, now=float(second))
    cache.deregister(binding(0).home_address, "mn", 2, now=100.0)
    cache.expire(105.0)
    assert len(cache._deregistered) == 5
    assert cache.deregistered_sequence_number(binding(0).home_address, "mn", 105.0) == 2


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(1, 5), st.integers(0, 50)),
            st.tuples(st.just("remove"), st.integers(1, 5), st.just(0)),
            st.tuples(st.just("expire"), st.just(0), st.integers(0, 50)),
        ),
        max_size=60,
    )
)
def test_against_a_plain_dictionary(steps: list[tuple[str, int, int]]) -> None:
    cache = BindingCache(10)
    model: dict[IPv6Address, Binding] = {}
    for action, number, time in steps:
        entry = binding(number, float(time))
        if action == "put":
            cache.put(entry)
            model[entry.home_address] = entry
        elif action == "remove":
            assert cache.remove(entry.home_address) == model.pop(entry.home_address, None)
        else:
            ended = {address for address, one in model.items() if one.lifetime_expires_at <= time}
            assert {one.home_address for one in cache.expire(float(time))} == ended
            model = {address: one for address, one in model.items() if address not in ended}
        assert len(cache) == len(model)
