"""Binding Update (RFC 6275 section 6.1.7, RFC 3963 section 4.1)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from control.mobility.numbers import LIFETIME_UNIT_S, MobilityHeaderType
from control.mobility.options import MobilityOption, read_options
from control.records import Record

_FIXED = Struct(">HHH")  # sequence number, flags, lifetime
_ACKNOWLEDGE = 0x8000
_HOME_REGISTRATION = 0x4000
_LINK_LOCAL = 0x2000
_KEY_MANAGEMENT = 0x1000
_MOBILE_ROUTER = 0x0400


class BindingUpdate(Record, frozen=True):
    """Tells where a mobile node is.

    Attributes:
        sequence_number: 16 bits; compare with ``control.mobility.sequence_number``.
        lifetime_units: wished lifetime in units of four seconds; 0 deletes the binding.
        acknowledge: the A bit: an acknowledgement is wanted.
        home_registration: the H bit: the receiver shall be the home agent.
        link_local: the L bit: the link-local address has the interface identifier of the home address.
        key_management: the K bit: the IKE SA survives movements.
        mobile_router: the R bit: the node is a router with a network behind it.
        options: mobility options without padding.
    """

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.BINDING_UPDATE
    fixed_size: ClassVar[int] = 6

    sequence_number: int
    lifetime_units: int
    acknowledge: bool = False
    home_registration: bool = False
    link_local: bool = False
    key_management: bool = False
    mobile_router: bool = False
    options: tuple[MobilityOption, ...] = ()

    @property
    def lifetime_seconds(self) -> int:
        """The wished lifetime in seconds."""
        return self.lifetime_units * LIFETIME_UNIT_S

    def fixed_data(self) -> bytes:
        """The fixed part of the message data; raises struct.error if a field does not fit."""
        flags = (
            (_ACKNOWLEDGE if self.acknowledge else 0)
            | (_HOME_REGISTRATION if self.home_registration else 0)
            | (_LINK_LOCAL if self.link_local else 0)
            | (_KEY_MANAGEMENT if self.key_management else 0)
            | (_MOBILE_ROUTER if self.mobile_router else 0)
        )
        return _FIXED.pack(self.sequence_number, flags, self.lifetime_units)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the message data, not shorter than ``fixed_size``, apart; raises WireError."""
        sequence_number, flags, lifetime_units = _FIXED.unpack_from(data)
        return cls(
            sequence_number=sequence_number,
            lifetime_units=lifetime_units,
            acknowledge=flags & _ACKNOWLEDGE != 0,
            home_registration=flags & _HOME_REGISTRATION != 0,
            link_local=flags & _LINK_LOCAL != 0,
            key_management=flags & _KEY_MANAGEMENT != 0,
            mobile_router=flags & _MOBILE_ROUTER != 0,
            options=read_options(data, cls.fixed_size),
        )
