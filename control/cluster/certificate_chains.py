"""How the certificates of a node are kept: one value for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

_DECODER = msgspec.msgpack.Decoder(tuple[bytes, ...])


def pack_chain(chain: Sequence[bytes]) -> bytes:
    """DER certificates as one value."""
    return msgspec.msgpack.encode(tuple(chain))


def unpack_chain(packed: bytes) -> tuple[bytes, ...]:
    """The reverse of :func:`pack_chain`.

    Raises:
        ValueError: it is something else.
    """
    return _DECODER.decode(packed)
