"""Alternate Care-of Address (RFC 6275 section 6.2.5)."""

from __future__ import annotations

from ipaddress import IPv6Address
from typing import ClassVar, Self

from control.mobility.numbers import MobilityOptionType
from control.records import Record
from control.wire import Writer, ipv6_address


class AlternateCareOfAddress(Record, frozen=True):
    """The care-of address to register, in a place that ESP protects (the IPv6 header is not)."""

    option_type: ClassVar[MobilityOptionType] = MobilityOptionType.ALTERNATE_CARE_OF_ADDRESS
    alignment: ClassVar[tuple[int, int]] = (8, 6)
    data_sizes: ClassVar[range] = range(16, 17)

    care_of_address: IPv6Address

    def write_data(self, writer: Writer) -> None:
        """Append the option data."""
        writer.ipv6(self.care_of_address)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the option data, of a permitted size, apart."""
        return cls(ipv6_address(data))
