"""Binding Authorization Data (RFC 6275 section 6.2.7)."""

from __future__ import annotations

from typing import ClassVar, Self

from control.mobility.numbers import MobilityOptionType
from control.records import Record
from control.wire import Writer


class BindingAuthorizationData(Record, frozen=True):
    """The authenticator of a message between a mobile node and a correspondent node.

    It is the last option of its message and ends the message, without padding behind it (section 6.2).
    """

    option_type: ClassVar[MobilityOptionType] = MobilityOptionType.BINDING_AUTHORIZATION_DATA
    data_sizes: ClassVar[range] = range(256)

    authenticator: bytes

    @property
    def alignment(self) -> tuple[int, int]:
        """The offset at which the option ends on an 8-octet boundary: 8n + 2 for the usual 12 octets."""
        return 8, -(2 + len(self.authenticator)) % 8

    def write_data(self, writer: Writer) -> None:
        """Append the option data."""
        writer.put(self.authenticator)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the option data, of a permitted size, apart."""
        return cls(data)
