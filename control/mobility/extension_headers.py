"""Whole IPv6 packets with the headers Mobile IPv6 adds (RFC 8200, RFC 6275 sections 6.3 and 6.4, RFC 2473).

On the wire a mobile node is at its care-of address; its home address travels in a Home Address option on the way to
the home agent and in a type 2 routing header on the way back.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from struct import Struct

from control.mobility.addresses import is_unicast_routable
from control.records import MutableRecord, Record
from control.wire import Reader, WireError, Writer

IPV6_HEADER_SIZE = 40
DEFAULT_HOP_LIMIT = 64

PROTOCOL_HOP_BY_HOP = 0
PROTOCOL_IPV6 = 41
PROTOCOL_ROUTING = 43
PROTOCOL_FRAGMENT = 44
PROTOCOL_DESTINATION_OPTIONS = 60

OPTION_HOME_ADDRESS = 0xC9
OPTION_SWAPPED_CARE_OF_ADDRESS = 0x1E
"""What the data path turns a Home Address option into: skipped if unknown, it holds the care-of address."""

_IPV6_HEADER = Struct(">IHBB16s16s")  # version, traffic class and flow label, length, next header, hop limit, addresses
_HEADERS_TO_MOBILE_NODE = Struct(">IHBB16s16s BBBB4x16s")  # and next header, length, type, segments left, home address
_ROUTING_HEADER_SIZE = 24

_VERSION = 6
_OPTION_PAD1 = 0
_OPTION_PADN = 1
_OPTION_SKIP_IF_UNKNOWN = 0
_ADDRESS_SIZE = 16
_BLOCK = 8
_ROUTING_TYPE_2 = 2
_ROUTING_TYPE_2_LENGTH = 2
_MAX_EXTENSION_HEADERS = 8
"""More extension headers than any packet for us has; a bound on the work a stranger can cause."""


class Ipv6Packet(Record, frozen=True):
    """An IPv6 packet taken apart.

    Attributes:
        source: source address as on the wire.
        destination: destination address as on the wire.
        next_header: protocol of ``payload``: the first header that is not an extension header we walk past.
        payload: what follows the extension headers.
        home_address_option: the address in a Home Address option, None without one.
        routing_header_2: the address in a type 2 routing header, None without one.
        hop_limit: hops left.
        traffic_class: DSCP and ECN bits.
        flow_label: 20 bits.
    """

    source: IPv6Address
    destination: IPv6Address
    next_header: int
    payload: bytes
    home_address_option: IPv6Address | None = None
    routing_header_2: IPv6Address | None = None
    hop_limit: int = DEFAULT_HOP_LIMIT
    traffic_class: int = 0
    flow_label: int = 0

    @property
    def logical_source(self) -> IPv6Address:
        """Who sent it, as upper layers, checksums and IPsec selectors see it: the home address if one is given."""
        return self.source if self.home_address_option is None else self.home_address_option

    @property
    def logical_destination(self) -> IPv6Address:
        """Whom it is for, as upper layers, checksums and IPsec selectors see it."""
        return self.destination if self.routing_header_2 is None else self.routing_header_2


def build_ipv6(
    source: IPv6Address,
    destination: IPv6Address,
    next_header: int,
    payload: bytes,
    hop_limit: int = DEFAULT_HOP_LIMIT,
    traffic_class: int = 0,
    flow_label: int = 0,
) -> bytes:
    """A packet of one IPv6 header and ``payload``, which begins with the header ``next_header`` names.

    Raises:
        WireError: a field does not fit, a payload over 65,535 bytes for one.
    """
    if traffic_class >> 8 or flow_label >> 20:
        raise WireError("field-overflow", f"traffic class {traffic_class}, flow label {flow_label}")
    first = _VERSION << 28 | traffic_class << 20 | flow_label
    try:
        header = _IPV6_HEADER.pack(first, len(payload), next_header, hop_limit, source.packed, destination.packed)
    except struct.error as error:
        raise WireError("field-overflow", str(error)) from None
    return header + payload


def build_to_mobile_node(
    home_agent: IPv6Address,
    care_of_address: IPv6Address,
    home_address: IPv6Address,
    next_header: int,
    payload: bytes,
) -> bytes:
    """A packet to a mobile node away from home, with a type 2 routing header (RFC 6275 section 6.4.1)."""
    try:
        headers = _HEADERS_TO_MOBILE_NODE.pack(
            _VERSION << 28,
            _ROUTING_HEADER_SIZE + len(payload),
            PROTOCOL_ROUTING,
            DEFAULT_HOP_LIMIT,
            home_agent.packed,
            care_of_address.packed,
            next_header,
            _ROUTING_TYPE_2_LENGTH,
            _ROUTING_TYPE_2,
            1,
            home_address.packed,
        )
    except struct.error as error:
        raise WireError("field-overflow", str(error)) from None
    return headers + payload


def build_from_mobile_node(
    care_of_address: IPv6Address,
    home_agent: IPv6Address,
    home_address: IPv6Address,
    next_header: int,
    payload: bytes,
) -> bytes:
    """A packet from a mobile node away from home, with a Home Address option (RFC 6275 section 6.3)."""
    writer = Writer()
    writer.u8(next_header)
    writer.u8(2)
    # The option wants to stand at 8n + 6: four octets of padding come first.
    writer.put(bytes((_OPTION_PADN, 2, 0, 0, OPTION_HOME_ADDRESS, _ADDRESS_SIZE)))
    writer.ipv6(home_address)
    writer.put(payload)
    return build_ipv6(care_of_address, home_agent, PROTOCOL_DESTINATION_OPTIONS, writer.finish())


def encapsulate(outer_source: IPv6Address, outer_destination: IPv6Address, inner: bytes) -> bytes:
    """An IPv6 packet in an IPv6 packet; the outer header takes over DSCP and ECN (RFC 2473, RFC 6040 section 4.1).

    Raises:
        WireError: ``inner`` is no IPv6 packet or leaves no room.
    """
    first = Reader(inner).u16()
    if first >> 12 != _VERSION:
        raise WireError("bad-version", f"IP version {first >> 12}")
    return build_ipv6(outer_source, outer_destination, PROTOCOL_IPV6, inner, traffic_class=first >> 4 & 0xFF)


class _MobileAddresses(MutableRecord):
    home_address_option: IPv6Address | None = None
    routing_header_2: IPv6Address | None = None


def parse_ipv6(packet: bytes) -> Ipv6Packet:
    """Take an IPv6 packet apart, up to the first header that is not a known extension header.

    Octets behind the payload length are dropped: link layers pad. Whether a type 2 routing header names one of the
    receiver's own home addresses is for the caller to check (RFC 6275 section 11.3.3).

    Raises:
        WireError: ``truncated``, ``bad-version``, ``fragment`` (not reassembled), ``bad-home-address-option``,
            ``bad-routing-header``, ``unknown-destination-option``, ``too-many-extension-headers``.
    """
    reader = Reader(packet)
    first = reader.u32()
    if first >> 28 != _VERSION:
        raise WireError("bad-version", f"IP version {first >> 28}")
    payload_length = reader.u16()
    next_header = reader.u8()
    hop_limit = reader.u8()
    source = reader.ipv6()
    destination = reader.ipv6()
    addresses = _MobileAddresses()
    next_header, payload = _walk(reader.sub(payload_length), next_header, addresses)
    return Ipv6Packet(
        source=source,
        destination=destination,
        next_header=next_header,
        payload=payload,
        home_address_option=addresses.home_address_option,
        routing_header_2=addresses.routing_header_2,
        hop_limit=hop_limit,
        traffic_class=first >> 20 & 0xFF,
        flow_label=first & 0xFFFFF,
    )


def _walk(reader: Reader, next_header: int, addresses: _MobileAddresses) -> tuple[int, bytes]:
    """Walk the extension headers. Returns the upper-layer protocol and its bytes."""
    for _ in range(_MAX_EXTENSION_HEADERS):
        if next_header == PROTOCOL_FRAGMENT:
            next_header = _read_fragment_header(reader)
        elif next_header in (PROTOCOL_DESTINATION_OPTIONS, PROTOCOL_HOP_BY_HOP):
            next_header, options = _read_extension(reader)
            _read_destination_options(options, addresses)
        elif next_header == PROTOCOL_ROUTING:
            next_header, routing = _read_extension(reader)
            _read_routing_header(routing, addresses)
        else:
            return next_header, reader.rest()
    raise WireError("too-many-extension-headers", f"more than {_MAX_EXTENSION_HEADERS - 1}")


def _read_extension(reader: Reader) -> tuple[int, Reader]:
    next_header = reader.u8()
    return next_header, reader.sub((reader.u8() + 1) * _BLOCK - 2)


def _read_fragment_header(reader: Reader) -> int:
    """Pass over the header of an atomic fragment (RFC 6946), refuse any other."""
    next_header = reader.u8()
    reader.skip(1)
    if reader.u16() & 0xFFF9:
        raise WireError("fragment")
    reader.skip(4)
    return next_header


def _read_destination_options(reader: Reader, addresses: _MobileAddresses) -> None:
    while reader.remaining:
        kind = reader.u8()
        if kind == _OPTION_PAD1:
            continue
        data = reader.sub(reader.u8())
        if kind == OPTION_HOME_ADDRESS:
            if addresses.home_address_option is not None:
                raise WireError("bad-home-address-option", "more than one")
            addresses.home_address_option = _home_address(data, "bad-home-address-option")
        elif kind >> 6 != _OPTION_SKIP_IF_UNKNOWN:
            raise WireError("unknown-destination-option", f"type {kind:#04x}")


def _read_routing_header(reader: Reader, addresses: _MobileAddresses) -> None:
    routing_type = reader.u8()
    segments_left = reader.u8()
    if routing_type != _ROUTING_TYPE_2:
        # An unknown routing header with nothing left to visit is passed over (RFC 8200 section 4.4).
        if segments_left:
            raise WireError("bad-routing-header", f"type {routing_type}")
        return
    reader.skip(4)
    if segments_left != 1 or addresses.routing_header_2 is not None:
        raise WireError("bad-routing-header", f"type 2, {segments_left} segments left")
    addresses.routing_header_2 = _home_address(reader, "bad-routing-header")


def _home_address(reader: Reader, reason: str) -> IPv6Address:
    """The only thing left in ``reader``: a home address, which must be unicast routable (RFC 6275 section 9.3.1)."""
    if reader.remaining != _ADDRESS_SIZE:
        raise WireError(reason, f"{reader.remaining} bytes for an address")
    address = reader.ipv6()
    if not is_unicast_routable(address):
        raise WireError(reason, str(address))
    return address


def parse_swapped_destination_options(header: bytes) -> IPv6Address | None:
    """The care-of address in a Destination Options header that the data path or the kernel has swapped.

    The data path puts the home address into the IPv6 header and the care-of address into the option, which becomes
    type 0x1E; a kernel with Mobile IPv6 does the same and leaves the type.

    Args:
        header: the whole extension header, as ``IPV6_RECVDSTOPTS`` delivers it.

    Returns:
        The care-of address, None if there is no such option.

    Raises:
        WireError: the header is malformed.
    """
    _, reader = _read_extension(Reader(header))
    while reader.remaining:
        kind = reader.u8()
        if kind == _OPTION_PAD1:
            continue
        data = reader.sub(reader.u8())
        if kind in (OPTION_SWAPPED_CARE_OF_ADDRESS, OPTION_HOME_ADDRESS):
            if data.remaining != _ADDRESS_SIZE:
                raise WireError("bad-home-address-option", f"{data.remaining} bytes for an address")
            return data.ipv6()
    return None
