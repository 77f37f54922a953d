"""Many addresses as rows of words: the same bytes as one by one."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from datapath.address_words import words_of
from datapath.care_of_addresses import IPv4CareOfAddress

EDGES = ["100::", "1ff:ffff:8000::7fff", "8000::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::"]


@pytest.mark.parametrize(
    "others", [[], ["::"], ["ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]], ids=["large", "zero", "small"]
)
def test_every_bit_is_where_it_is_in_the_packed_address(others):
    bits = [IPv6Address(1 << 120 | 1 << number) for number in range(128)]
    addresses = [*bits, *map(IPv6Address, [*EDGES, *others])]
    assert words_of(addresses).tobytes() == b"".join(address.packed for address in addresses)


def test_more_than_are_decoded_at_once():
    addresses = [IPv6Address((0x20010DB8 << 96) + number * 0x9E3779B97F4A7C15) for number in range(70_000)]
    assert words_of(addresses).tobytes() == b"".join(address.packed for address in addresses)


def test_ipv4_care_of_addresses_and_none_at_all():
    over_ipv4 = IPv4CareOfAddress(IPv4Address("192.0.2.7"), IPv4Address("198.51.100.1"), 4191)
    addresses = [over_ipv4, IPv6Address("2001:db8::1")]
    assert words_of(addresses).tobytes() == b"".join(address.packed for address in addresses)
    assert words_of([]).shape == (0, 2)
