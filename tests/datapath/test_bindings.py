"""The map of bindings and its slots."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datapath.bindings import BindingMap, Tunnel, Usage
from datapath.bpf_syscall import Map
from datapath.errors import MapFull, NotLoaded
from datapath.layout import pin_directory
from datapath.slots import SlotAllocator

pytestmark = pytest.mark.namespaces

AGENT = IPv6Address("2001:db8:f::1")


@pytest.fixture(autouse=True)
def _empty(testbed):
    testbed.bindings.remove_many(testbed.bindings.entries())


def home(number: int) -> IPv6Address:
    return IPv6Address("2001:db8:100::") + number


def tunnel(number: int) -> Tunnel:
    return Tunnel(IPv6Address("2001:db8:f:1::") + number, AGENT)


def fill(bindings: BindingMap, numbers: range) -> None:
    bindings.install_many({home(number): tunnel(number) for number in numbers})


def test_installs_changes_and_removes(testbed):
    bindings = testbed.bindings
    bindings.install(home(1), tunnel(1).care_of_address, AGENT)
    bindings.install(home(2), tunnel(2).care_of_address, AGENT)
    bindings.install(home(1), tunnel(9).care_of_address, AGENT)

    assert bindings.entries() == {home(1): tunnel(9), home(2): tunnel(2)}
    assert len(bindings) == 2
    assert home(1) in bindings
    assert bindings.remove(home(1))
    assert not bindings.remove(home(1))
    assert bindings.entries() == {home(2): tunnel(2)}
    assert len(bindings) == 1


def test_another_process_finds_what_is_installed(testbed):
    fill(testbed.bindings, range(20))

    with BindingMap.open(testbed.pin_path) as again:
        assert again.entries() == testbed.bindings.entries()
        assert len(again) == 20


def test_slots_are_never_shared_after_opening_again(testbed):
    fill(testbed.bindings, range(10))
    testbed.bindings.remove_many([home(3), home(7)])
    with BindingMap.open(testbed.pin_path) as again:
        fill(again, range(20, 40))

    with Map.open(pin_directory(testbed.pin_path) / "bindings") as raw:
        slots = [int.from_bytes(value, "little") for value in _slots(raw)]
    assert len(slots) == len(set(slots)) == 28
    testbed.bindings._rebuild()  # the testbed's own view, which another writer went behind


def _slots(raw: Map) -> list[bytes]:
    return [value[32:36] for key in list(raw.keys()) if (value := raw.lookup(key)) is not None]


def test_a_full_map_says_so_and_keeps_working(testbed):
    bindings = testbed.bindings
    fill(bindings, range(bindings.capacity))

    with pytest.raises(MapFull, match="max_bindings"):
        bindings.install(home(999), tunnel(1).care_of_address, AGENT)
    with pytest.raises(MapFull, match="max_bindings"):
        fill(bindings, range(500, 502))

    assert len(bindings) == bindings.capacity
    bindings.install(home(5), tunnel(77).care_of_address, AGENT)  # a change needs no room
    bindings.remove(home(0))
    bindings.install(home(999), tunnel(1).care_of_address, AGENT)
    assert len(bindings.entries()) == bindings.capacity


def test_the_kernel_saying_full_is_the_same_error(testbed):
    fill(testbed.bindings, range(testbed.bindings.capacity))
    with (
        Map.open(pin_directory(testbed.pin_path) / "bindings") as raw,
        pytest.raises(MapFull, match="64 entries"),
    ):
        raw.update(home(999).packed, bytes(40))


def test_reconcile_touches_only_what_differs(testbed):
    bindings = testbed.bindings
    fill(bindings, range(6))
    bindings.install(home(2), tunnel(50).care_of_address, AGENT)
    expected = {home(number): tunnel(number) for number in (1, 2, 3, 10, 11)}

    outcome = bindings.reconcile(expected)

    assert bindings.entries() == expected
    assert len(bindings) == 5
    assert set(outcome.added) == {home(10), home(11)}
    assert set(outcome.changed) == {home(2)}
    assert set(outcome.removed) == {home(0), home(4), home(5)}
    assert bindings.reconcile(expected) == ([], [], [])


def test_removing_many_passes_over_what_is_not_there(testbed):
    fill(testbed.bindings, range(5))

    testbed.bindings.remove_many([home(90), home(0), home(91), home(92), home(4), home(93)])

    assert set(testbed.bindings.entries()) == {home(1), home(2), home(3)}


def test_a_new_binding_starts_with_no_usage(testbed):
    bindings = testbed.bindings
    fill(bindings, range(1))
    with Map.open(pin_directory(testbed.pin_path) / "usage") as raw:
        for slot in range(bindings.capacity):
            raw.update(slot.to_bytes(4, "little"), b"\1" * raw.value_size)
    assert bindings.usage(home(0)) != Usage()

    bindings.remove(home(0))
    bindings.install(home(1), tunnel(1).care_of_address, AGENT)
    fill(bindings, range(2, 5))

    assert [bindings.usage(home(number)) for number in range(5)] == [Usage()] * 5


def test_opening_what_is_not_loaded_names_the_command(tmp_path):
    with pytest.raises(NotLoaded, match="homeagent datapath load"):
        BindingMap.open(tmp_path)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=120), st.sets(st.integers(0, 40)))
@settings(max_examples=200, deadline=None)
def test_slots_are_unique_and_in_range(steps, used):
    used = {slot for slot in used if slot < 20}
    slots = SlotAllocator(20, used)
    taken = set(used)
    for allocates, which in steps:
        if allocates:
            if len(taken) == 20:
                with pytest.raises(MapFull):
                    slots.allocate()
                continue
            slot = slots.allocate()
            assert slot not in taken
            assert 0 <= slot < 20
            taken.add(slot)
        elif taken:
            slot = sorted(taken)[which % len(taken)]
            taken.remove(slot)
            slots.release(slot)
