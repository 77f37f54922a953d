"""Nonce Indices (RFC 6275 section 6.2.6)."""

from __future__ import annotations

from typing import ClassVar, Self

from control.mobility.numbers import MobilityOptionType
from control.records import Record
from control.wire import Writer


class NonceIndices(Record, frozen=True):
    """Which nonces of a correspondent node a Binding Update was authorised with."""

    option_type: ClassVar[MobilityOptionType] = MobilityOptionType.NONCE_INDICES
    alignment: ClassVar[tuple[int, int]] = (2, 0)
    data_sizes: ClassVar[range] = range(4, 5)

    home_nonce_index: int
    care_of_nonce_index: int

    def write_data(self, writer: Writer) -> None:
        """Append the option data."""
        writer.u16(self.home_nonce_index)
        writer.u16(self.care_of_nonce_index)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the option data, of a permitted size, apart."""
        return cls(int.from_bytes(data[:2], "big"), int.from_bytes(data[2:], "big"))
