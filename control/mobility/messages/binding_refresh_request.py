"""Binding Refresh Request (RFC 6275 section 6.1.2)."""

from __future__ import annotations

from typing import ClassVar, Self

from control.mobility.numbers import MobilityHeaderType
from control.mobility.options import MobilityOption, read_options
from control.records import Record
from control.wire import Reader


class BindingRefreshRequest(Record, frozen=True):
    """Asks a mobile node to renew its binding."""

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.BINDING_REFRESH_REQUEST
    fixed_size: ClassVar[int] = 2

    options: tuple[MobilityOption, ...] = ()

    def fixed_data(self) -> bytes:
        """The fixed part of the message data."""
        return bytes(2)

    @classmethod
    def read_data(cls, reader: Reader) -> Self:
        """Read the message data and its options; raises WireError."""
        reader.skip(2)
        return cls(read_options(reader))
