"""The little of UDP and ICMPv6 that a simulated node speaks without a kernel's help."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address

from control.mobility.extension_headers import IPV6_HEADER_SIZE, build_ipv6
from control.wire import WireError, internet_checksum, ipv6_pseudo_header

PROTOCOL_UDP = 17
PROTOCOL_ICMPV6 = 58
_ECHO_PORT = b"\x00\x07"
_ECHO_REQUEST = 128
_ECHO_REPLY = 129
_UDP_HEADER_SIZE = 8
_ICMPV6_HEADER_SIZE = 8
_HOP_LIMIT = 64


@dataclass(frozen=True, slots=True)
class UdpDatagram:
    """A UDP datagram.

    Attributes:
        source_port: in host order.
        destination_port: in host order.
        data: the payload.
    """

    source_port: int
    destination_port: int
    data: bytes = field(repr=False)


def parse_udp(source: IPv6Address, destination: IPv6Address, payload: bytes) -> UdpDatagram:
    """Decode and verify a UDP datagram (RFC 768, RFC 8200 section 8.1).

    Raises:
        WireError: ``truncated``, ``bad-length``, or ``bad-checksum``, which a missing checksum is too.
    """
    if len(payload) < _UDP_HEADER_SIZE:
        raise WireError("truncated", f"{len(payload)} bytes of UDP")
    length = int.from_bytes(payload[4:6], "big")
    if not _UDP_HEADER_SIZE <= length <= len(payload):
        raise WireError("bad-length", f"UDP length {length} in {len(payload)} bytes")
    datagram = payload[:length]
    pseudo_header = ipv6_pseudo_header(source, destination, length, PROTOCOL_UDP)
    if datagram[6:8] == b"\0\0" or internet_checksum(pseudo_header + datagram):
        raise WireError("bad-checksum", "UDP")
    ports = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")
    return UdpDatagram(*ports, datagram[_UDP_HEADER_SIZE:])


def build_udp(
    source: IPv6Address, source_port: int, destination: IPv6Address, destination_port: int, data: bytes
) -> bytes:
    """A whole IPv6 packet with a UDP datagram.

    Raises:
        WireError: the data is too long for a packet.
    """
    length = _UDP_HEADER_SIZE + len(data)
    if length > 0xFFFF:
        raise WireError("field-overflow", f"{len(data)} bytes of UDP data")
    ports = source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big") + length.to_bytes(2, "big")
    pseudo_header = ipv6_pseudo_header(source, destination, length, PROTOCOL_UDP)
    checksum = internet_checksum(pseudo_header + ports + b"\0\0" + data) or 0xFFFF
    return build_ipv6(source, destination, PROTOCOL_UDP, ports + checksum.to_bytes(2, "big") + data)


def echo(packet: bytes) -> bytes | None:
    """The answer to an ICMPv6 echo request (RFC 4443 section 4.2) or to a UDP datagram to port 7 (RFC 862), else None.

    The checksum is carried over rather than made anew: an answer to a damaged request is as damaged.
    """
    if len(packet) < IPV6_HEADER_SIZE + _UDP_HEADER_SIZE:
        return None
    upper = packet[IPV6_HEADER_SIZE:]
    if packet[6] == PROTOCOL_ICMPV6 and upper[0] == _ECHO_REQUEST and len(upper) >= _ICMPV6_HEADER_SIZE:
        # One word of the message grows by 0x0100, so its checksum shrinks by as much in one's complement (RFC 1624).
        checksum = int.from_bytes(upper[2:4], "big") - 0x0100
        if checksum < 0:
            checksum += 0xFFFF
        answer = bytes((_ECHO_REPLY,)) + upper[1:2] + checksum.to_bytes(2, "big") + upper[4:]
    elif packet[6] == PROTOCOL_UDP and upper[2:4] == _ECHO_PORT:
        answer = upper[2:4] + upper[:2] + upper[4:]
    else:
        return None
    return packet[:7] + bytes((_HOP_LIMIT,)) + packet[24:40] + packet[8:24] + answer
