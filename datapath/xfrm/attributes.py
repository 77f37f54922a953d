"""Attributes behind the fixed part of a netlink message."""

from __future__ import annotations

from collections.abc import Iterator

from datapath.xfrm.errors import XfrmMalformed
from datapath.xfrm.structs import ATTRIBUTE

_ALIGNMENT = 4


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % _ALIGNMENT)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute.

    Raises:
        XfrmMalformed: a length that does not fit.
    """
    offset = 0
    while len(data) - offset >= ATTRIBUTE.size:
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if not ATTRIBUTE.size <= length <= len(data) - offset:
            raise XfrmMalformed(f"an attribute of {length} bytes where {len(data) - offset} are left")
        yield kind, data[offset + ATTRIBUTE.size : offset + length]
        offset += (length + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
