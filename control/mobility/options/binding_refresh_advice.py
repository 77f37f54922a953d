"""Binding Refresh Advice (RFC 6275 section 6.2.4)."""

from __future__ import annotations

from typing import ClassVar, Self

from control.mobility.numbers import LIFETIME_UNIT_S, MobilityOptionType
from control.records import Record
from control.wire import Writer


class BindingRefreshAdvice(Record, frozen=True):
    """When the mobile node should register again.

    Attributes:
        refresh_interval_units: time until then, in units of four seconds.
    """

    option_type: ClassVar[MobilityOptionType] = MobilityOptionType.BINDING_REFRESH_ADVICE
    alignment: ClassVar[tuple[int, int]] = (2, 0)
    data_sizes: ClassVar[range] = range(2, 3)

    refresh_interval_units: int

    @property
    def refresh_interval_seconds(self) -> int:
        """The interval in seconds."""
        return self.refresh_interval_units * LIFETIME_UNIT_S

    def write_data(self, writer: Writer) -> None:
        """Append the option data."""
        writer.u16(self.refresh_interval_units)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the option data, of a permitted size, apart."""
        return cls(int.from_bytes(data, "big"))
