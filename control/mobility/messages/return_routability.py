"""What the home and the care-of half of the return routability procedure have in common (RFC 6275 section 5.2.5)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from control.mobility.messages.fields import exactly
from control.mobility.options import MobilityOption, read_options
from control.records import Record

_TEST = Struct(">H8s8s")  # nonce index, cookie, keygen token


class TestInitMessage(Record, frozen=True):
    """The request (RFC 6275 sections 6.1.3 and 6.1.4).

    Attributes:
        cookie: eight random octets that come back in the answer.
    """

    fixed_size: ClassVar[int] = 10

    cookie: bytes
    options: tuple[MobilityOption, ...] = ()

    def fixed_data(self) -> bytes:
        """The fixed part of the message data; raises WireError for a cookie of another size."""
        return bytes(2) + exactly(self.cookie, 8)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the message data, not shorter than ``fixed_size``, apart; raises WireError."""
        return cls(data[2:10], read_options(data, cls.fixed_size))


class TestMessage(Record, frozen=True):
    """The answer (RFC 6275 sections 6.1.5 and 6.1.6).

    Attributes:
        nonce_index: which nonce the token was made from.
        cookie: the eight octets of the request.
        keygen_token: eight octets, half of what the binding management key is made from.
    """

    fixed_size: ClassVar[int] = 18

    hidden_fields: ClassVar[frozenset[str]] = frozenset({"keygen_token"})

    nonce_index: int
    cookie: bytes
    keygen_token: bytes
    options: tuple[MobilityOption, ...] = ()

    def fixed_data(self) -> bytes:
        """The fixed part of the message data; raises WireError or struct.error if a field does not fit."""
        return _TEST.pack(self.nonce_index, exactly(self.cookie, 8), exactly(self.keygen_token, 8))

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the message data, not shorter than ``fixed_size``, apart; raises WireError."""
        nonce_index, cookie, keygen_token = _TEST.unpack_from(data)
        return cls(nonce_index, cookie, keygen_token, read_options(data, cls.fixed_size))
