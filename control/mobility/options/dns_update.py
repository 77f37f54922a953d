"""DNS Update (RFC 5026 section 8.1)."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Self

from control.mobility.numbers import MobilityOptionType
from control.records import Record
from control.wire import WireError, Writer

_REMOVE = 0x80


class DnsUpdateStatus(IntEnum):
    """Outcome of a DNS update asked for in a Binding Update (RFC 5026 section 8.1)."""

    PERFORMED = 0
    REASON_UNSPECIFIED = 128
    ADMINISTRATIVELY_PROHIBITED = 129
    UPDATE_FAILED = 130


class DnsUpdate(Record, frozen=True):
    """The name under which the mobile node wants its home address to be found.

    Attributes:
        name: fully qualified domain name, as text.
        remove: take the entry away instead of creating or changing it (the R flag).
        status: 0 in a Binding Update; in a Binding Acknowledgement a ``DnsUpdateStatus``, from 128 a failure.
    """

    option_type: ClassVar[MobilityOptionType] = MobilityOptionType.DNS_UPDATE
    alignment: ClassVar[tuple[int, int]] = (1, 0)
    data_sizes: ClassVar[range] = range(2, 256)

    name: str
    remove: bool = False
    status: int = 0

    def write_data(self, writer: Writer) -> None:
        """Append the option data; raises WireError("bad-domain-name") for a name outside ASCII."""
        writer.u8(self.status)
        writer.u8(_REMOVE if self.remove else 0)
        try:
            writer.put(self.name.encode("ascii"))
        except UnicodeEncodeError as error:
            raise WireError("bad-domain-name", self.name) from error

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the option data, of a permitted size, apart; raises WireError."""
        status, flags, name = data[0], data[1], data[2:]
        try:
            return cls(name.decode("ascii"), bool(flags & _REMOVE), status)
        except UnicodeDecodeError as error:
            raise WireError("bad-domain-name", name.hex()) from error
