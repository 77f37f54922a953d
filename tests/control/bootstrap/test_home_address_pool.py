"""The address pool: nobody shares an address, and exhaustion is said, not guessed."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.bootstrap.home_address_pool import HomeAddressPool, PoolExhausted

SMALL = IPv6Network("2001:db8:100::/125")  # seven addresses beside the subnet-router anycast address
HOME = IPv6Network("2001:db8:100::/64")

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["allocate", "release", "reserve", "reserve-for"]), st.integers(0, 9), st.integers(0, 9)),
    max_size=60,
)


@given(OPERATIONS, st.sets(st.integers(0, 9), max_size=4))
def test_pool_agrees_with_a_table(operations: list[tuple[str, int, int]], reserved_hosts: set[int]) -> None:
    reserved = {SMALL[0] + host for host in reserved_hosts}
    pool = HomeAddressPool(SMALL, reserved)
    reserved &= set(SMALL)
    owners: dict[str, IPv6Address] = {}
    for operation, number, host in operations:
        identity, address = f"mn{number}", SMALL[0] + host
        free = set(SMALL) - {SMALL[0]} - reserved - set(owners.values())
        if operation == "release":
            pool.release(identity)
            owners.pop(identity, None)
        elif operation == "reserve":
            pool.reserve(address)
            reserved |= {address} & set(SMALL)
        elif operation == "reserve-for":
            pool.reserve(address, identity)
            if address in SMALL:
                owners = {i: a for i, a in owners.items() if a != address} | {identity: address}
        elif identity in owners:
            assert pool.allocate(identity) == owners[identity]
        elif free:
            owners[identity] = pool.allocate(identity)
            assert owners[identity] in free
        else:
            with pytest.raises(PoolExhausted):
                pool.allocate(identity)
        assert len(pool) == len(owners)


def test_a_full_pool_says_so_and_works_again_after_a_release() -> None:
    pool = HomeAddressPool(SMALL)
    given_out = [pool.allocate(f"mn{n}") for n in range(7)]
    assert sorted(given_out) == list(SMALL)[1:]
    with pytest.raises(PoolExhausted, match="2001:db8:100::/125"):
        pool.allocate("one too many")
    for number in (3, 6, 0):  # wherever it lies from where the pool goes on
        pool.release(f"mn{number}")
        assert pool.allocate(f"mn{number} again") == given_out[number]


def test_a_released_address_rests_as_long_as_there_are_others() -> None:
    pool = HomeAddressPool(SMALL)
    first = pool.allocate("a")
    pool.release("a")
    assert pool.allocate("b") != first


def test_hand_numbered_hosts_are_left_alone_where_there_is_room() -> None:
    assert HomeAddressPool(HOME).allocate("mn") == IPv6Address("2001:db8:100::1:0")


def test_addresses_given_to_subscribers_are_passed_over() -> None:
    subscribed = [IPv6Address("2001:db8:100::1:0") + n for n in range(100)]
    assert HomeAddressPool(HOME, subscribed).allocate("mn") == subscribed[-1] + 1


@pytest.mark.parametrize(
    ("prefix", "anycast"),
    [
        ("2001:db8:100::/120", "2001:db8:100::fe"),  # home agents' anycast address of the prefix (RFC 6275 8.4)
        ("2001:db8:100::/119", "2001:db8:100::1fe"),
        ("2001:db8:100::/118", "2001:db8:100::3fe"),
    ],
)
def test_anycast_addresses_are_never_given_out(prefix: str, anycast: str) -> None:
    network = IPv6Network(prefix)
    pool = HomeAddressPool(network)
    count = network.num_addresses - 128 - 1
    given_out = {pool.allocate(f"mn{n}") for n in range(count)}
    assert len(given_out) == count
    assert max(given_out) < IPv6Address(anycast) - 0x7E
    assert network[0] not in given_out
    with pytest.raises(PoolExhausted):
        pool.allocate("one too many")


def test_anycast_addresses_of_a_64_are_passed_over() -> None:
    pool = HomeAddressPool(HOME)
    pool._next = 0xFDFF_FFFF_FFFF_FF7F
    assert pool.allocate("before") == IPv6Address("2001:db8:100:0:fdff:ffff:ffff:ff7f")
    assert pool.allocate("after") == IPv6Address("2001:db8:100:0:fe00::")


def test_a_prefix_without_hosts_is_exhausted_from_the_start() -> None:
    with pytest.raises(PoolExhausted):
        HomeAddressPool(IPv6Network("2001:db8::1/128")).allocate("mn")
