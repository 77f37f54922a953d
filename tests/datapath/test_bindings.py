"""The map of bindings and its slots."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from datapath.bindings import BindingMap, Tunnel, Usage
from datapath.errors import MapFull, NotLoaded
from datapath.table import LAST_CHANGE

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


def test_two_writers_may_take_turns_if_each_looks_anew(testbed):
    pairs = [(IPv6Address(f"2001:db8:a{number}::1"), IPv6Address(f"2001:db8:b{number}::1")) for number in range(3)]
    care_of = tunnel(1).care_of_address
    with BindingMap.open(testbed.pin_path) as other:
        testbed.bindings.install(pairs[0][0], care_of, pairs[0][1])
        assert not other.follow()
        other.install(pairs[1][0], care_of, pairs[1][1])
        assert not testbed.bindings.follow()
        testbed.bindings.install(pairs[2][0], care_of, pairs[2][1])
        assert len(testbed.bindings) == 3
    assert testbed.bindings.entries() == {address: Tunnel(care_of, agent) for address, agent in pairs}


def test_another_process_finds_what_is_installed(testbed):
    fill(testbed.bindings, range(20))

    with BindingMap.open(testbed.pin_path) as again:
        assert again.entries() == testbed.bindings.entries()
        assert len(again) == 20


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
    assert bindings.reconcile(expected) == ([], [], [], [])


def test_removing_many_passes_over_what_is_not_there(testbed):
    fill(testbed.bindings, range(5))

    testbed.bindings.remove_many([home(90), home(0), home(91), home(92), home(4), home(93)])

    assert set(testbed.bindings.entries()) == {home(1), home(2), home(3)}


def test_a_new_binding_starts_with_no_usage(testbed):
    bindings = testbed.bindings
    fill(bindings, range(3))
    bindings._table.usages[:] = 0x0101010101010101
    bindings._table.usages[1:] = 0
    assert bindings.usage(home(0)).decapsulated_bytes == 0x0101010101010101
    assert bindings.usage(home(99)) == Usage()

    for number in range(3):
        bindings.remove(home(number))
    bindings.install(home(1), tunnel(1).care_of_address, AGENT)
    fill(bindings, range(2, 40))

    assert {bindings.usage(home(number)) for number in range(1, 40)} == {Usage()}


def test_the_usage_of_all_bindings_is_that_of_each(testbed):
    bindings = testbed.bindings
    fill(bindings, range(10))
    for number in range(10):
        bindings._table.usages[:, bindings._slot(home(number))] = [number, 100 * number, 7, 9]
    processors = len(bindings._table.usages)

    assert bindings.usages() == {
        home(number): Usage(processors * number, processors * 100 * number, processors * 7, processors * 9)
        for number in range(10)
    }
    assert bindings.usages() == {home(number): bindings.usage(home(number)) for number in range(10)}


def test_opening_what_is_not_loaded_names_the_command(tmp_path):
    with pytest.raises(NotLoaded, match="homeagent datapath load"):
        BindingMap.open(tmp_path)


class Operations(RuleBasedStateMachine):
    """Single calls and batches in any order, against a dictionary; searches see what the programs would."""

    bindings: BindingMap
    numbers = st.integers(0, 90)

    def __init__(self) -> None:
        super().__init__()
        self.bindings.remove_many(self.bindings.entries())
        self.expected = {}

    @rule(number=numbers, to=numbers)
    def install(self, number, to):
        if home(number) not in self.expected and len(self.expected) == self.bindings.capacity:
            with pytest.raises(MapFull):
                self.bindings.install(home(number), tunnel(to).care_of_address, AGENT)
            return
        self.bindings.install(home(number), tunnel(to).care_of_address, AGENT + to % 3)
        self.expected[home(number)] = Tunnel(tunnel(to).care_of_address, AGENT + to % 3)

    @rule(numbers=st.sets(numbers, max_size=70), to=numbers)
    def install_many(self, numbers, to):
        wanted = {home(number): tunnel(number + to) for number in numbers}
        if len(self.expected.keys() | wanted.keys()) > self.bindings.capacity:
            with pytest.raises(MapFull, match="max_bindings"):
                self.bindings.install_many(wanted)
            return
        self.bindings.install_many(wanted)
        self.expected |= wanted

    @rule(number=numbers)
    def remove(self, number):
        assert self.bindings.remove(home(number)) == (self.expected.pop(home(number), None) is not None)

    @rule(numbers=st.sets(numbers, max_size=50))
    def remove_many(self, numbers):
        self.bindings.remove_many([home(number) for number in numbers])
        for number in numbers:
            self.expected.pop(home(number), None)

    @invariant()
    def agrees(self):
        assert self.bindings.entries() == self.expected
        assert len(self.bindings) == len(self.expected)
        assert all((home(number) in self.bindings) == (home(number) in self.expected) for number in range(91))


def test_any_order_of_calls(testbed):
    Operations.bindings = testbed.bindings
    run_state_machine_as_test(Operations, settings=settings(max_examples=30, stateful_step_count=25, deadline=None))
    testbed.bindings.remove_many(testbed.bindings.entries())
    # A table that is empty ends every search at once.
    assert not testbed.bindings._table.states[: testbed.bindings._table.slots].any()


def test_keys_with_one_place_find_each_other_a_way(testbed, monkeypatch):
    """Whatever the hash does: the longest searches, the end of the table, and what is freed in between."""
    table = testbed.bindings._table
    monkeypatch.setattr(table, "hash_key", ((1 << 64) - 1, 0, 0, 0, 0))  # every key to the last place
    fill(testbed.bindings, range(40))
    testbed.bindings.install(home(40), tunnel(40).care_of_address, AGENT)
    for number in (3, 7, 39, 40):
        testbed.bindings.remove(home(number))
    fill(testbed.bindings, range(60, 70))
    remaining = [number for number in (*range(39), *range(60, 70)) if number not in (3, 7)]
    assert testbed.bindings.entries() == {home(number): tunnel(number) for number in remaining}
    assert all(home(number) in testbed.bindings for number in remaining)
    testbed.bindings.remove_many(testbed.bindings.entries())
    assert not table.states[: table.slots].any()


class _Died(Exception):
    pass


class _Stores:
    """Memory whose writer dies instead of the store number `left`, counted over all that share the list."""

    def __init__(self, memory, left: list[int]) -> None:
        self._memory, self._left = memory, left

    def __getitem__(self, place):
        return self._memory[place]

    def __setitem__(self, place, value):
        if not self._left[0]:
            raise _Died
        self._left[0] -= 1
        self._memory[place] = value


def _dies(bindings: BindingMap, stores: int, write) -> bool:
    table, batches, left = bindings._table, bindings._batches, [stores]
    kept = table._words, table._states, batches._words, batches._states, batches._next_hops, batches._pairs
    table._words, table._states = _Stores(kept[0], left), _Stores(kept[1], left)
    batches._words, batches._states = _Stores(kept[2], left), _Stores(kept[3], left)
    batches._next_hops, batches._pairs = _Stores(kept[4], left), _Stores(kept[5], left)
    try:
        write(bindings)
        return False
    except _Died:
        return True
    finally:
        table._words, table._states, batches._words, batches._states, batches._next_hops, batches._pairs = kept


WRITES = {
    "change": lambda bindings: bindings.install(home(5), tunnel(50).care_of_address, AGENT + 1),
    "install": lambda bindings: bindings.install(home(900), tunnel(51).care_of_address, AGENT + 1),
    "remove": lambda bindings: bindings.remove(home(5)),
    "change many": lambda bindings: bindings.install_many({home(number): tunnel(50) for number in range(3, 9)}),
    "install many": lambda bindings: bindings.install_many({home(number): tunnel(7) for number in range(90, 99)}),
    "remove many": lambda bindings: bindings.remove_many([home(number) for number in range(3, 9)]),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_writer_that_dies_anywhere_leaves_every_binding_as_it_was_or_is_to_be(testbed, write):
    """Every store of every way to write may be the last one, and the next writer goes on from there."""
    before = {home(number): tunnel(number) for number in range(20)}
    with BindingMap.open(testbed.pin_path) as bindings:
        bindings.reconcile(before)
        write(bindings)
        after = bindings.entries()
    outcomes = set()
    for stores in range(100):
        with BindingMap.open(testbed.pin_path) as bindings:
            bindings.reconcile(before)
            died = _dies(bindings, stores, write)
        with BindingMap.open(testbed.pin_path) as reader:
            for address in before.keys() | after.keys():
                seen = reader.entries().get(address)
                assert seen in (before.get(address), after.get(address))
                outcomes.add(seen == after.get(address))
                assert (address in reader) == (seen is not None)
            assert len(reader) == len(reader.entries())
            reader.install(home(7), tunnel(77).care_of_address, AGENT)  # through the same place of the journal
            assert reader.entries()[home(7)] == tunnel(77)
            assert reader.entries().get(home(5)) in (before.get(home(5)), after.get(home(5)))
        if not died:
            break
    assert not died
    assert stores
    assert outcomes == {True, False}
    with BindingMap.open(testbed.pin_path) as bindings:
        bindings.remove_many(bindings.entries())
    testbed.bindings._table.count = 0  # the testbed's own view, which others went behind


def test_programs_follow_what_a_dead_writer_left_in_the_journal(testbed):
    frame = Ether(dst=testbed.correspondent_side_mac) / IPv6(src=str(testbed.correspondent), dst=str(testbed.home))
    seen = []
    for stores in range(100):
        testbed.bindings.install(testbed.home, testbed.care_of, testbed.home_agent)
        died = _dies(
            testbed.bindings,
            stores,
            lambda bindings: bindings.install(testbed.home, testbed.other_care_of, testbed.other_home_agent),
        )
        frame_out = testbed.run(bytes(frame / UDP())).frame
        seen.append((IPv6Address(frame_out[22:38]), IPv6Address(frame_out[38:54])))
        testbed.bindings._table._is_settled = False  # as of a process that starts
        if not died:
            break
    old, new = (testbed.home_agent, testbed.care_of), (testbed.other_home_agent, testbed.other_care_of)
    assert set(seen) == {old, new}
    assert seen == sorted(seen, key=[old, new].index), "once in force it stays in force"


def test_one_interface_identifier_in_many_prefixes(testbed, monkeypatch):
    """Nothing but the prefix tells them apart, and all are in one place."""
    monkeypatch.setattr(testbed.bindings._table, "hash_key", ((1 << 64) - 1, 0, 0, 0, 0))
    addresses = [IPv6Address(f"2001:db8:{number:x}::1") for number in range(16, 40)]
    testbed.bindings.install_many({address: tunnel(number) for number, address in enumerate(addresses)})
    testbed.bindings.install(addresses[3], tunnel(99).care_of_address, AGENT)
    assert testbed.bindings.remove(addresses[5])

    entries = testbed.bindings.entries()
    expected = {address: tunnel(number) for number, address in enumerate(addresses) if number != 5}
    assert entries == expected | {addresses[3]: tunnel(99)}
    assert addresses[5] not in testbed.bindings
    assert IPv6Address("2001:db8:999::1") not in testbed.bindings
    testbed.bindings.remove_many(entries)
    assert not testbed.bindings.entries()


def test_change_numbers_start_again_before_they_run_out(testbed):
    table = testbed.bindings._table
    fill(testbed.bindings, range(5))
    table._change = LAST_CHANGE - 2
    for number in range(5, 12):
        testbed.bindings.install(home(number), tunnel(number).care_of_address, AGENT)
    fill(testbed.bindings, range(12))

    assert testbed.bindings.entries() == {home(number): tunnel(number) for number in range(12)}


def test_home_networks_that_no_binding_names_make_room_for_others(testbed, monkeypatch):
    monkeypatch.setattr("datapath.home_networks.MAX_HOME_NETWORKS", 80)
    bindings = testbed.bindings
    bindings._table.networks.learn([])
    for number in range(100):
        bindings.install(home(0), tunnel(0).care_of_address, AGENT + number)
    for number in range(40):
        bindings.install(home(number), tunnel(0).care_of_address, AGENT + number)

    assert {address: row.home_agent_address for address, row in bindings.entries().items()} == {
        home(number): AGENT + number for number in range(40)
    }
    with pytest.raises(MapFull, match="80 pairs"):
        bindings.install_many(
            {home(1): Tunnel(AGENT, AGENT + 1000 + n) for n in range(1)}
            | {IPv6Address(f"2001:db8:{number:x}::1"): tunnel(0) for number in range(64)}
        )
