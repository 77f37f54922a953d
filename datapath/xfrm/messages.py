"""Netlink messages, one behind the other in a datagram."""

from __future__ import annotations

from collections.abc import Iterator

from datapath.xfrm.errors import XfrmMalformed
from datapath.xfrm.structs import NETLINK_HEADER


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """One message."""
    return NETLINK_HEADER.pack(NETLINK_HEADER.size + len(body), kind, flags, sequence, 0) + body + bytes(-len(body) % 4)


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and body of each message.

    Raises:
        XfrmMalformed: a length that does not fit.
    """
    offset = 0
    while len(data) - offset >= NETLINK_HEADER.size:
        length, kind, flags, sequence, _ = NETLINK_HEADER.unpack_from(data, offset)
        if not NETLINK_HEADER.size <= length <= len(data) - offset:
            raise XfrmMalformed(f"a message of {length} bytes where {len(data) - offset} are left")
        yield kind, flags, sequence, data[offset + NETLINK_HEADER.size : offset + length]
        offset += (length + 3) // 4 * 4
