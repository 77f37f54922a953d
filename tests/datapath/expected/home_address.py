"""Home Address options, and what they have to be in front of."""

from __future__ import annotations

from datapath.reasons import Reason
from tests.datapath.expected.packets import Ip, answered, internet_sum, ipv6, is_forwardable, with_checksum
from tests.datapath.expected.site import Expected, Site

_BEFORE = (0, 43, 60)
"""Headers that may be in front of the one with the option: hop-by-hop options, routing, destination options."""
ESP_AND_THE_LIKE = (50, 51, 135)
"""Protocols that a Home Address option may precede without a binding (RFC 6275 section 9.3.1)."""


def home_address(site: Site, sent: bytes, packet: Ip) -> Expected | None:
    if packet.next_header not in _BEFORE:
        return None
    found = _find(packet)
    if found is None:
        of_options = packet.next_header == 60
        return {Reason.PASS_DESTINATION_OPTIONS if of_options else Reason.PASS_EXTENSION_HEADERS: sent}
    before, size, at = found
    options = packet.payload[before:]
    if options[at] == 0x1E:
        return {Reason.DROP_FORGED_CARE_OF_ADDRESS: None}
    address = options[at + 2 : at + 18]
    if not is_forwardable(address):
        return {Reason.DROP_HOME_ADDRESS_NOT_UNICAST: None}
    upper = bytearray(options[size:])
    protocol = upper[0] if options[0] == 44 and upper else options[0]
    in_udp = options[0] == 17 and len(upper) >= 12 and upper[2:4] == b"\x11\x94" and any(upper[8:12])
    bound = site.bindings.get(address)
    is_bound = bound is not None and bound.care_of_address == packet.source
    if not (in_udp or is_bound or protocol in ESP_AND_THE_LIKE):
        return _unknown_binding(sent, packet, address)
    if in_udp and any(upper[6:8]):
        # RFC 1624 equation 3, for all the words at once.
        old = bytes(255 - byte for byte in bytes(upper[6:8]) + packet.source)
        upper[6:8] = (0xFFFF - internet_sum(old + address) or 0xFFFF).to_bytes(2, "big")
    swapped = (
        packet.payload[:before] + options[:at] + b"\x1e\x10" + packet.source + options[at + 18 : size] + bytes(upper)
    )
    behind = packet.data[packet.length :]
    header = packet.data[:8] + address + packet.destination
    return {Reason.PASS_HOME_ADDRESS_SWAPPED: sent[:14] + header + swapped + behind}


def _find(packet: Ip) -> tuple[int, int, int] | None:
    """Where the header with the option begins in the payload, its size, and where the option is in it."""
    protocol, begin = packet.next_header, 0
    for _ in range(5):
        header = packet.payload[begin:]
        if protocol not in _BEFORE or len(header) < 8 or len(header) < 8 * (header[1] + 1):
            return None
        if protocol == 43 and header[3]:
            return None
        size = 8 * (header[1] + 1)
        at = _find_option(header[:size]) if protocol == 60 else None
        if at is not None:
            return begin, size, at
        protocol, begin = header[0], begin + size
    return None


def _find_option(options: bytes) -> int | None:
    """Where the first option with an address is, among the first eight."""
    at = 2
    for _ in range(8):
        if at + 2 > len(options):
            return None
        if options[at] == 0x1E:
            return at
        if options[at] == 0xC9:
            return at if options[at + 1] == 16 and at + 18 <= len(options) else None
        at += 1 if options[at] == 0 else 2 + options[at + 1]
    return None


def _unknown_binding(sent: bytes, packet: Ip, address: bytes) -> Expected:
    if not is_forwardable(packet.source):
        return {Reason.DROP_UNKNOWN_BINDING: None}
    message = bytes([59, 2, 7, 0, 0, 0, 1, 0]) + address
    error = with_checksum(ipv6(packet.destination, packet.source, 135, message), 4)
    return {Reason.REPLY_BINDING_ERROR: answered(sent, error)}
