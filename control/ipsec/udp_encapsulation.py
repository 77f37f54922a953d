"""ESP in UDP, for the way through NATs (RFC 3948)."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from control.records import Record
from control.wire import WireError, internet_checksum, ipv6_pseudo_header

PROTOCOL_UDP = 17
NON_ESP_MARKER = bytes(4)
"""In front of an IKE message, where an ESP packet has its SPI (RFC 3948 section 2.2)."""
KEEPALIVE = b"\xff"
"""The whole payload of a datagram that keeps a NAT's mapping alive (RFC 3948 section 2.3)."""

_UDP_HEADER_SIZE = 8
_ESP_HEADER_SIZE = 8


class UdpEncapsulation(Record, frozen=True):
    """The UDP flow that the packets of a pair of security associations travel in: the one of their IKE SA.

    Attributes:
        local_port: this side's port in host order.
        remote_address: where the peer's packets come from, as this side sees it: the outside of a NAT if there is one.
        remote_port: the port there in host order.
    """

    local_port: int
    remote_address: IPv4Address | IPv6Address
    remote_port: int


class UdpContent(Enum):
    """What a datagram to port 4500 holds."""

    IKE = "ike"
    ESP = "esp"
    KEEPALIVE = "keepalive"
    NOTHING = "nothing"
    """Too short for anything."""


def content_of(payload: bytes | memoryview) -> UdpContent:
    """What a UDP payload is that came to port 4500 (RFC 3948 section 2)."""
    if payload[:4] == NON_ESP_MARKER:
        return UdpContent.IKE
    if len(payload) >= _ESP_HEADER_SIZE:
        return UdpContent.ESP
    return UdpContent.KEEPALIVE if payload == KEEPALIVE else UdpContent.NOTHING


def wrap_in_udp(packet: bytes, source: IPv6Address, source_port: int, destination: IPv6Address, port: int) -> bytes:
    """A UDP header in front of an ESP packet.

    Args:
        packet: from the SPI on.
        source: the address in the IPv6 header as the packet leaves. It goes into the checksum and no home address does,
            as a NAT corrects the checksum by the addresses that it sees and changes.
        source_port: in host order.
        destination: likewise.
        port: destination port in host order.

    Raises:
        WireError: the packet is too long.
    """
    length = _UDP_HEADER_SIZE + len(packet)
    if length > 0xFFFF:
        raise WireError("field-overflow", f"{len(packet)} bytes of UDP data")
    start = source_port.to_bytes(2, "big") + port.to_bytes(2, "big") + length.to_bytes(2, "big")
    pseudo_header = ipv6_pseudo_header(source, destination, length, PROTOCOL_UDP)
    # IPv6 knows no UDP without a checksum: what comes out as zero is sent as its other form (RFC 8200 section 8.1).
    checksum = internet_checksum(pseudo_header + start + bytes(2) + packet) or 0xFFFF
    return start + checksum.to_bytes(2, "big") + packet


def unwrap_from_udp(payload: bytes) -> tuple[int, int, bytes]:
    """Source port, destination port and data of a UDP datagram that ESP protects.

    Its checksum is not looked at: a NAT may have left it wrong, and what ESP finds genuine needs none.

    Raises:
        WireError: ``truncated`` or ``bad-length``.
    """
    if len(payload) < _UDP_HEADER_SIZE:
        raise WireError("truncated", f"{len(payload)} bytes of UDP")
    length = int.from_bytes(payload[4:6], "big")
    if not _UDP_HEADER_SIZE <= length <= len(payload):
        raise WireError("bad-length", f"UDP length {length} in {len(payload)} bytes")
    source_port, port = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")
    return source_port, port, payload[_UDP_HEADER_SIZE:length]
