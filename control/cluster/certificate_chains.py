"""How the certificates of a node are kept: one value for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

_DECODER = msgspec.msgpack.Decoder(tuple[bytes, ...])


def pack_chain(chain: Sequence[bytes]) -> bytes:
    """DER certificates as one value."""
    return msgspec.msgpack.encode(tuple(chain))


def read_chain(packed: bytes | None, refused: Counter[str]) -> tuple[bytes, ...]:
    """What :func:`pack_chain` has made; none if the store has no value, or one that is something else.

    Args:
        packed: the value, None for no such value.
        refused: counts records that cannot be understood, by kind.
    """
    try:
        return () if packed is None else _DECODER.decode(packed)
    except ValueError:
        refused["certificates"] += 1
        return ()
