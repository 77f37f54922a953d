"""The Mobility Header around every mobility message (RFC 6275 sections 6.1.1 and 9.2)."""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from struct import Struct

from control.mobility.messages import KNOWN_MESSAGES, MobilityMessage, UnknownMobilityMessage
from control.mobility.numbers import MOBILITY_HEADER_PROTOCOL, NO_NEXT_HEADER
from control.mobility.options import encode_options
from control.wire import WireError

_HEADER = Struct(">BBBBH")  # payload protocol, length, type, reserved, checksum
_BLOCK = 8
_WORDS = 0xFFFF


def build_mobility_message(message: MobilityMessage, source: IPv6Address, destination: IPv6Address) -> bytes:
    """Encode a message with its Mobility Header, padding and checksum.

    Args:
        message: the message.
        source: source address for the checksum: the home address where a Home Address option carries one.
        destination: destination address for the checksum: the home address in a type 2 routing header if any.

    Raises:
        WireError: a field does not fit.
    """
    try:
        data = message.fixed_data()
        if not isinstance(message, UnknownMobilityMessage):
            data += encode_options(message.options, _HEADER.size + len(data))
        blocks, rest = divmod(_HEADER.size + len(data), _BLOCK)
        if rest or not blocks:
            raise WireError("bad-field-size", f"{len(data)} bytes of message data")
        kind = message.message_type
        checksum = -_sum(_HEADER.pack(NO_NEXT_HEADER, blocks - 1, kind, 0, 0) + data, source, destination) % _WORDS
        return _HEADER.pack(NO_NEXT_HEADER, blocks - 1, kind, 0, checksum) + data
    except struct.error as error:
        raise WireError("field-overflow", str(error)) from None


def parse_mobility_message(data: bytes, source: IPv6Address, destination: IPv6Address) -> MobilityMessage:
    """Decode and verify a Mobility Header.

    A message of unknown type comes back as UnknownMobilityMessage: the receiver owes a Binding Error for it.

    Args:
        data: from the Payload Proto field on, to the end of the packet.
        source: source address for the checksum: the home address where a Home Address option carried one.
        destination: destination address for the checksum: the home address in a type 2 routing header if any.

    Raises:
        WireError: ``truncated``, ``trailing-bytes``; ``bad-checksum`` (discard silently); ``bad-payload-protocol``
            and ``bad-header-length`` (an ICMPv6 Parameter Problem with pointer 0 or 1 may be sent); or an option's.
    """
    if len(data) < _HEADER.size:
        raise WireError("truncated", f"{len(data)} bytes of a Mobility Header")
    payload_protocol, blocks, message_type, _, _ = _HEADER.unpack_from(data)
    size = (blocks + 1) * _BLOCK
    if len(data) < size:
        raise WireError("truncated", f"{len(data)} bytes of a Mobility Header of {size}")
    if len(data) > size:
        raise WireError("trailing-bytes", f"{len(data) - size} bytes behind the Mobility Header")
    if _sum(data, source, destination) % _WORDS:
        raise WireError("bad-checksum", f"Mobility Header type {message_type}")
    known, data = KNOWN_MESSAGES.get(message_type), data[_HEADER.size :]
    if known is None:
        return UnknownMobilityMessage(message_type, data)
    if payload_protocol != NO_NEXT_HEADER:
        raise WireError("bad-payload-protocol", str(payload_protocol))
    if len(data) < known.fixed_size:
        raise WireError("bad-header-length", f"{size} bytes for a Mobility Header of type {message_type}")
    return known.read_data(data)


def _sum(message: bytes, source: IPv6Address, destination: IPv6Address) -> int:
    """A number that leaves the same rest as the sum of the 16-bit words of pseudo-header and message (RFC 8200 8.1).

    The Internet checksum is about that rest (RFC 1071), and a number leaves the same one as the sum of its words.
    """
    return int.from_bytes(message, "big") + int(source) + int(destination) + len(message) + MOBILITY_HEADER_PROTOCOL
