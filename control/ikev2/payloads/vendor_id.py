"""Vendor ID payload (RFC 7296 section 3.12)."""

from __future__ import annotations

from typing import ClassVar, Self

from control.ikev2.numbers import PayloadType
from control.records import Record


class VendorIdPayload(Record, frozen=True):
    """A constant by which an implementation makes itself known."""

    vendor_id: bytes

    payload_type: ClassVar[PayloadType] = PayloadType.VENDOR_ID

    def to_wire(self) -> bytes:
        """The payload body."""
        return self.vendor_id

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; any bytes will do."""
        return cls(body)
