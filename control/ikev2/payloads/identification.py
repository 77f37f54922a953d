"""Identities and the Identification payloads that carry them (RFC 7296 section 3.5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import ClassVar, NamedTuple, Self

from control.ikev2.numbers import IdentificationType, PayloadType, members_by_value
from control.ikev2.payloads.packing import pack, unpack
from control.records import Record
from control.wire import WireError

_FIXED = Struct(">B3s")  # type, reserved
_RESERVED = bytes(3)
_TYPES = members_by_value(IdentificationType)

_HOST_NAME = re.compile(r"[A-Za-z0-9._-]+")
_GRAPHIC_ASCII = re.compile(rb"[!-~]+")
_NUMBERED = re.compile(r"type-([0-9]{1,3}):((?:[0-9a-f]{2})*)")


class Identity(NamedTuple):
    """Who an IKE peer is, as named to others and looked up in policy.

    A tuple, because it is hashed and compared sixteen times in a handshake, which a dataclass does in Python.

    Two identities are equal when type and bytes are: names are not folded to lower case.

    Attributes:
        type: an IdentificationType.
        data: the name in the encoding of its type.
    """

    type: int
    data: bytes

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The identity written as an IP address, ``user@realm``, a host name or what ``str`` gave for any other.

        Raises:
            ValueError: the text is none of these.
        """
        address = _address(text)
        if address is not None:
            is_ipv6 = isinstance(address, IPv6Address)
            return cls(IdentificationType.IPV6_ADDR if is_ipv6 else IdentificationType.IPV4_ADDR, address.packed)
        numbered = _NUMBERED.fullmatch(text)
        if numbered and int(numbered[1]) <= 0xFF:
            number = int(numbered[1])
            return cls(_TYPES.get(number, number), bytes.fromhex(numbered[2]))
        if "@" in text and text.isprintable():
            return cls(IdentificationType.RFC822_ADDR, text.encode())
        if _HOST_NAME.fullmatch(text):
            return cls(IdentificationType.FQDN, text.encode("ascii"))
        raise ValueError(f"{text!r} is no IP address, user@realm or host name")

    def __str__(self) -> str:
        """The form ``from_text`` reads; no two identities share one, so it may serve as a key.

        A name that would be read as another type, like a host name that looks like an address, is written as
        ``type-NUMBER:HEX``, as are types without a text form.
        """
        return _known_text(self) if len(self.data) <= _CACHED_SIZE else _text(self)

    def to_wire(self) -> bytes:
        """The body of an Identification payload, reserved bytes zero."""
        return pack(_FIXED, self.type, _RESERVED) + self.data


def _text(identity: Identity) -> str:
    text = _natural_text(identity)
    if text is not None:
        try:
            if Identity.from_text(text) == identity:
                return text
        except ValueError:
            pass
    return f"type-{int(identity.type)}:{identity.data.hex()}"


# Asked for several times in every handshake, and it takes as long as a small cryptographic operation to work out.
# Strangers name themselves too, so long names are not kept.
_known_text = lru_cache(maxsize=65_536)(_text)
_CACHED_SIZE = 255


def _natural_text(identity: Identity) -> str | None:
    if identity.type == IdentificationType.IPV6_ADDR and len(identity.data) == 16:
        return str(IPv6Address(identity.data))
    if identity.type == IdentificationType.IPV4_ADDR and len(identity.data) == 4:
        return str(IPv4Address(identity.data))
    if identity.type in (IdentificationType.FQDN, IdentificationType.RFC822_ADDR):
        return identity.data.decode(errors="replace")
    return None


class IdentificationPayload(Record, frozen=True):
    """What IDi and IDr have in common.

    Attributes:
        identity: who the side claims to be.
        reserved: the three reserved bytes as received. The AUTH payload covers them (RFC 7296 section 2.15), so
            authentication of a peer has to use ``to_wire`` of the payload, not of the identity.
    """

    identity: Identity
    reserved: bytes = _RESERVED

    def to_wire(self) -> bytes:
        """The payload body."""
        return pack(_FIXED, self.identity.type, self.reserved) + self.identity.data

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("truncated" or "bad-identity").

        Names with control characters are refused, for they end up in logs and tables.
        """
        identification_type, reserved = unpack(_FIXED, body)
        data = body[_FIXED.size :]
        if not _SOUND.get(identification_type, len)(data):
            raise WireError("bad-identity", f"type {identification_type}, {len(data)} bytes")
        return cls(Identity(_TYPES.get(identification_type, identification_type), data), reserved)


class IdentificationInitiator(IdentificationPayload, frozen=True):
    """IDi: the identity of the IKE SA's initiator."""

    payload_type: ClassVar[PayloadType] = PayloadType.IDENTIFICATION_INITIATOR


class IdentificationResponder(IdentificationPayload, frozen=True):
    """IDr: the identity of the responder, or in a request the one the initiator wishes to reach."""

    payload_type: ClassVar[PayloadType] = PayloadType.IDENTIFICATION_RESPONDER


def _address(text: str) -> IPv4Address | IPv6Address | None:
    if "@" in text:  # most nodes' names; finding out by two exceptions takes 5 microseconds
        return None
    for family in (IPv6Address, IPv4Address):
        try:
            # An address with a scope is not one by which others could know a host.
            return None if "%" in text else family(text)
        except ValueError:
            continue
    return None


def _is_mail_address(data: bytes) -> bool:
    try:
        return len(data) > 0 and data.decode().isprintable()
    except UnicodeDecodeError:
        return False


_SOUND: dict[int, Callable[[bytes], object]] = {
    IdentificationType.IPV4_ADDR: lambda data: len(data) == 4,
    IdentificationType.IPV6_ADDR: lambda data: len(data) == 16,
    IdentificationType.FQDN: _GRAPHIC_ASCII.fullmatch,
    IdentificationType.RFC822_ADDR: _is_mail_address,
}
"""Whether a name can be one of its type; of other types any will do that is not empty."""
