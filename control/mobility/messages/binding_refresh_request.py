"""Binding Refresh Request (RFC 6275 section 6.1.2)."""

from __future__ import annotations

from typing import ClassVar, Self

from control.mobility.numbers import MobilityHeaderType
from control.mobility.options import MobilityOption, read_options
from control.records import Record


class BindingRefreshRequest(Record, frozen=True):
    """Asks a mobile node to renew its binding."""

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.BINDING_REFRESH_REQUEST
    fixed_size: ClassVar[int] = 2

    options: tuple[MobilityOption, ...] = ()

    def fixed_data(self) -> bytes:
        """The fixed part of the message data."""
        return bytes(2)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the message data, not shorter than ``fixed_size``, apart; raises WireError."""
        return cls(read_options(data, cls.fixed_size))
