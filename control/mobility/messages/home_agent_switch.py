"""Home Agent Switch (RFC 5142 section 4) with the bootstrap bit of home-agent-initiated bootstrap.

The B bit is the top bit of the octet RFC 5142 reserves (draft-li-mip6-ha-init-bootstrap-00 section 4.3).
"""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct
from typing import ClassVar, Self

from control.mobility.numbers import MobilityHeaderType
from control.mobility.options import MobilityOption, read_options
from control.records import Record
from control.wire import WireError, ipv6_address

_FIXED = Struct(">BB")  # number of addresses, flags
_BOOTSTRAP = 0x80
_ADDRESS = Struct("16s")


class HomeAgentSwitch(Record, frozen=True):
    """Sends a mobile node to another home agent.

    Attributes:
        addresses: home agents to turn to; with ``bootstrap`` exactly the sender's, empty: the node discovers one.
        bootstrap: the B bit: drop the old binding without de-registering it, its home agent is gone.
        options: mobility options without padding; Binding Refresh Advice says how long the old agent goes on.
    """

    message_type: ClassVar[MobilityHeaderType] = MobilityHeaderType.HOME_AGENT_SWITCH
    fixed_size: ClassVar[int] = 2

    addresses: tuple[IPv6Address, ...] = ()
    bootstrap: bool = False
    options: tuple[MobilityOption, ...] = ()

    def fixed_data(self) -> bytes:
        """The number of addresses, flags and the addresses; raises struct.error for more than 255 of them."""
        data = _FIXED.pack(len(self.addresses), _BOOTSTRAP if self.bootstrap else 0)
        for address in self.addresses:
            data += address.packed
        return data

    @classmethod
    def read_data(cls, data: bytes) -> Self:
        """Take the message data, not shorter than ``fixed_size``, apart; raises WireError."""
        count, flags = _FIXED.unpack_from(data)
        end = _FIXED.size + count * _ADDRESS.size
        if end > len(data):
            raise WireError("truncated", f"{len(data)} bytes for {count} addresses")
        addresses = tuple(ipv6_address(packed) for (packed,) in _ADDRESS.iter_unpack(data[_FIXED.size : end]))
        return cls(addresses, bool(flags & _BOOTSTRAP), read_options(data, end))
