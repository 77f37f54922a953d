"""A payload whose type this implementation does not know (RFC 7296 section 2.5)."""

from __future__ import annotations

from control.records import Record


class UnknownPayload(Record, frozen=True):
    """The type, the critical bit and the body, as received.

    Attributes:
        type: the payload type, none of those with a class of their own.
        critical: whether a receiver that does not know the type has to reject the message.
        data: the body.
    """

    type: int
    critical: bool
    data: bytes

    @property
    def payload_type(self) -> int:
        """The payload type, under the name all payloads have it."""
        return self.type

    def to_wire(self) -> bytes:
        """The payload body."""
        return self.data
