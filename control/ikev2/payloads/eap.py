"""Extensible Authentication Protocol payload (RFC 7296 section 3.16)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from control.ikev2.numbers import PayloadType
from control.ikev2.payloads.packing import unpack
from control.records import Record
from control.wire import WireError

_FIXED = Struct(">BBH")  # code, identifier, length


class EapPayload(Record, frozen=True):
    """One EAP message (RFC 3748 section 4), header included."""

    hidden_fields: ClassVar[frozenset[str]] = frozenset({"data"})

    data: bytes

    payload_type: ClassVar[PayloadType] = PayloadType.EAP

    def to_wire(self) -> bytes:
        """The payload body."""
        return self.data

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("truncated" or "bad-length") unless it is exactly one EAP message."""
        _code, _identifier, length = unpack(_FIXED, body)
        if length != len(body):
            raise WireError("bad-length", f"EAP message of {length} bytes in {len(body)}")
        return cls(body)
