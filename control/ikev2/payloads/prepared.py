"""A payload that is sent over and over, encoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from control.ikev2.payloads import KnownPayload


class PreparedPayload(NamedTuple):
    """What goes on the wire of a payload to be sent; never the outcome of parsing.

    Attributes:
        payload_type: its type.
        body: the encoded body.
    """

    payload_type: int
    body: bytes

    @classmethod
    def of(cls, payload: KnownPayload) -> PreparedPayload:
        """The payload, encoded now."""
        return cls(payload.payload_type, payload.to_wire())

    def to_wire(self) -> bytes:
        """The payload body."""
        return self.body
