"""A mobility message this implementation does not know."""

from __future__ import annotations

from control.records import Record


class UnknownMobilityMessage(Record, frozen=True):
    """Its receiver answers with a Binding Error, status 2 (RFC 6275 section 9.2).

    Attributes:
        type: the MH Type.
        data: everything behind the checksum, 8n + 2 octets.
    """

    type: int
    data: bytes

    @property
    def message_type(self) -> int:
        """The MH Type, under the name the known messages use."""
        return self.type

    def fixed_data(self) -> bytes:
        """The message data."""
        return self.data
