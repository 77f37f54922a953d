"""The outer headers of tunnels over IPv4: IPv6 in IPv4 (RFC 4213), and in UDP where a NAT is between (RFC 5555)."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

from control.mobility.extension_headers import PROTOCOL_IPV6
from control.wire import WireError, internet_checksum

TUNNEL_PORT = 4191
"""Of the home agent (RFC 5555 section 8)."""

_IPV4_HEADER = struct.Struct("!BBHHHBBH4s4s")
_UDP_HEADER = struct.Struct("!HHHH")
_VERSION_AND_LENGTH = 0x45
_TIME_TO_LIVE = 64
_PROTOCOL_UDP = 17
_CHECKSUM_OFFSET = 10


def build_in_ipv4(
    source: IPv4Address, home_agent: IPv4Address, packet: bytes, traffic_class: int, udp_port: int | None
) -> bytes:
    """A packet in its tunnel to the home agent.

    Args:
        source: the care-of address, or the NAT's.
        home_agent: where the tunnel ends.
        packet: from the IPv6 header on.
        traffic_class: of the outer header.
        udp_port: of the source; None without UDP. That has no checksum.

    Raises:
        WireError: it is too long for an IPv4 packet.
    """
    protocol = PROTOCOL_IPV6
    if udp_port is not None:
        protocol = _PROTOCOL_UDP
        size = _UDP_HEADER.size + len(packet)
        packet = _UDP_HEADER.pack(udp_port, TUNNEL_PORT, size & 0xFFFF, 0) + packet
    length = _IPV4_HEADER.size + len(packet)
    if length > 0xFFFF:
        raise WireError("field-overflow", f"{length} bytes for an IPv4 packet")
    header = bytearray(
        _IPV4_HEADER.pack(
            _VERSION_AND_LENGTH,
            traffic_class,
            length,
            0,
            0,
            _TIME_TO_LIVE,
            protocol,
            0,
            source.packed,
            home_agent.packed,
        )
    )
    struct.pack_into("!H", header, _CHECKSUM_OFFSET, internet_checksum(header))
    return bytes(header) + packet
