"""Binding Error (RFC 6275 section 6.1.9)."""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv6Address
from struct import Struct
from typing import ClassVar, Self

from control.mobility.numbers import MobilityHeaderType
from control.mobility.options import MobilityOption, read_options
from control.records import Record
from control.wire import ipv6_address

_FIXED = Struct(">Bx16s")  # status, reserved, home address


class BindingErrorStatus(IntEnum):
    """Status of a Binding Error message (section 6.1.9)."""

    UNKNOWN_BINDING = 1
    UNRECOGNIZED_MOBILITY_HEADER_TYPE = 2


class BindingError(Record, frozen=True):
    """Says that a packet could not be processed as mobile.

    Attributes:
        status: a ``BindingErrorStatus`` or a value we do not know.
        home_address: the Home Address option of the offending packet, ``::`` if it had none.
        options: mobility options without padding.
    """

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.BINDING_ERROR
    fixed_size: ClassVar[int] = 18

    status: int
    home_address: IPv6Address
    options: tuple[MobilityOption, ...] = ()

    def fixed_data(self) -> bytes:
        """The fixed part of the message data; raises struct.error if a field does not fit."""
        return _FIXED.pack(self.status, self.home_address.packed)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the message data, not shorter than ``fixed_size``, apart; raises WireError."""
        status, home_address = _FIXED.unpack_from(data)
        return cls(status, ipv6_address(home_address), read_options(data, cls.fixed_size))
