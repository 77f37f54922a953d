"""Mobile Node Identifier (RFC 4283)."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Self

from control.mobility.numbers import MobilityOptionType
from control.records import Record
from control.wire import Writer


class MobileNodeIdentifierSubtype(IntEnum):
    """What a Mobile Node Identifier option holds (RFC 4283 section 3.1)."""

    NETWORK_ACCESS_IDENTIFIER = 1


class MobileNodeIdentifier(Record, frozen=True):
    """Who the mobile node is, other than by its home address.

    Attributes:
        subtype: what the identifier is; values we do not know are kept.
        identifier: the identifier's octets.
    """

    option_type: ClassVar[MobilityOptionType] = MobilityOptionType.MOBILE_NODE_IDENTIFIER
    alignment: ClassVar[tuple[int, int]] = (1, 0)
    data_sizes: ClassVar[range] = range(1, 256)

    subtype: int
    identifier: bytes

    @classmethod
    def from_network_access_identifier(cls, identifier: str) -> Self:
        """The option for an identifier of the form ``user@realm`` (RFC 4283 section 3.1)."""
        return cls(MobileNodeIdentifierSubtype.NETWORK_ACCESS_IDENTIFIER, identifier.encode())

    @property
    def network_access_identifier(self) -> str | None:
        """The ``user@realm`` in the option, None if it holds something else or no text."""
        if self.subtype != MobileNodeIdentifierSubtype.NETWORK_ACCESS_IDENTIFIER:
            return None
        try:
            return self.identifier.decode()
        except UnicodeDecodeError:
            return None

    def write_data(self, writer: Writer) -> None:
        """Append the option data."""
        writer.u8(self.subtype)
        writer.put(self.identifier)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the option data, of a permitted size, apart."""
        return cls(data[0], data[1:])
