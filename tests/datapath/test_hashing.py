"""Keys of the hash that places bindings: numbered addresses must not lie in heaps."""

from __future__ import annotations

import random
import secrets
from ipaddress import IPv6Address

import numpy as np
import pytest

from datapath.address_words import words_of
from datapath.hashing import draw_hash_key, longest_search, places_of
from datapath.layout import HASH_KEY, MAX_PROBES

AGENT = IPv6Address("2001:db8:a1::1")
UNLUCKY = 12
"""A seed whose first keys have one that heaps the prefixes of a /32, and none that heaps those of zeros."""
HEAP = HASH_KEY.pack(1, 2, 3, 0, 5)  # without its fourth part the lower half of an address counts for nothing
COUNT = 20_000


@pytest.mark.parametrize(
    ("places", "longest"),
    [([], 0), ([0, 0], 0), ([0, 0, 0], 1), ([0] * 4, 1), ([0] * 5, 2), ([0, 0, 0, 1, 1], 1), ([3, 3, 3, 0, 1], 1)],
)
def test_how_far_a_search_goes(places, longest):
    assert longest_search(np.array(places, np.int64), 8) == longest


def test_a_place_is_what_the_hash_says():
    key = HASH_KEY.unpack(random.Random(1).randbytes(HASH_KEY.size))
    high, low = words_of([IPv6Address("2001:db8:100::1234")]).T
    one, two, three, four, five = key
    half = (1 << 32) - 1
    total = one + (two + (int(high[0]) & half)) * (three + (int(high[0]) >> 32))
    total += (four + (int(low[0]) & half)) * (five + (int(low[0]) >> 32))

    assert places_of(key, COUNT, high, low).tolist() == [((total >> 32 & half) * COUNT) >> 32]


def test_a_key_that_heaps_numbered_addresses_is_not_used(monkeypatch):
    good = HASH_KEY.pack(*(0x9E3779B97F4A7C15 * number % (1 << 64) for number in range(1, 6)))
    drawn = iter([HEAP, HEAP, good])
    monkeypatch.setattr(secrets, "token_bytes", lambda size: next(drawn))

    assert draw_hash_key(COUNT) == good


@pytest.mark.parametrize("step", [1, 1 << 16, 1 << 40, 1 << 64, 1 << 72, 1 << 80], ids="{:#x}".format)
def test_numbered_addresses_fill_a_table(step, monkeypatch):
    """Also prefixes, which stand beside a /32 in the same half of the address: that of the home agent is looked at."""
    monkeypatch.setattr(secrets, "token_bytes", random.Random(UNLUCKY).randbytes)
    first = int(IPv6Address("2001:db8::"))
    high, low = words_of([IPv6Address(first + number * step) for number in range(COUNT)]).T

    for _ in range(20):
        key = HASH_KEY.unpack(draw_hash_key(COUNT, [AGENT]))
        assert longest_search(places_of(key, COUNT, high, low), COUNT) < MAX_PROBES
