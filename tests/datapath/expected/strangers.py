"""What limits on strangers may make of a frame to the home agent."""

from __future__ import annotations

from datapath.reasons import Reason
from tests.datapath.expected.packets import Ip, answered, has_right_checksum, ipv6, is_forwardable
from tests.datapath.expected.site import Expected


def limited(sent: bytes, packet: Ip) -> Expected:
    """What may become of it beside what is right without limits: they take nothing away but its certainty."""
    protocol, at = _upper_layer(packet)
    rest = packet.data[at:]
    if protocol == 135:
        return {Reason.DROP_MOBILITY_RATE_LIMITED: None}
    marker = _request_marker(rest) if protocol == 17 else None
    if marker is None:
        return {}

    def is_a_cookie(came: bytes) -> None:
        _check_cookie(sent, packet, rest, marker, came)

    return {Reason.REPLY_IKE_COOKIE: is_a_cookie, Reason.DROP_IKE_RATE_LIMITED: None}


def _upper_layer(packet: Ip) -> tuple[int, int]:
    """Behind at most four extension headers."""
    protocol, at = packet.next_header, 40
    for _ in range(4):
        header = packet.data[at : at + 4]
        if len(header) < 4 or protocol not in (0, 43, 44, 60):
            break
        if protocol == 44 and int.from_bytes(header[2:4], "big") & 0xFFF8:
            return 59, at
        at += 8 if protocol == 44 else 8 * (header[1] + 1)
        protocol = header[0]
    return protocol, at


def _request_marker(datagram: bytes) -> bytes | None:
    """What is in front of an IKE_SA_INIT request, None if there is none."""
    port = int.from_bytes(datagram[2:4], "big")
    marker = bytes(4) if port == 4500 else b""
    message = datagram[8 + len(marker) :]
    if port not in (500, 4500) or datagram[8 : 8 + len(marker)] != marker or len(message) < 28:
        return None
    return marker if message[8:16] == bytes(8) and message[18] == 34 and not message[19] & 0x20 else None


def _check_cookie(sent: bytes, packet: Ip, datagram: bytes, marker: bytes, came: bytes) -> None:
    spi = datagram[8 + len(marker) :][:8]
    answer = Ip(came[14:])
    message = marker + spi + bytes(8) + b"\x29\x20\x22\x20" + bytes(4) + (52).to_bytes(4, "big")
    message += b"\0\0\0\x18\0\0\x40\x06"
    udp = datagram[2:4] + datagram[:2] + (8 + len(message) + 16).to_bytes(2, "big")
    assert came[:62] == answered(
        sent, ipv6(packet.destination, packet.source, 17, bytes(24 + len(message)))[:40] + udp + came[60:62]
    )
    assert answer.payload[8:-16] == message
    assert has_right_checksum(answer)
    assert len(came) <= len(sent)
    assert is_forwardable(packet.source)
