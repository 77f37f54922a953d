"""Vendor ID payload (RFC 7296 section 3.12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from control.ikev2.numbers import PayloadType


@dataclass(frozen=True, slots=True)
class VendorIdPayload:
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
