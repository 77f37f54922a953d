"""Configuration payload (RFC 7296 section 3.15) with the home prefix of RFC 5026 section 8.2."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from struct import Struct
from typing import Any, ClassVar, Self

from control.ikev2.numbers import ConfigurationAttributeType, ConfigurationType, PayloadType, members_by_value
from control.ikev2.payloads.packing import pack, unpack
from control.records import Record
from control.wire import WireError

MAX_ATTRIBUTES = 64
"""More attributes than this in one payload are refused."""

_FIXED = Struct(">B3x")  # type, reserved
_ATTRIBUTE_HEADER = Struct(">HH")  # reserved bit and type, length
_ADDRESS_WITH_PREFIX_LENGTH = Struct(">16sB")
_HOME_PREFIX = Struct(">I16sB")  # lifetime, prefix, prefix length
_TYPE_MASK = 0x7FFF
_TYPES = members_by_value(ConfigurationType)
_ATTRIBUTE_TYPES = members_by_value(ConfigurationAttributeType)


class ConfigurationAttribute(Record, frozen=True):
    """One item asked for or given.

    Attributes:
        type: a ConfigurationAttributeType; unknown ones are kept, and have to be ignored by the receiver.
        value: the item; empty where it is only asked for or acknowledged.
    """

    type: int
    value: bytes = b""

    @classmethod
    def internal_ip6_address(cls, address: IPv6Address, prefix_length: int = 128) -> Self:
        """An address for the peer: in Mobile IPv6 its home address (RFC 5026 section 5.3.2)."""
        value = pack(_ADDRESS_WITH_PREFIX_LENGTH, address.packed, prefix_length)
        return cls(ConfigurationAttributeType.INTERNAL_IP6_ADDRESS, value)

    @classmethod
    def mip6_home_prefix(cls, prefix: IPv6Network, lifetime: int) -> Self:
        """A prefix to make a home address from, valid for ``lifetime`` seconds."""
        value = pack(_HOME_PREFIX, lifetime, prefix.network_address.packed, prefix.prefixlen)
        return cls(ConfigurationAttributeType.MIP6_HOME_PREFIX, value)

    def parse_internal_ip6_address(self) -> tuple[IPv6Address, int]:
        """The address and prefix length of an INTERNAL_IP6_ADDRESS; WireError("bad-length" or "bad-prefix")."""
        address, prefix_length = self._fields(_ADDRESS_WITH_PREFIX_LENGTH)
        return IPv6Address(address), _prefix_length(prefix_length)

    def parse_mip6_home_prefix(self) -> tuple[IPv6Network, int]:
        """The prefix and lifetime in seconds of a MIP6_HOME_PREFIX; WireError("bad-length" or "bad-prefix").

        Bits of the address beyond the prefix length are ignored.
        """
        lifetime, address, prefix_length = self._fields(_HOME_PREFIX)
        return IPv6Network((address, _prefix_length(prefix_length)), strict=False), lifetime

    def _fields(self, structure: Struct) -> tuple[Any, ...]:
        if len(self.value) != structure.size:
            raise WireError("bad-length", f"configuration attribute {self.type} of {len(self.value)} bytes")
        return structure.unpack(self.value)


class ConfigurationPayload(Record, frozen=True):
    """A request for configuration, or the answer.

    Attributes:
        type: a ConfigurationType.
        attributes: the items in the order of the message.
    """

    type: int
    attributes: tuple[ConfigurationAttribute, ...] = ()

    payload_type: ClassVar[PayloadType] = PayloadType.CONFIGURATION

    def first(self, attribute_type: int) -> ConfigurationAttribute | None:
        """The first attribute of this type, None if there is none."""
        return next((attribute for attribute in self.attributes if attribute.type == attribute_type), None)

    def to_wire(self) -> bytes:
        """The payload body."""
        parts = [pack(_FIXED, self.type)]
        for attribute in self.attributes:
            if attribute.type > _TYPE_MASK:
                raise WireError("field-overflow", f"configuration attribute type {attribute.type}")
            parts += (pack(_ATTRIBUTE_HEADER, attribute.type, len(attribute.value)), attribute.value)
        return b"".join(parts)

    @classmethod
    def from_wire(cls, body: bytes) -> Self:
        """Parse a payload body; WireError("truncated" or "too-many").

        Values are parsed only when asked for: an attribute that makes no sense must not spoil the others.
        """
        (configuration_type,) = unpack(_FIXED, body)
        attributes: list[ConfigurationAttribute] = []
        offset = _FIXED.size
        while offset < len(body):
            if len(attributes) == MAX_ATTRIBUTES:
                raise WireError("too-many", f"more than {MAX_ATTRIBUTES} configuration attributes")
            attribute_type, length = unpack(_ATTRIBUTE_HEADER, body, offset)
            attribute_type &= _TYPE_MASK
            start = offset + _ATTRIBUTE_HEADER.size
            offset = start + length
            if offset > len(body):
                raise WireError("truncated", f"configuration attribute {attribute_type} of {length} bytes")
            known_type = _ATTRIBUTE_TYPES.get(attribute_type, attribute_type)
            attributes.append(ConfigurationAttribute(known_type, body[start:offset]))
        return cls(_TYPES.get(configuration_type, configuration_type), tuple(attributes))


def _prefix_length(value: int) -> int:
    if value > 128:
        raise WireError("bad-prefix", f"prefix length {value}")
    return value
