"""Home Test (RFC 6275 section 6.1.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from control.mobility.messages.fields import put_exactly
from control.mobility.numbers import MobilityHeaderType
from control.mobility.options import MobilityOption, read_options
from control.wire import Reader, Writer


@dataclass(frozen=True, slots=True)
class HomeTest:
    """A correspondent node's answer to a Home Test Init message.

    Attributes:
        nonce_index: which nonce the token was made from.
        cookie: the eight octets of the request.
        keygen_token: eight octets, half of what the binding management key is made from.
    """

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.HOME_TEST
    fixed_size: ClassVar[int] = 18

    nonce_index: int
    cookie: bytes
    keygen_token: bytes = field(repr=False)
    options: tuple[MobilityOption, ...] = ()

    def write_data(self, writer: Writer) -> None:
        """Append the fixed part of the message data; raises WireError for fields of another size."""
        writer.u16(self.nonce_index)
        put_exactly(writer, self.cookie, 8)
        put_exactly(writer, self.keygen_token, 8)

    @classmethod
    def read_data(cls, reader: Reader) -> Self:
        """Read the message data and its options; raises WireError."""
        return cls(reader.u16(), reader.take(8), reader.take(8), read_options(reader))
