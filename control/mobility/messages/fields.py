"""Fields that several mobility messages share."""

from __future__ import annotations

from control.wire import WireError


def exactly(value: bytes, size: int) -> bytes:
    """A field of a fixed size; raises WireError("bad-field-size") for a value of another."""
    if len(value) != size:
        raise WireError("bad-field-size", f"{len(value)} bytes for a field of {size}")
    return value
