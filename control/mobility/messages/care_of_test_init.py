"""Care-of Test Init (RFC 6275 section 6.1.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from control.mobility.messages.fields import put_exactly
from control.mobility.numbers import MobilityHeaderType
from control.mobility.options import MobilityOption, read_options
from control.wire import Reader, Writer


@dataclass(frozen=True, slots=True)
class CareOfTestInit:
    """Starts the return routability procedure straight from the care-of address.

    Attributes:
        cookie: eight random octets that come back in the answer.
    """

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.CARE_OF_TEST_INIT
    fixed_size: ClassVar[int] = 10

    cookie: bytes
    options: tuple[MobilityOption, ...] = ()

    def write_data(self, writer: Writer) -> None:
        """Append the fixed part of the message data; raises WireError for a cookie of another size."""
        writer.u16(0)
        put_exactly(writer, self.cookie, 8)

    @classmethod
    def read_data(cls, reader: Reader) -> Self:
        """Read the message data and its options; raises WireError."""
        reader.skip(2)
        return cls(reader.take(8), read_options(reader))
