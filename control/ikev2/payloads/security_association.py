"""Security Association payload: proposals, transforms and their attributes (RFC 7296 section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct
from typing import ClassVar, NamedTuple, Self

from control.ikev2.numbers import PayloadType, ProtocolId, TransformAttributeType, TransformType, members_by_value
from control.ikev2.payloads.packing import pack, unpack
from control.records import Record
from control.wire import WireError

MAX_PROPOSALS = 32
"""More proposals than this in one payload are refused."""
MAX_TRANSFORMS = 128
"""More transforms than this in one proposal are refused."""
MAX_ATTRIBUTES = 8
"""More attributes than this in one transform are refused."""

_PROPOSAL = Struct(">BxHBBBB")  # last, reserved, length, number, protocol, SPI size, number of transforms
_TRANSFORM = Struct(">BxHBxH")  # last, reserved, length, type, reserved, identifier
_ATTRIBUTE = Struct(">HH")  # format bit and type, value or length
_LAST = 0
_MORE_PROPOSALS = 2
_MORE_TRANSFORMS = 3
_SHORT_FORMAT = 0x8000
_CACHED_TRANSFORMS_SIZE = 256
_CACHED_SIZE = 512
_PROTOCOL_OFFSET = 5
_PROTOCOL_IKE = bytes((ProtocolId.IKE,))
_NUMBER_OFFSET = 4
_NO_ESP_SPI = bytes(4)
_SPI_START = _PROPOSAL.size  # of the first proposal's SPI
_ESP_SPI_END = _SPI_START + len(_NO_ESP_SPI)
_ONLY_OF_ESP = bytes((1, ProtocolId.ESP, len(_NO_ESP_SPI)))  # number, protocol and size of the SPI

_PROTOCOLS = members_by_value(ProtocolId)
_TRANSFORM_TYPES = members_by_value(TransformType)
_SPI_SIZES: dict[int, tuple[int, ...]] = {ProtocolId.IKE: (0, 8), ProtocolId.AH: (4,), ProtocolId.ESP: (4,)}


class TransformAttribute(Record, frozen=True):
    """An attribute other than Key Length; a transform that has one is not to be chosen (section 3.3.6).

    Attributes:
        type: 15-bit attribute type.
        value: an integer for the two-byte TV format, bytes for TLV.
    """

    type: int
    value: int | bytes


class Transform(NamedTuple):
    """One algorithm on offer. A tuple, as answers are looked up by those they choose.

    Attributes:
        type: a TransformType.
        id: the algorithm among those of its type.
        key_bits: the Key Length attribute, None without one.
        unknown_attributes: whatever other attributes came with it.
    """

    type: int
    id: int
    key_bits: int | None = None
    unknown_attributes: tuple[TransformAttribute, ...] = ()


class Proposal(Record, frozen=True):
    """One protocol with the algorithms to choose from.

    Attributes:
        number: position in an offer, from 1; an answer repeats the number of the proposal chosen.
        protocol: a ProtocolId.
        spi: the sender's SPI: empty in IKE_SA_INIT, 8 bytes when an IKE SA is rekeyed, 4 for ESP and AH.
        transforms: by preference within each type.
    """

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[Transform, ...]


class SecurityAssociationPayload(Record, frozen=True):
    """An offer of proposals by preference, or the one chosen with one transform of each type."""

    proposals: tuple[Proposal, ...]

    payload_type: ClassVar[PayloadType] = PayloadType.SECURITY_ASSOCIATION

    def to_wire(self) -> bytes:
        """The payload body."""
        parts: list[bytes] = []
        for left, proposal in zip(range(len(self.proposals) - 1, -1, -1), self.proposals, strict=True):
            transforms = _encode_transforms(proposal.transforms)
            header = pack(
                _PROPOSAL,
                _MORE_PROPOSALS if left else _LAST,
                _PROPOSAL.size + len(proposal.spi) + len(transforms),
                proposal.number,
                proposal.protocol,
                len(proposal.spi),
                len(proposal.transforms),
            )
            parts += (header, proposal.spi, transforms)
        return b"".join(parts)

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError for anything whose lengths, counts and flags do not agree."""
        # Peers of one kind send the same bytes each time, but for the SPI of a child SA.
        if len(body) > _CACHED_SIZE:
            return cls(_parse(body))
        if body.startswith(_ONLY_OF_ESP, _NUMBER_OFFSET) and body[0] == _LAST and len(body) > _ESP_SPI_END:
            (same,) = _parse_cached(body[:_SPI_START] + _NO_ESP_SPI + body[_ESP_SPI_END:])
            spi = body[_SPI_START:_ESP_SPI_END]
            return cls((Proposal(same.number, same.protocol, spi, same.transforms),))
        return cls((_parse_cached if body.startswith(_PROTOCOL_IKE, _PROTOCOL_OFFSET) else _parse)(body))


def _parse(body: bytes) -> tuple[Proposal, ...]:
    proposals: list[Proposal] = []
    offset, last = 0, _MORE_PROPOSALS
    while last != _LAST:
        if len(proposals) == MAX_PROPOSALS:
            raise WireError("too-many", f"more than {MAX_PROPOSALS} proposals")
        last, length, *fields = unpack(_PROPOSAL, body, offset)
        if last not in (_LAST, _MORE_PROPOSALS):
            raise WireError("bad-last-flag", f"proposal with {last}")
        if length < _PROPOSAL.size or offset + length > len(body):
            raise WireError("bad-length", f"proposal of {length} bytes, {len(body) - offset} left")
        proposals.append(_parse_proposal(fields, body[offset + _PROPOSAL.size : offset + length]))
        offset += length
    if offset != len(body):
        raise WireError("trailing-bytes", f"{len(body) - offset} bytes after the last proposal")
    _check_numbers(proposals)
    return tuple(proposals)


