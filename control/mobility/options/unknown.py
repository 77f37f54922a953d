"""A mobility option this implementation does not know."""

from __future__ import annotations

from typing import ClassVar

from control.records import Record
from control.wire import Writer


class UnknownMobilityOption(Record, frozen=True):
    """Kept as it is, to be ignored and skipped (RFC 6275 section 6.2.1).

    Attributes:
        type: the option type.
        data: the option data.
    """

    alignment: ClassVar[tuple[int, int]] = (1, 0)

    type: int
    data: bytes

    @property
    def option_type(self) -> int:
        """The option type, under the name the known options use."""
        return self.type

    def write_data(self, writer: Writer) -> None:
        """Append the option data."""
        writer.put(self.data)
