"""Neighbour Solicitation and Advertisement (RFC 4861 sections 4.3 and 4.4), as whole IPv6 packets of a home link."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv6Address

from control.mobility.addresses import UNSPECIFIED, is_multicast
from control.mobility.extension_headers import build_ipv6
from control.wire import Reader, WireError, internet_checksum, ipv6_pseudo_header

ALL_NODES = IPv6Address("ff02::1")

_PROTOCOL_ICMPV6 = 58
_HOP_LIMIT = 255
_SOLICITED_NODE_PREFIX = int(IPv6Address("ff02::1:ff00:0"))
_LOWEST_24_BITS = 0xFFFFFF
_TARGET_LINK_ADDRESS = 2
_OPTION_UNIT = 8
_ROUTER, _OVERRIDE = 0x80000000, 0x20000000
_CHECKSUM_OFFSET = 2


class NeighbourMessageType(IntEnum):
    """ICMPv6 types."""

    SOLICITATION = 135
    ADVERTISEMENT = 136


@dataclass(frozen=True, slots=True)
class NeighbourMessage:
    """What somebody on the link has said about an address.

    Attributes:
        type: whether he asks or tells.
        source: the IPv6 source address; unspecified for somebody who is about to use the target himself.
        target: the address in question.
    """

    type: NeighbourMessageType
    source: IPv6Address
    target: IPv6Address


def solicited_node_group(address: IPv6Address) -> IPv6Address:
    """The multicast group that whoever has the address listens to (RFC 4291 section 2.7.1)."""
    return IPv6Address(_SOLICITED_NODE_PREFIX | int(address) & _LOWEST_24_BITS)


def probe(target: IPv6Address) -> bytes:
    """The solicitation by which duplicate address detection asks for an address (RFC 4862 section 5.4.2)."""
    body = bytes((NeighbourMessageType.SOLICITATION, 0, 0, 0)) + bytes(4) + target.packed
    return _packet(UNSPECIFIED, solicited_node_group(target), body)


def unsolicited_advertisement(
    target: IPv6Address, source: IPv6Address, link_address: bytes, *, router: bool = False
) -> bytes:
    """The advertisement by which a home agent begins to receive for a mobile node (RFC 6275 section 10.4.1).

    Args:
        target: the mobile node's address.
        source: the home agent's address on the link.
        link_address: the home agent's Ethernet address.
        router: whether it is a mobile router (RFC 3963 section 6.2).
    """
    flags = _OVERRIDE | (_ROUTER if router else 0)
    body = bytes((NeighbourMessageType.ADVERTISEMENT, 0, 0, 0)) + flags.to_bytes(4, "big") + target.packed
    return _packet(source, ALL_NODES, body + bytes((_TARGET_LINK_ADDRESS, 1)) + link_address)


def parse_neighbour_message(packet: bytes) -> NeighbourMessage:
    """Reads a packet from the link.

    Args:
        packet: from the IPv6 header on.

    Raises:
        WireError: it is neither of the two messages, or not valid (RFC 4861 sections 7.1.1 and 7.1.2).
    """
    header = Reader(packet)
    header.take(4)
    length = header.u16()
    protocol, hop_limit = header.u8(), header.u8()
    source, destination = IPv6Address(header.take(16)), IPv6Address(header.take(16))
    if protocol != _PROTOCOL_ICMPV6 or hop_limit != _HOP_LIMIT:
        raise WireError("not-neighbour-discovery", f"protocol {protocol}, hop limit {hop_limit}")
    message = header.take(length)
    pseudo_header = ipv6_pseudo_header(source, destination, length, _PROTOCOL_ICMPV6)
    if internet_checksum(pseudo_header + message):
        raise WireError("bad-checksum")
    body = Reader(message)
    kind, code = body.u8(), body.u8()
    if kind not in tuple(NeighbourMessageType) or code != 0:
        raise WireError("not-neighbour-discovery", f"type {kind}, code {code}")
    body.take(6)
    target = IPv6Address(body.take(16))
    if is_multicast(target):
        raise WireError("bad-target", str(target))
    while body.remaining:
        body.u8()
        units = body.u8()
        if units == 0:
            raise WireError("bad-option-length")
        body.take(units * _OPTION_UNIT - 2)
    return NeighbourMessage(NeighbourMessageType(kind), source, target)


def _packet(source: IPv6Address, destination: IPv6Address, body: bytes) -> bytes:
    pseudo_header = ipv6_pseudo_header(source, destination, len(body), _PROTOCOL_ICMPV6)
    checksum = internet_checksum(pseudo_header + body)
    message = body[:_CHECKSUM_OFFSET] + checksum.to_bytes(2, "big") + body[_CHECKSUM_OFFSET + 2 :]
    return build_ipv6(source, destination, _PROTOCOL_ICMPV6, message, hop_limit=_HOP_LIMIT)
