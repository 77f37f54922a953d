"""Notify payload (RFC 7296 section 3.10)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import ClassVar, Self

from control.ikev2.numbers import (
    FIRST_STATUS_NOTIFICATION,
    HashAlgorithm,
    NotifyType,
    PayloadType,
    ProtocolId,
    members_by_value,
)
from control.ikev2.payloads.packing import pack, unpack
from control.records import Record
from control.wire import WireError

_FIXED = Struct(">BBH")  # protocol, SPI size, type
_FIXED_SIZE = _FIXED.size
_U16 = Struct(">H")
_CACHED_SIZE = 16
_TYPES = members_by_value(NotifyType)
_PROTOCOLS = members_by_value(ProtocolId)
_HASH_ALGORITHMS = members_by_value(HashAlgorithm)


class NotifyPayload(Record, frozen=True):
    """An error report, or a status by which a capability or a wish is made known.

    Attributes:
        type: a NotifyType; unknown ones are kept.
        protocol: the ProtocolId of the SA that ``spi`` names, 0 without one.
        spi: the SA the notification is about, empty for the IKE SA or none.
        data: what the type defines.
    """

    type: int
    protocol: int = 0
    spi: bytes = b""
    data: bytes = b""

    payload_type: ClassVar[PayloadType] = PayloadType.NOTIFY

    @property
    def is_error(self) -> bool:
        """Whether the type is in the range of errors, known or not."""
        return self.type < FIRST_STATUS_NOTIFICATION

    @classmethod
    def invalid_ke_payload(cls, group: int) -> Self:
        """The refusal of a key exchange, naming the group that would be accepted (section 1.2)."""
        return cls(NotifyType.INVALID_KE_PAYLOAD, data=pack(_U16, group))

    @classmethod
    def signature_hash_algorithms(cls, algorithms: Iterable[int]) -> Self:
        """The hash algorithms the sender verifies signatures with (RFC 7427 section 4)."""
        return cls(NotifyType.SIGNATURE_HASH_ALGORITHMS, data=b"".join(pack(_U16, each) for each in algorithms))

    def key_exchange_group(self) -> int:
        """The group in the data of INVALID_KE_PAYLOAD; WireError("bad-length")."""
        if len(self.data) != _U16.size:
            raise WireError("bad-length", f"group in {len(self.data)} bytes")
        return int.from_bytes(self.data, "big")

    def hash_algorithms(self) -> tuple[int, ...]:
        """The HashAlgorithms in the data of SIGNATURE_HASH_ALGORITHMS; WireError("bad-length")."""
        if len(self.data) % _U16.size:
            raise WireError("bad-length", f"hash algorithms in {len(self.data)} bytes")
        return (_read_hashes_cached if len(self.data) <= _CACHED_SIZE else _read_hashes)(self.data)

    def to_wire(self) -> bytes:
        """The payload body."""
        return pack(_FIXED, self.protocol, len(self.spi), self.type) + self.spi + self.data

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("truncated")."""
        # Most are one of a handful of capabilities. What is longer is a cookie or the like, seen once.
        return cls._parse_cached(body) if len(body) <= _CACHED_SIZE else cls._parse(body)

    @classmethod
    def _parse(cls, body: bytes) -> Self:
        notify_type, protocol, data_start = _read_beginning(body[:_FIXED_SIZE])
        if data_start > len(body):
            raise WireError("truncated", f"SPI of {data_start - _FIXED_SIZE} bytes")
        return cls(notify_type, protocol, body[_FIXED_SIZE:data_start], body[data_start:])

    @classmethod
    @lru_cache(maxsize=64)
    def _parse_cached(cls, body: bytes) -> Self:
        return cls._parse(body)


@lru_cache(maxsize=64)
def _read_beginning(fixed: bytes) -> tuple[int, int, int]:
    """The type, the protocol and where the data begins."""
    protocol, spi_size, notify_type = unpack(_FIXED, fixed)
    return _TYPES.get(notify_type, notify_type), _PROTOCOLS.get(protocol, protocol), _FIXED_SIZE + spi_size


def _read_hashes(data: bytes) -> tuple[int, ...]:
    return tuple(_HASH_ALGORITHMS.get(value, value) for (value,) in _U16.iter_unpack(data))


_read_hashes_cached = lru_cache(maxsize=64)(_read_hashes)
