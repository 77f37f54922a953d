"""Raw sockets for signalling, in a namespace of their own: what the kernel hands over, however strange."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from bench.lab.entering import own_network
from control.sockets.raw_ipv6 import SignallingSocket
from tests.waiting import take

pytestmark = pytest.mark.namespaces

LOOPBACK = IPv6Address("::1")
CARE_OF_ADDRESS = IPv6Address("2001:db8:c::1")
MOBILITY, DESTINATION_OPTIONS = 135, 60
HOP_BY_HOP, ROUTING = 0, 43
SWAPPED = 0x1E
# A Binding Refresh Request with its checksum over ::1 and ::1, which the kernel verifies.
MESSAGE = bytes.fromhex("3b00000000000000")


@pytest.fixture
def both_ends() -> Iterator[tuple[SignallingSocket, socket.socket]]:
    with own_network():
        receiver = SignallingSocket(LOOPBACK, MOBILITY)
        sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    yield receiver, sender
    receiver.close()
    sender.close()


def mobility_message() -> bytes:
    pseudo_header = LOOPBACK.packed * 2 + struct.pack("!I3xB", len(MESSAGE), MOBILITY)
    words = struct.unpack(f"!{(len(pseudo_header) + len(MESSAGE)) // 2}H", pseudo_header + MESSAGE)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return MESSAGE[:4] + struct.pack("!H", checksum) + MESSAGE[6:]


def packet(options: bytes, before: bytes = b"", first: int = DESTINATION_OPTIONS) -> bytes:
    header = bytes((MOBILITY, (len(options) + 2) // 8 - 1)) + options
    assert len(header) % 8 == 0
    payload = before + header + mobility_message()
    return struct.pack("!IHBB", 6 << 28, len(payload), first, 64) + LOOPBACK.packed * 2 + payload


def test_what_was_swapped_is_the_care_of_address_and_nonsense_is_counted(both_ends) -> None:
    receiver, sender = both_ends
    good = b"\x01\x02\0\0" + bytes((SWAPPED, 16)) + CARE_OF_ADDRESS.packed
    # 0x1E means nothing to the kernel, which skips it whatever its length.
    bad = b"\x01\x02\0\0" + bytes((SWAPPED, 8)) + bytes(8)
    for options in (bad, good):
        sender.sendto(packet(options), (str(LOOPBACK), 0))
    (only,) = take(receiver.receive, 1)
    assert (only.source, only.care_of_address) == (LOOPBACK, CARE_OF_ADDRESS)
    assert sum(receiver.statistics.values()) == 1
    assert all(slug.startswith("destination-options-") for slug in receiver.statistics)


def test_the_care_of_address_is_found_behind_other_headers(both_ends) -> None:
    receiver, sender = both_ends
    padding = b"\x01\x04\0\0\0\0"
    before = bytes((DESTINATION_OPTIONS, 0)) + padding + bytes((ROUTING, 0)) + padding
    before += bytes((DESTINATION_OPTIONS, 0, 200, 0, 0, 0, 0, 0))  # a routing header at its end
    sent = packet(b"\x01\x02\0\0" + bytes((SWAPPED, 16)) + CARE_OF_ADDRESS.packed, before, HOP_BY_HOP)

    sender.sendto(sent, (str(LOOPBACK), 0))

    assert [each.care_of_address for each in take(receiver.receive, 1)] == [CARE_OF_ADDRESS]
