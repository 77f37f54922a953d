"""Nonce payload (RFC 7296 section 3.9)."""

from __future__ import annotations

from typing import ClassVar, Self

from control.ikev2.numbers import PayloadType
from control.records import Record
from control.wire import WireError

MIN_NONCE_SIZE = 16
MAX_NONCE_SIZE = 256


class NoncePayload(Record, frozen=True):
    """Random bytes of one side, 16 to 256 of them."""

    nonce: bytes

    payload_type: ClassVar[PayloadType] = PayloadType.NONCE

    def to_wire(self) -> bytes:
        """The payload body."""
        return self.nonce

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("bad-length")."""
        if not MIN_NONCE_SIZE <= len(body) <= MAX_NONCE_SIZE:
            raise WireError("bad-length", f"nonce of {len(body)} bytes")
        return cls(body)
