"""IKE messages: the header and the Encrypted payload (RFC 7296 sections 3.1 and 3.14).

The Encrypted Fragment payload is that of RFC 7383 section 2.5.
"""

from __future__ import annotations

import struct
from struct import Struct
from typing import NamedTuple

from control.ikev2.errors import UnsupportedCriticalPayload, UnsupportedMajorVersion
from control.ikev2.numbers import ExchangeType, PayloadType, members_by_value
from control.ikev2.payload_chain import (
    CRITICAL,
    ENCRYPTED_TYPES,
    MAX_PAYLOADS,
    PAYLOAD_HEADER_SIZE,
    EncodedChain,
    encode_payload_chain,
    parse_payloads,
    read_payload_header,
)
from control.ikev2.payloads import PAYLOAD_CLASSES, Payload, ReceivedPayloads
from control.ikev2.payloads.packing import unpack
from control.records import Record
from control.wire import WireError

HEADER_SIZE = 28
"""Bytes of the IKE header."""
FRAGMENT_HEADER_SIZE = 4
"""Bytes of an Encrypted Fragment payload between its generic header and the initialisation vector."""
SPI_SIZE = 8
"""Bytes of an IKE SPI."""
ZERO_SPI = bytes(SPI_SIZE)
"""The responder's SPI in the first message of an IKE SA."""

_HEADER = Struct(">8s8sBBBBII")  # SPIs, next payload, version, exchange, flags, message identifier, length
_FRAGMENT_HEADER = Struct(">HH")  # fragment number, total fragments
_PROTECTED = Struct(_HEADER.format + "BBH")  # and the generic header of the Encrypted payload
_FRAGMENT = Struct(_PROTECTED.format + _FRAGMENT_HEADER.format[1:])
_MAJOR_VERSION = 2
_VERSION = _MAJOR_VERSION << 4
_FLAG_INITIATOR = 0x08
_FLAG_RESPONSE = 0x20
_NEXT_PAYLOAD = 16  # offset of the type of the first payload
_NONE = int(PayloadType.NONE)
_ENCRYPTED_FRAGMENT = int(PayloadType.ENCRYPTED_FRAGMENT)
_EXCHANGES = members_by_value(ExchangeType)


class Header(Record, frozen=True):
    """The IKE header but for the fields that follow from the rest of the message.

    Attributes:
        initiator_spi: 8 bytes, chosen by the original initiator of the IKE SA.
        responder_spi: 8 bytes, zero until the responder has chosen.
        exchange: an ExchangeType.
        is_initiator: the sender is the original initiator of the IKE SA.
        is_response: the message answers the request with the same message identifier.
        message_id: number of the exchange, counted apart for each side's requests.
    """

    initiator_spi: bytes
    responder_spi: bytes
    exchange: int
    is_initiator: bool
    is_response: bool
    message_id: int


class Message(NamedTuple):
    """A message to be sent without an Encrypted payload."""

    header: Header
    payloads: tuple[Payload, ...]


class ReceivedMessage(NamedTuple):
    """A message that came without an Encrypted payload."""

    header: Header
    payloads: ReceivedPayloads


class FragmentPosition(NamedTuple):
    """Which part of a message an Encrypted Fragment payload holds (RFC 7383 section 2.5).

    Attributes:
        number: counted from 1, at most ``total``.
        total: into how many fragments the message was divided.
    """

    number: int
    total: int


class EncryptedMessage(Record, frozen=True):
    """A message whose contents are still encrypted. Nothing of it is authentic yet.

    Attributes:
        header: the IKE header.
        first_inner_type: type of the first payload inside, for ``parse_payloads`` after decryption. Of fragments,
            only the first one tells it.
        associated_data: every byte before ``body``: what an AEAD authenticates besides (RFC 5282 section 5.1).
        body: initialisation vector, ciphertext and integrity check value.
        fragment: which part of a message it is, None for a whole one.
    """

    header: Header
    first_inner_type: int
    associated_data: bytes
    body: bytes
    fragment: FragmentPosition | None = None

    def __repr__(self) -> str:
        return f"EncryptedMessage({self.header}, {len(self.body)} bytes)"


def parse_header(data: bytes) -> Header:
    """The header of a datagram.

    Raises:
        UnsupportedMajorVersion: another major version of IKE (reason ``bad-version``).
        WireError: ``truncated``, or ``bad-length`` where the length field differs from the datagram's length.
    """
    try:
        initiator_spi, responder_spi, _, version, exchange, flags, message_id, length = _HEADER.unpack_from(data)
    except struct.error:
        raise WireError("truncated", f"header in {len(data)} bytes") from None
    header = Header(
        initiator_spi,
        responder_spi,
        _EXCHANGES.get(exchange, exchange),
        flags & _FLAG_INITIATOR != 0,
        flags & _FLAG_RESPONSE != 0,
        message_id,
    )
    if version >> 4 != _MAJOR_VERSION:
        raise UnsupportedMajorVersion(version >> 4, header)
    if length != len(data):
        raise WireError("bad-length", f"message of {length} bytes in {len(data)}")
    return header


def parse_message(data: bytes, header: Header | None = None) -> ReceivedMessage:
    """A datagram with an unprotected message.

    Args:
        data: the datagram.
        header: what :func:`parse_header` made of it, None if it was not asked.

    Raises:
        UnsupportedCriticalPayload: see ``parse_payloads``.
        WireError: as ``parse_header`` and ``parse_payloads`` raise it; ``unexpected-encrypted-payload`` where the
            message is a protected one.
    """
    header = header or parse_header(data)
    from_stranger = not header.is_response  # an answer is one that this side waits for
    return ReceivedMessage(header, parse_payloads(data[_NEXT_PAYLOAD], data, HEADER_SIZE, from_stranger=from_stranger))


