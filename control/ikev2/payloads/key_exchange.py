"""Key Exchange payload (RFC 7296 section 3.4)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from control.ikev2.numbers import DiffieHellmanGroup, PayloadType, members_by_value
from control.ikev2.payloads.encoded import EncodedPayload
from control.ikev2.payloads.packing import pack, unpack
from control.records import Record
from control.wire import WireError

_FIXED = Struct(">HH")  # group, reserved
_GROUPS = members_by_value(DiffieHellmanGroup)


class KeyExchangePayload(Record, frozen=True):
    """The public value of one side of the key exchange.

    Attributes:
        group: a DiffieHellmanGroup.
        data: the public value in the group's own encoding; its length is for the group's code to judge.
    """

    group: int
    data: bytes

    payload_type: ClassVar[PayloadType] = PayloadType.KEY_EXCHANGE

    def to_wire(self) -> bytes:
        """The payload body."""
        return encoded_key_exchange(self.group, self.data)[1]

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("truncated" or "bad-length")."""
        group, _reserved = unpack(_FIXED, body)
        if len(body) == _FIXED.size:
            raise WireError("bad-length", "no key exchange data")
        return cls(_GROUPS.get(group, group), body[_FIXED.size :])


def encoded_key_exchange(group: int, data: bytes) -> EncodedPayload:
    """A KE payload to be sent."""
    return PayloadType.KEY_EXCHANGE, pack(_FIXED, group, 0) + data
