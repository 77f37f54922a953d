"""The Mobility Header around every mobility message (RFC 6275 sections 6.1.1 and 9.2)."""

from __future__ import annotations

from ipaddress import IPv6Address
from struct import Struct

from control.mobility.messages import KNOWN_MESSAGES, MobilityMessage, UnknownMobilityMessage
from control.mobility.numbers import MOBILITY_HEADER_PROTOCOL, NO_NEXT_HEADER
from control.mobility.options import write_options
from control.wire import Reader, WireError, Writer, internet_checksum

_HEADER = Struct(">BBBBH")  # payload protocol, length, type, reserved, checksum
_CHECKSUM = Struct(">H")
_BLOCK = 8
_MOST_BLOCKS = 255
_LENGTH_OFFSET = 1
_CHECKSUM_OFFSET = 4


def build_mobility_message(message: MobilityMessage, source: IPv6Address, destination: IPv6Address) -> bytes:
    """Encode a message with its Mobility Header, padding and checksum.

    Args:
        message: the message.
        source: source address for the checksum: the home address where a Home Address option carries one.
        destination: destination address for the checksum: the home address in a type 2 routing header if any.

    Raises:
        WireError: a field does not fit.
    """
    writer = Writer()
    writer.put(_HEADER.pack(NO_NEXT_HEADER, 0, message.message_type, 0, 0))
    message.write_data(writer)
    if isinstance(message, UnknownMobilityMessage):
        if len(writer) % _BLOCK or len(writer) < _BLOCK:
            raise WireError("bad-field-size", f"{len(message.data)} bytes of message data")
    else:
        write_options(writer, message.options)
    header = writer.buffer
    blocks = len(header) // _BLOCK - 1
    if blocks > _MOST_BLOCKS:
        raise WireError("field-overflow", f"{blocks} blocks")
    header[_LENGTH_OFFSET] = blocks
    _CHECKSUM.pack_into(header, _CHECKSUM_OFFSET, _checksum(header, source, destination))
    return bytes(header)


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
    reader = Reader(data)
    payload_protocol, blocks, message_type, _, _ = reader.fields(_HEADER)
    size = (blocks + 1) * _BLOCK
    if len(data) < size:
        raise WireError("truncated", f"{len(data)} bytes of a Mobility Header of {size}")
    if len(data) > size:
        raise WireError("trailing-bytes", f"{len(data) - size} bytes behind the Mobility Header")
    if _checksum(data, source, destination):
        raise WireError("bad-checksum", f"Mobility Header type {message_type}")
    known = KNOWN_MESSAGES.get(message_type)
    if known is None:
        return UnknownMobilityMessage(message_type, reader.rest())
    if payload_protocol != NO_NEXT_HEADER:
        raise WireError("bad-payload-protocol", str(payload_protocol))
    if reader.remaining < known.fixed_size:
        raise WireError("bad-header-length", f"{size} bytes for a Mobility Header of type {message_type}")
    return known.read_data(reader)


def _checksum(header: bytes | bytearray, source: IPv6Address, destination: IPv6Address) -> int:
    # The pseudo-header counts as the sum of its numbers: the checksum does not mind where in it 16-bit words stand.
    return internet_checksum(header, int(source) + int(destination) + len(header) + MOBILITY_HEADER_PROTOCOL)
