"""Mobile Network Prefix (RFC 3963 section 4.3)."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import ClassVar, Self

from control.mobility.numbers import MobilityOptionType
from control.records import Record
from control.wire import Writer, ipv6_address

_ADDRESS_BITS = 128


class MobileNetworkPrefix(Record, frozen=True):
    """A prefix of the network behind a mobile router, for which packets are to be sent to it.

    Attributes:
        prefix_length: bits; as it came, so perhaps more than an address has.
        prefix: the address whose first bits are the prefix.
    """

    option_type: ClassVar[MobilityOptionType] = MobilityOptionType.MOBILE_NETWORK_PREFIX
    alignment: ClassVar[tuple[int, int]] = (8, 4)
    data_sizes: ClassVar[range] = range(18, 19)

    prefix_length: int
    prefix: IPv6Address

    @classmethod
    def of(cls, network: IPv6Network) -> Self:
        """The option for a network."""
        return cls(network.prefixlen, network.network_address)

    @property
    def network(self) -> IPv6Network | None:
        """The network, without the bits behind its length; None if the length is impossible."""
        if self.prefix_length > _ADDRESS_BITS:
            return None
        return IPv6Network((self.prefix, self.prefix_length), strict=False)

    def write_data(self, writer: Writer) -> None:
        """Append the option data."""
        writer.u8(0)
        writer.u8(self.prefix_length)
        writer.ipv6(self.prefix)

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the option data, of a permitted size, apart."""
        return cls(data[1], ipv6_address(data[2:]))
