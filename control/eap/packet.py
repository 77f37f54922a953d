"""EAP packets (RFC 3748 section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import Self

_HEADER = Struct(">BBH")  # code, identifier, length


class EapCode(IntEnum):
    """Code of a packet."""

    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


class EapType(IntEnum):
    """Type of a request or response (RFC 3748 section 5, RFC 5216, draft-kamath-pppext-eap-mschapv2)."""

    IDENTITY = 1
    NOTIFICATION = 2
    NAK = 3
    MD5_CHALLENGE = 4
    TLS = 13
    MSCHAPV2 = 26
    EXPANDED = 254


class EapError(Exception):
    """An authentication that came to nothing.

    Attributes:
        reason: slug for counters.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class EapPacket:
    """One packet.

    Attributes:
        code: an EapCode.
        identifier: matches a response to its request, 0 to 255.
        type: of a request or response, None for the other codes; unknown ones are kept.
        data: what the type defines.
    """

    code: EapCode
    identifier: int
    type: int | None = None
    data: bytes = field(default=b"", repr=False)

    def to_wire(self) -> bytes:
        """The packet, header included."""
        body = b"" if self.type is None else bytes((self.type,)) + self.data
        return _HEADER.pack(self.code, self.identifier, _HEADER.size + len(body)) + body

    @classmethod
    def from_wire(cls, packet: bytes) -> Self:
        """Parse a packet; EapError("malformed-eap") if it is none."""
        if len(packet) < _HEADER.size:
            raise EapError("malformed-eap", f"{len(packet)} bytes")
        code, identifier, length = _HEADER.unpack_from(packet)
        if length != len(packet):
            raise EapError("malformed-eap", f"length {length} in {len(packet)} bytes")
        try:
            known = EapCode(code)
        except ValueError:
            raise EapError("malformed-eap", f"code {code}") from None
        if known in (EapCode.SUCCESS, EapCode.FAILURE):
            if length != _HEADER.size:
                raise EapError("malformed-eap", f"{known.name} of {length} bytes")
            return cls(known, identifier)
        if length == _HEADER.size:
            raise EapError("malformed-eap", "no type")
        return cls(known, identifier, packet[_HEADER.size], packet[_HEADER.size + 1 :])
