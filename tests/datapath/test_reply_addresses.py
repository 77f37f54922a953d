"""The addresses that signalling of the moment goes to."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from datapath.bpf_syscall import Map, MapType, map_create
from datapath.errors import MapFull
from datapath.reply_addresses import KEPT_S, ReplyAddresses

pytestmark = pytest.mark.namespaces

HOMES = [IPv6Address(f"2001:db8:100::{number}") for number in range(1, 4)]
CARE_OF, OTHER = IPv6Address("2001:db8:f::5"), IPv6Address("2001:db8:f::6")


@pytest.fixture
def entries() -> Iterator[Map]:
    with Map(map_create(MapType.HASH, 16, 16, 2, "replies")) as entries:
        yield entries


def test_what_an_earlier_process_left_goes(entries):
    entries.update(HOMES[0].packed, CARE_OF.packed)
    ReplyAddresses(entries)
    assert list(entries.keys()) == []


def test_an_entry_lasts_a_moment_from_its_latest_use(entries):
    replies = ReplyAddresses(entries)
    replies.put(HOMES[0], CARE_OF, 10.0)
    replies.put(HOMES[1], CARE_OF, 11.0)
    replies.put(HOMES[0], OTHER, 11.5)
    assert entries.lookup(HOMES[0].packed) == OTHER.packed
    replies.expire(10.0 + KEPT_S)
    assert len(replies) == 2
    replies.expire(11.0 + KEPT_S)
    assert list(entries.keys()) == [HOMES[0].packed]
    replies.expire(11.5 + KEPT_S)
    assert list(entries.keys()) == []
    assert len(replies) == 0


def test_no_room_is_told_and_forgotten(entries):
    replies = ReplyAddresses(entries)
    for home_address in HOMES[:2]:
        replies.put(home_address, CARE_OF, 1.0)
    with pytest.raises(MapFull):
        replies.put(HOMES[2], CARE_OF, 1.5)
    replies.expire(1.0 + KEPT_S)
    replies.put(HOMES[2], CARE_OF, 4.0)
    assert entries.lookup(HOMES[2].packed) == CARE_OF.packed