def split_encrypted(data: bytes, header: Header | None = None) -> EncryptedMessage:
    """A datagram with a protected message or a fragment of one, split where decryption needs it.

    Payloads of unknown type before the Encrypted payload are skipped unless critical; known ones have no business
    there. Whatever this raises was caused by unauthenticated bytes and is no reason to answer.

    Args:
        data: the datagram.
        header: what :func:`parse_header` made of it, None if it was not asked.

    Raises:
        UnsupportedCriticalPayload: an unknown critical payload precedes the Encrypted payload.
        WireError: as ``parse_header`` raises it; ``unprotected-payload``, ``no-encrypted-payload``,
            ``trailing-bytes``, ``truncated``, ``too-many`` or ``bad-fragment``.
    """
    header = header or parse_header(data)
    payload_type, offset = data[_NEXT_PAYLOAD], HEADER_SIZE
    if payload_type not in ENCRYPTED_TYPES:
        payload_type, offset = _skip_unknown(data, payload_type, header)
    first_inner_type, _, end = read_payload_header(data, offset)
    if end != len(data):
        raise WireError("trailing-bytes", f"{len(data) - end} bytes after the encrypted payload")
    fragment = None
    body_start = offset + PAYLOAD_HEADER_SIZE
    if payload_type == _ENCRYPTED_FRAGMENT:
        fragment = _read_fragment_header(data, body_start)
        body_start += FRAGMENT_HEADER_SIZE
    return EncryptedMessage(header, first_inner_type, data[:body_start], data[body_start:], fragment)


def _skip_unknown(data: bytes, payload_type: int, header: Header) -> tuple[int, int]:
    """The type and the place of the Encrypted payload of a message that begins with another one."""
    offset = HEADER_SIZE
    for _ in range(MAX_PAYLOADS):
        if payload_type in ENCRYPTED_TYPES:
            return payload_type, offset
        if payload_type == _NONE:
            raise WireError("no-encrypted-payload", f"exchange {header.exchange}")
        next_type, flags, end = read_payload_header(data, offset)
        if payload_type in PAYLOAD_CLASSES:
            raise WireError("unprotected-payload", f"type {payload_type} before the encrypted payload")
        if flags & CRITICAL:
            raise UnsupportedCriticalPayload(payload_type)
        payload_type, offset = next_type, end
    raise WireError("too-many", f"more than {MAX_PAYLOADS} payloads")


def encode_message(message: Message) -> bytes:
    """The datagram of an unprotected message."""
    return encode_unprotected(message.header, encode_payload_chain(message.payloads))


def encode_unprotected(header: Header, encoded: EncodedChain) -> bytes:
    """The datagram of an unprotected message whose payloads are encoded already."""
    first_type, chain = encoded
    return _encode(_HEADER, header, first_type, HEADER_SIZE + len(chain)) + chain


def encrypted_prefix(header: Header, first_inner_type: int, body_size: int) -> bytes:
    """All of a protected message that precedes the Encrypted payload's body of ``body_size`` bytes.

    It is the associated data of an AEAD; the body (initialisation vector, ciphertext, integrity check value) follows.
    """
    payload_size = PAYLOAD_HEADER_SIZE + body_size
    size = HEADER_SIZE + payload_size
    return _encode(_PROTECTED, header, PayloadType.ENCRYPTED, size, first_inner_type, 0, payload_size)


def fragment_prefix(header: Header, first_inner_type: int, position: FragmentPosition, body_size: int) -> bytes:
    """All of a message with one fragment that precedes the body of ``body_size`` bytes: its associated data.

    Args:
        header: the header of the whole message.
        first_inner_type: type of the whole message's first payload; the first fragment alone tells it.
        position: which fragment it is.
        body_size: bytes of initialisation vector, ciphertext and integrity check value.
    """
    payload_size = PAYLOAD_HEADER_SIZE + FRAGMENT_HEADER_SIZE + body_size
    next_type = first_inner_type if position.number == 1 else PayloadType.NONE
    size = HEADER_SIZE + payload_size
    return _encode(_FRAGMENT, header, PayloadType.ENCRYPTED_FRAGMENT, size, next_type, 0, payload_size, *position)


def _read_fragment_header(data: bytes, offset: int) -> FragmentPosition:
    position = FragmentPosition(*unpack(_FRAGMENT_HEADER, data, offset))
    if not 0 < position.number <= position.total:
        raise WireError("bad-fragment", f"number {position.number} of {position.total}")
    return position


def _encode(structure: Struct, header: Header, first_type: int, length: int, *following: int) -> bytes:
    """The header, and what else ``structure`` has behind it."""
    if len(header.initiator_spi) != SPI_SIZE or len(header.responder_spi) != SPI_SIZE:
        raise WireError("bad-spi-size", "IKE header")
    flags = (_FLAG_INITIATOR if header.is_initiator else 0) | (_FLAG_RESPONSE if header.is_response else 0)
    try:
        return structure.pack(
            header.initiator_spi,
            header.responder_spi,
            first_type,
            _VERSION,
            header.exchange,
            flags,
            header.message_id,
            length,
            *following,
        )
    except struct.error as error:
        raise WireError("field-overflow", str(error)) from None
