"""Delete payload (RFC 7296 section 3.11)."""

from __future__ import annotations

from struct import Struct
from typing import ClassVar, Self

from control.ikev2.numbers import PayloadType, ProtocolId, members_by_value
from control.ikev2.payloads.packing import pack, unpack
from control.records import Record
from control.wire import WireError

MAX_SPIS = 1024
"""More SPIs than this in one payload are refused."""

_FIXED = Struct(">BBH")  # protocol, SPI size, number of SPIs
_PROTOCOLS = members_by_value(ProtocolId)
_SPI_SIZES: dict[int, int] = {ProtocolId.IKE: 0, ProtocolId.AH: 4, ProtocolId.ESP: 4}


class DeletePayload(Record, frozen=True):
    """The SAs of one protocol that the sender has closed.

    Attributes:
        protocol: a ProtocolId; IKE means the IKE SA of the message and has no SPIs.
        spis: the sender's inbound SPIs, all of one size.
    """

    protocol: int
    spis: tuple[bytes, ...] = ()

    payload_type: ClassVar[PayloadType] = PayloadType.DELETE

    def to_wire(self) -> bytes:
        """The payload body; WireError("bad-spi-size") unless all SPIs have the size the protocol asks for."""
        size = _SPI_SIZES.get(self.protocol, len(self.spis[0]) if self.spis else 0)
        if self.spis and (size == 0 or any(len(spi) != size for spi in self.spis)):
            raise WireError("bad-spi-size", f"protocol {self.protocol}")
        return pack(_FIXED, self.protocol, size, len(self.spis)) + b"".join(self.spis)

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("truncated", "bad-spi-size", "too-many" or "bad-length")."""
        protocol, size, count = unpack(_FIXED, body)
        if size != _SPI_SIZES.get(protocol, size) or (count and not size):
            raise WireError("bad-spi-size", f"{count} SPIs of {size} bytes for protocol {protocol}")
        if count > MAX_SPIS:
            raise WireError("too-many", f"{count} SPIs")
        if len(body) != _FIXED.size + size * count:
            raise WireError("bad-length", f"{count} SPIs of {size} bytes in {len(body) - _FIXED.size}")
        spis = tuple(body[start : start + size] for start in range(_FIXED.size, len(body), size or 1))
        return cls(_PROTOCOLS.get(protocol, protocol), spis)
