"""ESP in UDP: what scapy finds right, what is refused."""

from __future__ import annotations

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6

from control.ipsec.udp_encapsulation import UdpContent, content_of, unwrap_from_udp, wrap_in_udp
from control.mobility.extension_headers import build_ipv6
from control.wire import WireError

addresses = st.ip_addresses(v=6)
ports = st.integers(0, 0xFFFF)


@given(st.binary(min_size=8, max_size=200), addresses, ports, addresses, ports)
def test_what_is_wrapped_is_unwrapped(packet, source, source_port, destination, port):
    datagram = wrap_in_udp(packet, source, source_port, destination, port)
    assert unwrap_from_udp(datagram + b"padding of the link") == (source_port, port, packet)


@given(st.binary(min_size=8, max_size=200), addresses, addresses)
def test_the_checksum_is_what_scapy_makes_of_it(packet, source, destination):
    datagram = wrap_in_udp(packet, source, 4500, destination, 31_000)
    scapys = IPv6(src=str(source), dst=str(destination)) / UDP(sport=4500, dport=31_000) / packet
    assert bytes(scapys)[40:] == datagram


def test_a_checksum_of_zero_is_sent_as_ones():
    """For IPv6 a zero would mean that there is none."""
    ends = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
    plain = wrap_in_udp(bytes(10), ends[0], 4500, ends[1], 4500)
    packet = bytes(8) + plain[6:8]  # its sum is all ones now
    datagram = wrap_in_udp(packet, ends[0], 4500, ends[1], 4500)
    assert datagram[6:8] == b"\xff\xff"
    assert bytes(IPv6(src=str(ends[0]), dst=str(ends[1])) / UDP(sport=4500, dport=4500) / packet)[40:] == datagram
    assert build_ipv6(*ends, 17, datagram)[40:] == datagram


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "truncated"),
        (bytes(7), "truncated"),
        (bytes(8), "bad-length"),
        (b"\x11\x94\x11\x94\x00\x09\0\0", "bad-length"),
        (b"\x11\x94\x11\x94\x00\x07\0\0", "bad-length"),
    ],
)
def test_what_is_no_udp_is_refused(payload, reason):
    with pytest.raises(WireError) as caught:
        unwrap_from_udp(payload)
    assert caught.value.reason == reason


def test_what_does_not_fit_is_refused():
    with pytest.raises(WireError, match="field-overflow"):
        wrap_in_udp(bytes(65_528), IPv6Address("::1"), 1, IPv6Address("::2"), 2)


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        (bytes(4), UdpContent.IKE),
        (bytes(4) + b"message", UdpContent.IKE),
        (b"\xff", UdpContent.KEEPALIVE),
        (b"\xfe", UdpContent.NOTHING),
        (b"\xff\xff", UdpContent.NOTHING),
        (b"", UdpContent.NOTHING),
        (bytes(3), UdpContent.NOTHING),
        (b"\0\0\1\0" + bytes(3), UdpContent.NOTHING),
        (b"\0\0\1\0" + bytes(4), UdpContent.ESP),
    ],
)
def test_the_content_of_port_4500(payload, content):
    assert content_of(payload) is content
