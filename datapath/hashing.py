"""The hash that places bindings in their table; ``hash_of`` in ``bpf/bindings.h`` is the same.

Its key is secret, so nobody can choose home addresses that collide. To numbered addresses, which most home addresses
are, it is linear: with one key in a thousand or so they lie in heaps that searches do not reach the end of. With which
depends on what stands beside the number in the same half of the address.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from ipaddress import IPv6Address

import numpy as np
from numpy.typing import NDArray

from datapath.layout import BUCKET_SLOTS, HASH_KEY, MAX_PROBES, hash_places

Words = NDArray[np.uint64]
Slots = NDArray[np.int64]

_HALF = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_ADDRESS_SIZE = 16
_NUMBER_SIZE = 4
_NETWORK_SIZE = 4
_PREFIX_SIZE = 8
_MOST_TRIED = 1 << 15
_LONGEST_SEARCH = MAX_PROBES // 4


def places_of(key: tuple[int, ...], count: int, high: Words, low: Words) -> Slots:
    """The buckets, of ``count``, in which searches begin for addresses of which these are the halves."""
    words = [np.uint64(part) for part in key]
    total = words[0] + (words[1] + (high & _HALF)) * (words[2] + (high >> _SHIFT))
    total += (words[3] + (low & _HALF)) * (words[4] + (low >> _SHIFT))
    return (((total >> _SHIFT) * np.uint64(count)) >> _SHIFT).astype(np.int64)


def draw_hash_key(max_bindings: int, neighbours: Iterable[IPv6Address] = ()) -> bytes:
    """A random key for a table of that size under which numbered addresses lie as well as any.

    Args:
        max_bindings: the table's.
        neighbours: addresses near the home prefixes, from whose /32 numbered prefixes are likely to come.
    """
    count = min(hash_places(max_bindings), _MOST_TRIED)
    networks = {address.packed[:_NETWORK_SIZE] for address in neighbours}
    numbered = [_numbered(count, end) for end in range(_NUMBER_SIZE, _ADDRESS_SIZE + 1)]
    # Of numbers below 1 << 16, these are the ones that stand beside the /32 and not in it.
    numbered += [_numbered(count, end, each) for each in networks for end in range(_NETWORK_SIZE + 2, _PREFIX_SIZE + 1)]
    while True:
        key = secrets.token_bytes(HASH_KEY.size)
        parts = HASH_KEY.unpack(key)
        if all(longest_search(places_of(parts, count, *each.T), count) <= _LONGEST_SEARCH for each in numbered):
            return key


def longest_search(places: Slots, count: int) -> int:
    """Buckets behind its own in which the last found of these bindings is, if a table of ``count`` has no others."""
    waiting = np.cumsum(np.bincount(places, minlength=count) - BUCKET_SLOTS)
    waiting -= np.minimum.accumulate(np.minimum(waiting, 0))
    return -(-int(waiting.max()) // BUCKET_SLOTS)


def _numbered(count: int, end: int, network: bytes = b"") -> Words:
    """Addresses of a network that differ by a number, 1 to ``count``, that ends at byte ``end``, as rows of words."""
    rows = np.zeros((count, _ADDRESS_SIZE), np.uint8)
    numbers = np.arange(1, count + 1, dtype=">u4").view(np.uint8).reshape(-1, _NUMBER_SIZE)
    rows[:, end - _NUMBER_SIZE : end] = numbers
    rows[:, : len(network)] |= np.frombuffer(network, np.uint8)
    return rows.view(np.uint64)