_parse_cached = lru_cache(maxsize=64)(_parse)


def _check_numbers(proposals: Sequence[Proposal]) -> None:
    # An offer counts from 1, an answer has a single proposal of any number.
    first = proposals[0].number
    for index, proposal in enumerate(proposals):
        if proposal.number != first + index or first == 0:
            raise WireError("bad-proposal-number", f"{proposal.number} at position {index + 1}")


def _parse_proposal(fields: Sequence[int], block: bytes) -> Proposal:
    number, protocol, spi_size, transform_count = fields
    if spi_size not in _SPI_SIZES.get(protocol, (spi_size,)):
        raise WireError("bad-spi-size", f"{spi_size} for protocol {protocol}")
    transforms = block[spi_size:]
    # Most proposals a daemon sees repeat the same few lists of algorithms. Long lists are not worth the memory.
    parse = _parse_transforms_cached if len(transforms) <= _CACHED_TRANSFORMS_SIZE else _parse_transforms
    return Proposal(number, _PROTOCOLS.get(protocol, protocol), block[:spi_size], parse(transforms, transform_count))


def _parse_transforms(block: bytes, count: int) -> tuple[Transform, ...]:
    if not 0 < count <= MAX_TRANSFORMS:
        raise WireError("too-many" if count else "bad-count", f"{count} transforms")
    transforms: list[Transform] = []
    offset = 0
    for left in range(count - 1, -1, -1):
        last, length, transform_type, identifier = unpack(_TRANSFORM, block, offset)
        if last != (_MORE_TRANSFORMS if left else _LAST):
            raise WireError("bad-last-flag", f"transform with {last}, {left} to come")
        if length < _TRANSFORM.size or offset + length > len(block):
            raise WireError("bad-length", f"transform of {length} bytes, {len(block) - offset} left")
        key_bits, unknown = _parse_attributes(block, offset + _TRANSFORM.size, offset + length)
        known_type = _TRANSFORM_TYPES.get(transform_type, transform_type)
        transforms.append(Transform(known_type, identifier, key_bits, unknown))
        offset += length
    if offset != len(block):
        raise WireError("trailing-bytes", f"{len(block) - offset} bytes after the last transform")
    return tuple(transforms)


_parse_transforms_cached = lru_cache(maxsize=128)(_parse_transforms)


def _parse_attributes(block: bytes, offset: int, end: int) -> tuple[int | None, tuple[TransformAttribute, ...]]:
    key_bits: int | None = None
    unknown: list[TransformAttribute] = []
    while offset < end:
        if len(unknown) == MAX_ATTRIBUTES:
            raise WireError("too-many", f"more than {MAX_ATTRIBUTES} transform attributes")
        if offset + _ATTRIBUTE.size > end:
            raise WireError("truncated", "transform attribute")
        format_and_type, value = _ATTRIBUTE.unpack_from(block, offset)
        attribute_type = format_and_type & ~_SHORT_FORMAT
        offset += _ATTRIBUTE.size
        if format_and_type & _SHORT_FORMAT:
            if attribute_type != TransformAttributeType.KEY_LENGTH:
                unknown.append(TransformAttribute(attribute_type, value))
            elif key_bits is None:
                key_bits = value
            else:
                raise WireError("bad-attribute", "two key lengths")
            continue
        if attribute_type == TransformAttributeType.KEY_LENGTH:
            raise WireError("bad-attribute", "key length in the variable-length format")
        if offset + value > end:
            raise WireError("truncated", f"transform attribute of {value} bytes")
        unknown.append(TransformAttribute(attribute_type, block[offset : offset + value]))
        offset += value
    return key_bits, tuple(unknown)


# A daemon sends the few lists it was configured with, over and over.
@lru_cache(maxsize=128)
def _encode_transforms(transforms: tuple[Transform, ...]) -> bytes:
    parts: list[bytes] = []
    for left, transform in zip(range(len(transforms) - 1, -1, -1), transforms, strict=True):
        attributes = _encode_attributes(transform)
        length = _TRANSFORM.size + len(attributes)
        last = _MORE_TRANSFORMS if left else _LAST
        parts += (pack(_TRANSFORM, last, length, transform.type, transform.id), attributes)
    return b"".join(parts)


def _encode_attributes(transform: Transform) -> bytes:
    encoded = b""
    if transform.key_bits is not None:
        encoded = pack(_ATTRIBUTE, _SHORT_FORMAT | TransformAttributeType.KEY_LENGTH, transform.key_bits)
    for attribute in transform.unknown_attributes:
        if attribute.type >= _SHORT_FORMAT:
            raise WireError("field-overflow", f"transform attribute type {attribute.type}")
        if isinstance(attribute.value, int):
            encoded += pack(_ATTRIBUTE, _SHORT_FORMAT | attribute.type, attribute.value)
        else:
            encoded += pack(_ATTRIBUTE, attribute.type, len(attribute.value)) + attribute.value
    return encoded
