"""Many addresses as rows of words, the way the maps hold them."""

from __future__ import annotations

import marshal
from collections.abc import Collection
from operator import attrgetter
from typing import SupportsInt

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_HEADER = 5
"""Bytes in front of a list's elements, as marshal writes it."""
_DIGITS, _DIGIT_BITS = 9, 15
"""A number of at least 2 ** 120, which every address from 100:: on is, has so many digits; the least one is first."""
_NUMBER = np.dtype([("kind_and_digits", "V5"), ("digits", "<u2", (_DIGITS,))])
_BLOCK = 1 << 15
"""Rows that are decoded together, few enough to stay in the cache."""
_integers = attrgetter("_ip")  # what int() returns, by way of a call in Python


def words_of(addresses: Collection[SupportsInt]) -> Words:
    """Both halves of each address, in network byte order.

    The bytes of one number after another are an object and a call each. The module that writes compiled modules writes
    all numbers in one call, in half of the time.
    """
    try:
        numbers: list[int] = list(map(_integers, addresses))
    except AttributeError:
        numbers = list(map(int, addresses))
    written = marshal.dumps(numbers, 2)
    if len(written) != _HEADER + len(numbers) * _NUMBER.itemsize:  # one is small
        return np.frombuffer(b"".join(number.to_bytes(16, "big") for number in numbers), np.uint64).reshape(-1, 2)
    digits = np.frombuffer(written, _NUMBER, offset=_HEADER)["digits"]
    result = np.empty((len(numbers), 2), np.uint64)
    for start in range(0, len(numbers), _BLOCK):
        _decode(digits[start : start + _BLOCK], result[start : start + _BLOCK])
    return result.byteswap(inplace=True)


def _decode(digits: NDArray[np.uint16], result: Words) -> None:
    """Puts the digits of each number together: the fifth one is in both halves."""
    columns = digits.T.astype(np.uint64, order="C")
    high, low = columns[4] >> np.uint64(4), columns[0]
    for number in range(1, 5):
        low |= columns[number] << np.uint64(_DIGIT_BITS * number)
    for number in range(5, _DIGITS):
        high |= columns[number] << np.uint64(_DIGIT_BITS * number - 64)
    result[:, 0], result[:, 1] = high, low
