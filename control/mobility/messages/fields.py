"""Fields that several mobility messages share."""

from __future__ import annotations

from control.wire import WireError, Writer


def put_exactly(writer: Writer, value: bytes, size: int) -> None:
    """Append a field of a fixed size; raises WireError("bad-field-size") for a value of another."""
    if len(value) != size:
        raise WireError("bad-field-size", f"{len(value)} bytes for a field of {size}")
    writer.put(value)
