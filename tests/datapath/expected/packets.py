"""IPv6 packets as bytes: what they say, what a router may do with them, and their checksums."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address

NEIGHBOUR = 255
"""Hop limit of neighbour discovery: no router has forwarded it."""


@dataclass(frozen=True)
class Ip:
    """An IPv6 packet at the beginning of ``data``, which may go on behind it."""

    data: bytes
    length: int = field(init=False)
    next_header: int = field(init=False)
    hop_limit: int = field(init=False)
    source: bytes = field(init=False)
    destination: bytes = field(init=False)

    def __post_init__(self) -> None:
        data = self.data
        values = (40 + int.from_bytes(data[4:6], "big"), data[6], data[7], data[8:24], data[24:40])
        for name, value in zip(("length", "next_header", "hop_limit", "source", "destination"), values, strict=True):
            object.__setattr__(self, name, value)

    @property
    def payload(self) -> bytes:
        return self.data[40 : self.length]

    def with_hop_limit(self, hop_limit: int) -> bytes:
        return self.data[:7] + bytes([hop_limit]) + self.data[8:]


def is_well_formed(data: bytes) -> bool:
    """A whole IPv6 packet that is no jumbogram."""
    if len(data) < 40 or data[0] >> 4 != 6:
        return False
    length = int.from_bytes(data[4:6], "big")
    return len(data) >= 40 + length and not (length == 0 and data[6] == 0)


def is_forwardable(address: bytes) -> bool:
    """What a router may forward to and from."""
    known = IPv6Address(address)
    unspecified_or_loopback = int(known) <= 1
    return not (known.is_multicast or known.is_link_local or unspecified_or_loopback)


def may_be_answered(packet: Ip) -> bool:
    """RFC 4443 section 2.4 (e)."""
    if not is_forwardable(packet.source):
        return False
    kind = packet.data[40:41]
    return packet.next_header != 58 or (kind != b"" and kind[0] >= 128 and kind[0] != 137)


def ipv6(
    source: bytes,
    destination: bytes,
    next_header: int,
    payload: bytes,
    first: bytes = b"\x60\0\0\0",
    hop_limit: int = 64,
) -> bytes:
    """A packet with the hop limit of all that the home agent makes but neighbour discovery."""
    return first + len(payload).to_bytes(2, "big") + bytes([next_header, hop_limit]) + source + destination + payload


def internet_sum(data: bytes) -> int:
    """The one's complement sum of 16-bit words."""
    total = int.from_bytes(data + bytes(len(data) % 2), "big")
    return total % 0xFFFF or (0xFFFF if total else 0)


def with_checksum(packet: bytes, at: int) -> bytes:
    """The packet with the checksum of its upper layer, which is at this place of the payload."""
    payload = packet[40:]
    payload = payload[:at] + b"\0\0" + payload[at + 2 :]
    pseudo_header = packet[8:40] + len(payload).to_bytes(4, "big") + bytes([0, 0, 0, packet[6]])
    checksum = 0xFFFF - internet_sum(pseudo_header + payload)
    return packet[:40] + payload[:at] + checksum.to_bytes(2, "big") + payload[at + 2 :]


def has_right_checksum(packet: Ip) -> bool:
    """Whether the sum over pseudo header and payload is what it has to be."""
    pseudo_header = packet.source + packet.destination + len(packet.payload).to_bytes(4, "big")
    return internet_sum(pseudo_header + bytes([0, 0, 0, packet.next_header]) + packet.payload) == 0xFFFF


def answered(sent: bytes, packet: bytes) -> bytes:
    """A frame back to where one came from."""
    return sent[6:12] + sent[:6] + b"\x86\xdd" + packet
