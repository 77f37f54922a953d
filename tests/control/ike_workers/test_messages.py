"""Messages between daemon and workers, as bytes and back."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from control.ike_workers import messages as m
from control.ike_workers.framing import Unframer, frame
from control.ikev2.address import SocketAddress
from control.ikev2.child import ChildRequest, ChildSa
from control.ikev2.nat import NatDetection
from control.ikev2.numbers import DiffieHellmanGroup
from control.ikev2.payloads.configuration import ConfigurationAttribute, ConfigurationPayload
from control.ikev2.payloads.identification import Identity
from control.ipsec.algorithms import AES_128_CBC_SHA256
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector
from control.ipsec.udp_encapsulation import UdpEncapsulation

HERE, THERE = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
SELECTORS = (TrafficSelector.host(THERE, PROTOCOL_MOBILITY), TrafficSelector(HERE, THERE, 6, 1, 2))
PEER = Identity.from_text("mn1@example.org")
SECRETS = (b"secret-one", b"secret-two", b"secret-three", b"secret-four")


def child(encapsulation: UdpEncapsulation | None = None) -> ChildSa:
    return ChildSa(
        0x100,
        0xFFFF_FFFF,
        AES_128_CBC_SHA256,
        *SECRETS,
        SELECTORS,
        SELECTORS[:1],
        True,
        "mobility",
        True,
        DiffieHellmanGroup.CURVE25519,
        encapsulation,
    )


@pytest.mark.parametrize(
    "encapsulation", [None, UdpEncapsulation(4500, THERE, 9), UdpEncapsulation(4500, IPv4Address("192.0.2.1"), 9)]
)
def test_a_child_sa_arrives_as_it_was_and_its_keys_are_in_no_text(encapsulation):
    message = m.Report([m.ChildAgreed(3, m.pack_child(child(encapsulation)), 0x101)], 2, 7, {"established": 1}, 0.25)
    arrived = m.REPORTS.decode(m.REPORTS.encode(message))
    assert arrived == message
    assert m.unpack_child(arrived.happened[0].child) == child(encapsulation)
    assert "secret" not in repr(message)


@pytest.mark.parametrize("end", [SocketAddress(HERE, 500), SocketAddress(IPv4Address("192.0.2.1"), 4500)])
def test_commands_arrive_as_they_were(end):
    request = ConfigurationPayload(2, (ConfigurationAttribute(8, b"\x01"), ConfigurationAttribute(10)))
    for command in (
        m.Connect(2, m.pack_end(end), m.pack_end(end), ChildRequest(SELECTORS, SELECTORS, "x"), PEER, request, True, 3),
        m.Assigned("mn1@example.org", THERE),
        m.Assigned("mn1@example.org", None),
        m.Move(4, m.pack_end(end)),
        m.HeardFrom(4, m.pack_end(end), m.pack_end(end)),
        m.Describe(9),
    ):
        assert m.COMMANDS.decode(m.COMMANDS.encode(command)) == command
    assert m.unpack_end(m.pack_end(end)) == end


def test_views_arrive_as_they_were():
    view = m.View(
        "responder",
        "established",
        b"12345678",
        b"87654321",
        *(m.pack_end(SocketAddress(HERE)),) * 2,
        PEER,
        None,
        NatDetection(False, True),
        True,
        "a suite",
        1.5,
        None,
    )
    message = m.Described(3, [m.Description(5, view, None, {}, {1: 2})], is_last=True)
    assert m.REPORTS.decode(m.REPORTS.encode(message)) == message


@given(st.binary(max_size=40))
@example(b"\x91\xa4\x00\x00\x00\x80")
def test_bytes_that_are_no_message_are_told_from_those_that_are(data):
    for codec in (m.COMMANDS, m.REPORTS, m.QUESTIONS, m.ANSWERS):
        try:
            message = codec.decode(data)
        except m.Malformed:
            continue
        assert codec.decode(codec.encode(message)) == message


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 70), min_size=1))
def test_messages_leave_the_stream_whole_in_whatever_pieces_it_comes(messages, sizes):
    stream = b"".join(frame(message) for message in messages)
    unframer, received, position, turn = Unframer(), [], 0, 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        received += unframer.feed(stream[position : position + size])
        position, turn = position + size, turn + 1
    assert received == messages
