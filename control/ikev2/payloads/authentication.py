"""Authentication payload (RFC 7296 section 3.8) and the layout of its data for method 14 (RFC 7427 section 3)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from control.ikev2.numbers import AuthenticationMethod, PayloadType, members_by_value
from control.ikev2.payloads.packing import pack, unpack
from control.records import Record
from control.wire import WireError

_FIXED = Struct(">B3x")  # method, reserved
_IDENTIFIER_LENGTH = Struct(">B")
_METHODS = members_by_value(AuthenticationMethod)


class AuthenticationPayload(Record, frozen=True):
    """The proof that the sender is who it says it is.

    Attributes:
        method: an AuthenticationMethod.
        data: the signature or message integrity code.
    """

    hidden_fields: ClassVar[frozenset[str]] = frozenset({"data"})

    method: int
    data: bytes

    payload_type: ClassVar[PayloadType] = PayloadType.AUTHENTICATION

    def to_wire(self) -> bytes:
        """The payload body."""
        return pack(_FIXED, self.method) + self.data

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("truncated" or "bad-length")."""
        (method,) = unpack(_FIXED, body)
        if len(body) == _FIXED.size:
            raise WireError("bad-length", "no authentication data")
        return cls(_METHODS.get(method, method), body[_FIXED.size :])


class DigitalSignature(Record, frozen=True):
    """The authentication data of method DIGITAL_SIGNATURE.

    Attributes:
        algorithm_identifier: the DER AlgorithmIdentifier that names signature algorithm and hash.
        signature: the signature in that algorithm's own encoding.
    """

    hidden_fields: ClassVar[frozenset[str]] = frozenset({"signature"})

    algorithm_identifier: bytes
    signature: bytes

    def to_wire(self) -> bytes:
        """The authentication data."""
        return pack(_IDENTIFIER_LENGTH, len(self.algorithm_identifier)) + self.algorithm_identifier + self.signature

    @classmethod
    def from_wire(cls, data: bytes) -> Self:
        """Parse authentication data; WireError("truncated" or "bad-length")."""
        (length,) = unpack(_IDENTIFIER_LENGTH, data)
        end = 1 + length
        if length == 0 or end >= len(data):
            raise WireError("bad-length", f"algorithm identifier of {length} bytes in {len(data)}")
        return cls(data[1:end], data[end:])
