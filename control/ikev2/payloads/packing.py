"""Fixed-size groups of fields, packed and unpacked by :mod:`struct` with the codecs' own error.

The payload codecs run a dozen times per handshake, so they read several fields at a time rather than each by a call.
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import Any

from control.wire import WireError


def pack(structure: Struct, *values: int | bytes) -> bytes:
    """The fields as bytes; WireError("field-overflow") if a value does not fit its field."""
    try:
        return structure.pack(*values)
    except struct.error as error:
        raise WireError("field-overflow", str(error)) from None


def unpack(structure: Struct, data: bytes, offset: int = 0) -> tuple[Any, ...]:
    """The fields at ``offset``; WireError("truncated") if the data ends before they do."""
    try:
        return structure.unpack_from(data, offset)
    except struct.error:
        detail = f"{structure.size} bytes wanted, {max(0, len(data) - offset)} left"
        raise WireError("truncated", detail) from None
