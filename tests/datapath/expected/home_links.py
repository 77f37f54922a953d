"""Neighbour Solicitations on home links."""

from __future__ import annotations

from datapath.reasons import Reason
from tests.datapath.expected.packets import NEIGHBOUR, Ip, has_right_checksum, ipv6, with_checksum
from tests.datapath.expected.site import Expected, Site

_SOLICITED_NODE_GROUPS = bytes.fromhex("ff02 0000 0000 0000 0000 0001 ff")
_ALL_NODES = bytes.fromhex("ff02 0000 0000 0000 0000 0000 0000 0001")
_NOBODY = bytes(16)
_LONGEST_OPTIONS = 128


def solicitation(site: Site, sent: bytes, packet: Ip, identifier: int) -> Expected | None:
    """What becomes of it if it is one that the home agent answers; it came by the VLAN."""
    defender = site.home_links.get(identifier) if site.home_links is not None else None
    message = packet.payload
    if defender is None or (packet.hop_limit, packet.next_header, message[:2]) != (NEIGHBOUR, 58, b"\x87\0"):
        return None
    target = message[8:24]
    answer_to = _answer_to(sent, packet)
    if answer_to is None or target not in site.bindings or not has_right_checksum(packet):
        return None
    nobody = packet.source == _NOBODY
    flags = b"\0\0\0\0" if nobody else b"\x40\0\0\0"
    advertisement = b"\x88\0\0\0" + flags + target + b"\2\1" + defender.link_address
    to = _ALL_NODES if nobody else packet.source
    answer = with_checksum(ipv6(defender.address, to, 58, advertisement, hop_limit=NEIGHBOUR), 2)
    destination = b"\x33\x33" + _ALL_NODES[-4:] if nobody else answer_to
    return {Reason.REPLY_NEIGHBOUR_ADVERTISEMENT: destination + defender.link_address + b"\x86\xdd" + answer}


def _answer_to(sent: bytes, packet: Ip) -> bytes | None:
    """The Ethernet address that the answer goes to; None if the solicitation is not valid (RFC 4861 section 7.1.1)."""
    message = packet.payload
    options = message[24:]
    if len(message) < 24 or len(message) % 8 or len(options) > _LONGEST_OPTIONS:
        return None
    named, at = [], 0
    while at < len(options):
        kind, units = options[at], options[at + 1]
        if units == 0:
            return None
        if (kind, units) == (1, 1):
            named.append(options[at + 2 : at + 8])
        at += 8 * units
    answer_to = named[-1] if named else sent[6:12]
    if at != len(options) or answer_to[0] & 1 or packet.source[0] == 0xFF:
        return None
    if packet.source == _NOBODY and (named or not packet.destination.startswith(_SOLICITED_NODE_GROUPS)):
        return None
    return answer_to
