"""Every state store: what it keeps, whom it lets write, who gets whose nodes. SQLite and a real Redis server."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from control.cluster.store import (
    BindingRecord,
    FencedOut,
    LeaseHeld,
    LeaseLost,
    LeaseRecord,
    NodeRecord,
    StateStore,
)

OpenStore = Callable[[], StateStore]
MakeBinding = Callable[..., BindingRecord]

HA1, HA2, HA3 = (IPv6Address(f"2001:db8:a{n}::1") for n in (1, 2, 3))
T0 = 1_700_000_000.0


def lapsed(store: StateStore, now: float) -> list[str]:
    return [lease.home_agent for lease in store.leases() if lease.expires_at <= now]


def test_what_is_written_is_read_by_another_process(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    store: StateStore = open_any_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    bindings = [make_binding(n) for n in range(5)]
    store.write_bindings(lease, bindings, T0)
    assert open_any_store().bindings("ha1") == bindings
    assert open_any_store().bindings("ha2") == []
    assert open_any_store().nodes("ha1") == [
        NodeRecord(b.identity, b.home_address, b.care_of_address, "ha1", lease.token, T0) for b in bindings
    ]


def test_a_binding_is_replaced_by_its_home_address(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    store = open_any_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(1)], T0)
    moved = make_binding(1, care_of_address=IPv6Address("2001:db8:d::1"), sequence_number=9)
    store.write_bindings(lease, [moved])
    assert store.bindings("ha1") == [moved]
    (node,) = store.nodes("ha1")
    assert node.care_of_address == moved.care_of_address
    assert node.last_seen == T0  # a write that does not say when does not say "never" either


def test_the_networks_of_a_mobile_router_go_along(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    store = open_any_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    networks = (IPv6Network("2001:db8:700::/56"), IPv6Network("2001:db8:701::/64"))
    router = make_binding(1, mobile_networks=networks)
    store.write_bindings(lease, [router, make_binding(2)], T0)
    assert open_any_store().bindings("ha1") == [router, make_binding(2)]
    heir = store.acquire_lease("ha2", HA2, T0 + 4.0, 3.0)
    claimed = [node.binding for node in store.claim("ha1", heir, T0 + 4.0)]
    assert [binding.mobile_networks for binding in claimed if binding is not None] == [networks, ()]
    own = make_binding(1, home_agent="ha2", home_agent_address=HA2, mobile_networks=networks[:1])
    store.write_bindings(heir, [own])
    assert store.bindings("ha2")[0] == own
    store.remove_bindings(heir, [own.home_address])
    assert [binding.identity for binding in store.bindings("ha2")] == [make_binding(2).identity]


def test_removed_bindings_are_gone_and_their_nodes_stay(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    store = open_any_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    one, two = make_binding(1), make_binding(2)
    store.write_bindings(lease, [one, two])
    store.remove_bindings(lease, [one.home_address, IPv6Address("2001:db8:100::dead")])
    assert open_any_store().bindings("ha1") == [two]
    assert [node.identity for node in store.nodes("ha1")] == [one.identity, two.identity]


def test_when_a_node_had_traffic_stays_with_it_whoever_has_it(
    open_any_store: OpenStore, make_binding: MakeBinding
) -> None:
    store = open_any_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(1), make_binding(2)], T0)
    store.note_traffic(lease, {make_binding(1).identity: T0 + 0.25, "mn3@example.org": T0})
    store.write_bindings(lease, [make_binding(1, sequence_number=9)], T0 + 1.0)
    assert [node.last_traffic for node in open_any_store().nodes("ha1")] == [T0 + 0.25, 0.0]
    heir = store.acquire_lease("ha2", HA2, T0 + 4.0, 3.0)
    assert [each.node.last_traffic for each in store.claim("ha1", heir, T0 + 4.0)] == [T0 + 0.25, 0.0]
    with pytest.raises(FencedOut):
        store.note_traffic(lease, {make_binding(1).identity: T0 + 9.0})
    other = store.acquire_lease("ha3", HA3, T0, 3.0)
    store.note_traffic(other, {make_binding(1).identity: T0 + 9.0})  # not its own
    assert [node.last_traffic for node in store.nodes("ha2")] == [T0 + 0.25, 0.0]


def test_certificates_are_read_in_pages(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    store = open_any_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    other = store.acquire_lease("ha3", HA3, T0, 3.0)
    identities = sorted(make_binding(number).identity for number in range(5))
    store.write_bindings(lease, [make_binding(number) for number in range(5)], T0)
    store.write_bindings(other, [make_binding(7, home_agent="ha3", home_agent_address=HA3)], T0)
    chains = {identity: (identity.encode(), b"\0\xff") for identity in (*identities[1:], make_binding(7).identity)}
    store.write_certificates(lease, {**chains, identities[1]: (b"older",)})
    store.write_certificates(lease, {identities[1]: chains[identities[1]]})
    reader = open_any_store()
    first = reader.certificates("ha1", "", 3)
    assert first == [(identities[0], ()), *((each, chains[each]) for each in identities[1:3])]
    assert reader.certificates("ha1", first[-1][0], 3) == [(each, chains[each]) for each in identities[3:]]
    assert reader.certificates("ha1", identities[-1], 3) == []
    heir = store.acquire_lease("ha2", HA2, T0 + 4.0, 3.0)
    store.claim("ha1", heir, T0 + 4.0)
    assert dict(store.certificates("ha2", "", 9)) == dict.fromkeys(identities[:1], ()) | {
        each: chains[each] for each in identities[1:]
    }
    with pytest.raises(FencedOut):
        store.write_certificates(lease, {identities[0]: (b"late",)})


def test_a_lease_lapses_unless_renewed(open_any_store: OpenStore) -> None:
    one, other = open_any_store(), open_any_store()
    lease = one.acquire_lease("ha1", HA1, T0, 3.0, capacity=1000)
    assert other.leases() == [LeaseRecord("ha1", HA1, lease.token, T0 + 3.0, 1000)]
    lease = one.renew_lease(lease, T0 + 2.0, 3.0)
    assert lease.expires_at == T0 + 5.0
    assert [each.expires_at for each in other.leases()] == [T0 + 5.0]
    assert one.renew_lease(lease, T0 + 6.0, 3.0).token == lease.token  # late, but nobody claimed it
    assert [each.expires_at for each in other.leases()] == [T0 + 9.0]


def test_tokens_only_grow_even_when_leases_are_gone(open_any_store: OpenStore) -> None:
    store = open_any_store()
    claiming = store.acquire_lease("ha2", HA2, T0, 30.0)
    tokens = [claiming.token]
    for _ in range(3):
        tokens.append(store.acquire_lease("ha1", HA1, T0, 3.0).token)
        store.claim("ha1", claiming, T0, force=True)
    tokens.append(store.acquire_lease("ha3", HA1, T0, 3.0).token)
    assert tokens == sorted(set(tokens))


def test_a_restarted_agent_fences_out_its_predecessor(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    zombie, fresh = open_any_store(), open_any_store()
    old = zombie.acquire_lease("ha1", HA1, T0, 3.0)
    zombie.write_bindings(old, [make_binding(1)])
    new = fresh.acquire_lease("ha1", HA1, T0 + 1.0, 3.0)
    for write in (
        lambda: zombie.write_bindings(old, [make_binding(2)]),
        lambda: zombie.remove_bindings(old, [make_binding(1).home_address]),
    ):
        with pytest.raises(FencedOut):
            write()
    with pytest.raises(LeaseLost):
        zombie.renew_lease(old, T0 + 1.0, 3.0)
    assert [lease.token for lease in fresh.leases()] == [new.token]
    assert fresh.bindings("ha1") == [make_binding(1)]


def test_a_claim_moves_everything_and_fences_the_failed_agent_out(
    open_any_store: OpenStore, make_binding: MakeBinding
) -> None:
    failed, survivor = open_any_store(), open_any_store()
    lease1 = failed.acquire_lease("ha1", HA1, T0, 3.0)
    lease2 = survivor.acquire_lease("ha2", HA2, T0, 30.0)
    bindings = [make_binding(n) for n in range(3)]
    failed.write_bindings(lease1, bindings, T0)
    unbound = make_binding(7)
    failed.write_bindings(lease1, [unbound])
    failed.remove_bindings(lease1, [unbound.home_address])
    own = make_binding(9, home_agent="ha2", home_agent_address=HA2)
    survivor.write_bindings(lease2, [own])

    claimed = survivor.claim("ha1", lease2, T0 + 3.0)
    assert [c.binding for c in claimed] == [replace(b, home_agent="ha2") for b in bindings] + [None]
    assert {(c.node.owner, c.node.fence) for c in claimed} == {("ha2", lease2.token)}
    assert [c.node.identity for c in claimed] == [b.identity for b in bindings] + [unbound.identity]
    # Those yet to be brought back still name the failed agent's address: a restarted survivor can tell.
    assert [b.home_agent_address for b in survivor.bindings("ha2")] == [HA1, HA1, HA1, HA2]
    assert survivor.bindings("ha1") == []
    assert survivor.nodes("ha1") == []
    assert [lease.home_agent for lease in survivor.leases()] == ["ha2"]

    with pytest.raises(FencedOut) as caught:
        failed.write_bindings(lease1, [make_binding(50)])
    assert "Acquire a new lease" in str(caught.value)
    with pytest.raises(FencedOut):
        failed.remove_bindings(lease1, [bindings[0].home_address])
    with pytest.raises(LeaseLost):
        failed.renew_lease(lease1, T0 + 3.0, 3.0)
    assert len(survivor.bindings("ha2")) == 4


def test_of_two_survivors_one_gets_the_nodes(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    failed, second, third = open_any_store(), open_any_store(), open_any_store()
    failed.write_bindings(failed.acquire_lease("ha1", HA1, T0, 3.0), [make_binding(1)])
    lease2 = second.acquire_lease("ha2", HA2, T0, 30.0)
    lease3 = third.acquire_lease("ha3", HA3, T0, 30.0)
    assert len(second.claim("ha1", lease2, T0 + 4.0)) == 1
    assert third.claim("ha1", lease3, T0 + 4.0) == []


def test_the_living_are_claimed_only_by_force(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    one, two = open_any_store(), open_any_store()
    lease1, lease2 = one.acquire_lease("ha1", HA1, T0, 3.0), two.acquire_lease("ha2", HA2, T0, 30.0)
    one.write_bindings(lease1, [make_binding(1)])
    with pytest.raises(LeaseHeld) as caught:
        two.claim("ha1", lease2, T0 + 2.0)
    assert "alive" in str(caught.value)
    one.write_bindings(lease1, [make_binding(2)])
    assert len(two.claim("ha1", lease2, T0 + 2.0, force=True)) == 2
    with pytest.raises(FencedOut):
        one.write_bindings(lease1, [make_binding(3)])


def test_a_forced_claim_in_parts_needs_the_force_once(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    one, two = open_any_store(), open_any_store()
    lease1, lease2 = one.acquire_lease("ha1", HA1, T0, 3.0), two.acquire_lease("ha2", HA2, T0, 30.0)
    one.write_bindings(lease1, [make_binding(n) for n in range(3)])
    assert len(two.claim("ha1", lease2, T0 + 1.0, force=True, limit=2)) == 2
    with pytest.raises(FencedOut):
        one.write_bindings(lease1, [make_binding(2)])
    assert lapsed(two, T0 + 1.0) == ["ha1"]
    assert len(two.claim("ha1", lease2, T0 + 1.0, limit=2)) == 1


def test_who_is_dead_itself_claims_nothing(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    one, two = open_any_store(), open_any_store()
    one.write_bindings(one.acquire_lease("ha1", HA1, T0, 3.0), [make_binding(1)])
    lapsed = two.acquire_lease("ha2", HA2, T0, 3.0)
    with pytest.raises(LeaseLost):
        two.claim("ha1", lapsed, T0 + 3.0)
    void = lapsed
    two.acquire_lease("ha2", HA2, T0 + 3.0, 3.0)
    with pytest.raises(LeaseLost):
        two.claim("ha1", void, T0 + 3.0)
    assert len(one.bindings("ha1")) == 1


def test_a_claim_in_parts_fences_out_at_once_and_others_can_carry_on(
    open_any_store: OpenStore, make_binding: MakeBinding
) -> None:
    one, two, three = open_any_store(), open_any_store(), open_any_store()
    lease1 = one.acquire_lease("ha1", HA1, T0, 3.0)
    one.write_bindings(lease1, [make_binding(n) for n in range(10)])
    lease2, lease3 = two.acquire_lease("ha2", HA2, T0, 30.0), three.acquire_lease("ha3", HA3, T0, 30.0)
    parts = [two.claim("ha1", lease2, T0 + 3.0, limit=4)]
    with pytest.raises(FencedOut):
        one.write_bindings(lease1, [make_binding(9)])
    with pytest.raises(LeaseLost):
        one.renew_lease(lease1, T0 + 3.0, 3.0)
    assert lapsed(three, T0 + 3.0) == ["ha1"]
    parts.append(three.claim("ha1", lease3, T0 + 3.5, limit=4))
    parts.append(two.claim("ha1", lease2, T0 + 4.0, limit=4))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert len({claimed.node.identity for part in parts for claimed in part}) == 10
    assert all(claimed.binding is not None for part in parts for claimed in part)
    assert [lease.home_agent for lease in three.leases()] == ["ha2", "ha3"]
    assert two.claim("ha1", lease2, T0 + 4.0, limit=4) == []
    assert len(two.bindings("ha2")) == 6
    assert len(three.bindings("ha3")) == 4


def test_an_agent_back_in_the_middle_of_a_claim_keeps_what_is_left(
    open_any_store: OpenStore, make_binding: MakeBinding
) -> None:
    one, two = open_any_store(), open_any_store()
    one.write_bindings(one.acquire_lease("ha1", HA1, T0, 3.0), [make_binding(n) for n in range(10)])
    lease2 = two.acquire_lease("ha2", HA2, T0, 30.0)
    assert len(two.claim("ha1", lease2, T0 + 3.0, limit=4)) == 4
    again = one.acquire_lease("ha1", HA1, T0 + 3.5, 3.0)
    with pytest.raises(LeaseHeld):
        two.claim("ha1", lease2, T0 + 4.0, limit=4)
    assert len(one.bindings("ha1")) == 6
    one.write_bindings(again, [make_binding(9, sequence_number=77)])


def test_what_was_lost_is_written_again_but_for_what_is_anothers(
    open_any_store: OpenStore, make_binding: MakeBinding
) -> None:
    one, two = open_any_store(), open_any_store()
    lease1, lease2 = one.acquire_lease("ha1", HA1, T0, 3.0), two.acquire_lease("ha2", HA2, T0, 30.0)
    one.write_bindings(lease1, [make_binding(1), make_binding(2)])
    # Meanwhile with another agent: one under its old home address, one under a new one.
    same_address = make_binding(3, home_agent="ha2", home_agent_address=HA2)
    new_address = make_binding(4, home_agent="ha2", home_agent_address=HA2, home_address=IPv6Address("2001:db8:200::4"))
    two.write_bindings(lease2, [same_address, new_address])
    taken = one.write_missing(lease1, [make_binding(number) for number in range(2, 6)], T0)
    assert taken == [make_binding(3).home_address, make_binding(4).home_address]
    assert one.bindings("ha1") == [make_binding(1), make_binding(2), make_binding(5)]
    assert two.bindings("ha2") == [same_address, new_address]
    again = one.acquire_lease("ha1", HA1, T0 + 1.0, 3.0)
    with pytest.raises(FencedOut):
        one.write_missing(lease1, [make_binding(6)])
    assert one.write_missing(again, []) == []


def test_claiming_oneself_changes_nothing(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    store = open_any_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.write_bindings(lease, [make_binding(1)])
    assert store.claim("ha1", lease, T0, force=True) == []
    store.write_bindings(lease, [make_binding(2)])
    assert len(store.bindings("ha1")) == 2


def test_a_node_that_came_by_itself_is_not_claimed_back(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    one, two, three = open_any_store(), open_any_store(), open_any_store()
    lease1 = one.acquire_lease("ha1", HA1, T0, 3.0)
    one.write_bindings(lease1, [make_binding(1), make_binding(2)])
    lease2 = two.acquire_lease("ha2", HA2, T0, 30.0)
    same_address = make_binding(1, home_agent="ha2", home_agent_address=HA2)
    new_address = make_binding(2, home_agent="ha2", home_agent_address=HA2, home_address=IPv6Address("2001:db8:200::2"))
    two.write_bindings(lease2, [same_address, new_address])
    assert [b.identity for b in one.bindings("ha1")] == ["mn2@example.org"]  # the old address, not removed yet
    one.remove_bindings(lease1, [same_address.home_address])  # not ha1's any more
    lease3 = three.acquire_lease("ha3", HA3, T0, 30.0)
    assert three.claim("ha1", lease3, T0 + 5.0) == []
    assert two.bindings("ha2") == [same_address, new_address]
    assert three.bindings("ha3") == []


def test_a_node_brought_back_under_a_new_address_leaves_no_claimed_binding_behind(
    open_any_store: OpenStore, make_binding: MakeBinding
) -> None:
    one, two = open_any_store(), open_any_store()
    one.write_bindings(one.acquire_lease("ha1", HA1, T0, 3.0), [make_binding(1), make_binding(2)])
    lease2 = two.acquire_lease("ha2", HA2, T0, 30.0)
    two.claim("ha1", lease2, T0 + 3.0)
    back = make_binding(1, home_agent="ha2", home_agent_address=HA2, home_address=IPv6Address("2001:db8:200::1"))
    two.write_bindings(lease2, [back])
    assert two.bindings("ha2") == [make_binding(2, home_agent="ha2"), back]


def test_an_agent_that_comes_back_finds_its_nodes_gone(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    one, two = open_any_store(), open_any_store()
    one.write_bindings(one.acquire_lease("ha1", HA1, T0, 3.0), [make_binding(1)])
    two.claim("ha1", two.acquire_lease("ha2", HA2, T0, 30.0), T0 + 3.0)
    again = one.acquire_lease("ha1", HA1, T0 + 10.0, 3.0)
    assert one.bindings("ha1") == []
    own = make_binding(1)  # the node registers with ha1 again, of its own accord
    one.write_bindings(again, [own])
    assert one.bindings("ha1") == [own]
    assert two.bindings("ha2") == []


addresses = st.binary(min_size=16, max_size=16).map(IPv6Address)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
networks = st.builds(
    lambda address, length: IPv6Network((address, length), strict=False), addresses, st.integers(0, 128)
)
records = st.builds(
    BindingRecord,
    home_address=addresses,
    care_of_address=addresses,
    home_agent=st.just("ha1"),
    home_agent_address=addresses,
    identity=texts,
    lifetime_expires_at=st.floats(0, 1e11),
    sequence_number=st.integers(0, 65535),
    key_management=st.booleans(),
    mobile_networks=st.lists(networks, max_size=3).map(tuple),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(records, max_size=20, unique_by=(lambda b: b.home_address, lambda b: b.identity)))
def test_any_binding_comes_back_as_it_was(open_any_store: OpenStore, bindings: list[BindingRecord]) -> None:
    store = open_any_store()
    lease = store.acquire_lease("ha1", HA1, T0, 3.0)
    store.remove_bindings(lease, [b.home_address for b in store.bindings("ha1")])
    store.write_bindings(lease, bindings)
    assert store.bindings("ha1") == sorted(bindings, key=lambda b: b.home_address)


def test_home_addresses_are_known_without_a_binding(open_any_store: OpenStore, make_binding: MakeBinding) -> None:
    store = open_any_store()
    first = store.acquire_lease("ha1", HA1, T0, 3.0)
    second = store.acquire_lease("ha2", HA2, T0, 3.0)
    earlier, later = make_binding(1), make_binding(2)
    store.write_bindings(first, [earlier], T0)
    store.write_bindings(second, [later], T0 + 1)
    store.remove_bindings(first, [earlier.home_address])
    assert open_any_store().home_addresses() == [
        (later.identity, later.home_address),
        (earlier.identity, earlier.home_address),
    ]
