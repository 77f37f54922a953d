"""Binding Acknowledgement (RFC 6275 section 6.1.8, RFC 3963 section 4.2)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import ClassVar, Self

from control.mobility.numbers import LIFETIME_UNIT_S, MobilityHeaderType
from control.mobility.options import MobilityOption, read_options
from control.records import Record

_FIXED = Struct(">BBHH")  # status, flags, sequence number, lifetime
_KEY_MANAGEMENT = 0x80
_MOBILE_ROUTER = 0x40
_FIRST_REJECTION = 128


class BindingAcknowledgementStatus(IntEnum):
    """Status of a Binding Acknowledgement (section 6.1.8, RFC 3963 section 4.2): from 128 on it is a rejection."""

    ACCEPTED = 0
    ACCEPTED_BUT_PREFIX_DISCOVERY_NECESSARY = 1
    REASON_UNSPECIFIED = 128
    ADMINISTRATIVELY_PROHIBITED = 129
    INSUFFICIENT_RESOURCES = 130
    HOME_REGISTRATION_NOT_SUPPORTED = 131
    NOT_HOME_SUBNET = 132
    NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE = 133
    DUPLICATE_ADDRESS_DETECTION_FAILED = 134
    SEQUENCE_NUMBER_OUT_OF_WINDOW = 135
    EXPIRED_HOME_NONCE_INDEX = 136
    EXPIRED_CARE_OF_NONCE_INDEX = 137
    EXPIRED_NONCES = 138
    REGISTRATION_TYPE_CHANGE_DISALLOWED = 139
    MOBILE_ROUTER_OPERATION_NOT_PERMITTED = 140
    INVALID_PREFIX = 141
    NOT_AUTHORIZED_FOR_PREFIX = 142
    FORWARDING_SETUP_FAILED = 143
    INVALID_CARE_OF_ADDRESS = 174


class BindingAcknowledgement(Record, frozen=True):
    """Says what became of a Binding Update.

    Attributes:
        status: a ``BindingAcknowledgementStatus`` or a value we do not know; from 128 a rejection.
        sequence_number: that of the Binding Update; with status 135 the last one accepted.
        lifetime_units: granted lifetime in units of four seconds; undefined in a rejection.
        key_management: the K bit: the IKE SA survives movements.
        mobile_router: the R bit: the network behind the mobile router is forwarded to.
        options: mobility options without padding.
    """

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.BINDING_ACKNOWLEDGEMENT
    fixed_size: ClassVar[int] = 6

    status: int
    sequence_number: int
    lifetime_units: int = 0
    key_management: bool = False
    mobile_router: bool = False
    options: tuple[MobilityOption, ...] = ()

    @property
    def lifetime_seconds(self) -> int:
        """The granted lifetime in seconds."""
        return self.lifetime_units * LIFETIME_UNIT_S

    @property
    def accepted(self) -> bool:
        """Whether the Binding Update was accepted."""
        return self.status < _FIRST_REJECTION

    def fixed_data(self) -> bytes:
        """The fixed part of the message data; raises struct.error if a field does not fit."""
        flags = (_KEY_MANAGEMENT if self.key_management else 0) | (_MOBILE_ROUTER if self.mobile_router else 0)
        return _FIXED.pack(self.status, flags, self.sequence_number, self.lifetime_units)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the message data, not shorter than ``fixed_size``, apart; raises WireError."""
        status, flags, sequence_number, lifetime_units = _FIXED.unpack_from(data)
        return cls(
            status=status,
            sequence_number=sequence_number,
            lifetime_units=lifetime_units,
            key_management=bool(flags & _KEY_MANAGEMENT),
            mobile_router=bool(flags & _MOBILE_ROUTER),
            options=read_options(data, cls.fixed_size),
        )
