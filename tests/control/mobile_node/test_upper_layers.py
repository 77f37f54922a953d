"""UDP and echo of simulated nodes, against scapy."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6

from control.mobile_node.upper_layers import build_udp, echo, parse_udp
from control.mobility.extension_headers import parse_ipv6
from control.wire import WireError

A = IPv6Address("2001:db8::a")
B = IPv6Address("2001:db8::b")


@given(st.binary(max_size=300), st.integers(0, 65535), st.integers(0, 65535))
def test_udp_is_what_scapy_makes_and_comes_back(data, source_port, destination_port):
    packet = build_udp(A, source_port, B, destination_port, data)
    assert packet == bytes(IPv6(src=str(A), dst=str(B)) / UDP(sport=source_port, dport=destination_port) / data)
    parsed = parse_udp(A, B, parse_ipv6(packet).payload)
    assert (parsed.source_port, parsed.destination_port, parsed.data) == (source_port, destination_port, data)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_datagram_or_a_wire_error(data):
    with suppress(WireError):
        parse_udp(A, B, data)


@given(st.binary(max_size=60), st.integers(0, 67 * 8 - 1))
def test_a_flipped_bit_is_noticed(data, bit):
    payload = bytearray(build_udp(A, 500, B, 500, data)[40:])
    bit %= 8 * len(payload)
    payload[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError):
        parse_udp(A, B, bytes(payload))


def test_data_too_long_for_a_packet():
    with pytest.raises(WireError, match="field-overflow"):
        build_udp(A, 1, B, 2, bytes(65_530))


@example(b"\x1c", 0, 1845)  # the answer's checksum is zero
@given(st.binary(max_size=300), st.integers(0, 65535), st.integers(0, 65535))
def test_an_echo_request_is_answered(data, identifier, sequence):
    request = bytes(IPv6(src=str(A), dst=str(B), hlim=3) / ICMPv6EchoRequest(id=identifier, seq=sequence, data=data))
    expected = IPv6(src=str(B), dst=str(A), hlim=64) / ICMPv6EchoReply(id=identifier, seq=sequence, data=data)
    assert echo(request) == bytes(expected)


def test_udp_to_the_echo_port_is_answered():
    assert echo(build_udp(A, 4000, B, 7, b"data")) == build_udp(B, 7, A, 4000, b"data")


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        build_udp(A, 4000, B, 8, b"data"),
        bytes(IPv6(src=str(A), dst=str(B)) / ICMPv6EchoReply()),
        bytes(IPv6(src=str(A), dst=str(B)) / ICMPv6EchoRequest())[:45],
    ],
)
def test_nothing_else_is(packet):
    assert echo(packet) is None
