"""The packet socket of the agent and its classic BPF program."""

from __future__ import annotations

import socket
import struct
from contextlib import contextmanager
from ipaddress import IPv6Address

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting
from scapy.layers.l2 import Ether

from control.mobility.extension_headers import build_ipv6, build_to_mobile_node, encapsulate
from control.sockets.packet import (
    ACCEPT_ALL_BYTES,
    IGNORE,
    CareOfPacketSocket,
    finish_inner_checksum,
    mobility_filter,
    tc_bytecode,
)
from tests.waiting import take

CARE_OF_ADDRESS = IPv6Address("2001:db8:c0::11")
HOME_ADDRESS = IPv6Address("2001:db8:100::11")
HOME_AGENT = IPv6Address("2001:db8:a1::1")
CORRESPONDENT = IPv6Address("2001:db8:cc::1")

INNER = build_ipv6(CORRESPONDENT, HOME_ADDRESS, 59, b"inner")
TUNNELLED = encapsulate(HOME_AGENT, CARE_OF_ADDRESS, INNER)
SIGNALLING = build_to_mobile_node(HOME_AGENT, CARE_OF_ADDRESS, HOME_ADDRESS, 50, b"e" * 40)


def execute(program, packet, ethertype=0x86DD, packet_type=0):
    """A classic BPF machine for the few instructions the filter has."""

    def load(offset, size):
        if offset == 0xFFFFF000:
            return ethertype
        if offset == 0xFFFFF004:
            return packet_type
        start = offset - 0xFFF00000
        data = packet[start : start + size]
        return int.from_bytes(data, "big") if len(data) == size else None

    position, accumulator = 0, 0
    while True:
        code, if_true, if_false, operand = program[position]
        position += 1
        if code == 0x06:
            return operand
        if code == 0x15:
            position += if_true if accumulator == operand else if_false
            continue
        accumulator = load(operand, {0x20: 4, 0x28: 2, 0x30: 1}[code])
        if accumulator is None:
            return 0  # a load beyond the packet ends the program


def accepted(packet, **arguments):
    return execute(mobility_filter(CARE_OF_ADDRESS, ACCEPT_ALL_BYTES, IGNORE), packet, **arguments) == ACCEPT_ALL_BYTES


def raw(layers):
    return bytes(layers)


def test_the_filter_finds_what_the_node_needs():
    assert accepted(TUNNELLED)
    assert accepted(SIGNALLING)


@pytest.mark.parametrize(
    "packet",
    [
        build_ipv6(HOME_AGENT, CARE_OF_ADDRESS, 17, b"u" * 30),
        encapsulate(HOME_AGENT, CARE_OF_ADDRESS + 1, INNER),
        encapsulate(HOME_AGENT, IPv6Address("2001:db9:c0::11"), INNER),
        raw(IPv6(src=str(HOME_AGENT), dst=str(CARE_OF_ADDRESS)) / IPv6ExtHdrRouting(type=0) / ICMPv6EchoRequest()),
        raw(IPv6(src=str(HOME_AGENT), dst=str(CARE_OF_ADDRESS)) / IPv6ExtHdrDestOpt() / ICMPv6EchoRequest()),
        TUNNELLED[:39],
        b"",
    ],
)
def test_the_filter_leaves_the_rest_alone(packet):
    assert not accepted(packet)


def test_the_filter_looks_at_ipv6_to_this_host_only():
    assert not accepted(TUNNELLED, ethertype=0x0800)
    assert not accepted(TUNNELLED, packet_type=3)


def test_the_bytecode_is_what_tc_reads():
    count, *instructions = tc_bytecode(mobility_filter(CARE_OF_ADDRESS, 2, 0xFFFFFFFF)).split(",")
    assert int(count) == len(instructions)
    assert instructions[0] == "40 0 0 4294963200"
    assert instructions[-1] == "6 0 0 4294967295"


@pytest.mark.parametrize("upper", [TCP(dport=80) / b"odd", UDP(dport=7) / b"even", ICMPv6EchoRequest(data=b"x" * 99)])
def test_unfinished_checksums_are_finished(upper):
    inner = bytes(IPv6(src=str(CORRESPONDENT), dst=str(HOME_ADDRESS)) / upper)
    offset = 40 + {TCP: 16, UDP: 6, ICMPv6EchoRequest: 2}[type(upper)]
    unfinished = inner[:offset] + b"\x12\x34" + inner[offset + 2 :]
    finished = finish_inner_checksum(encapsulate(HOME_AGENT, CARE_OF_ADDRESS, unfinished))
    assert finished == encapsulate(HOME_AGENT, CARE_OF_ADDRESS, inner)


@pytest.mark.parametrize(
    "packet", [b"", TUNNELLED, SIGNALLING, TUNNELLED[:60], build_ipv6(HOME_AGENT, HOME_AGENT, 6, b"")]
)
def test_other_packets_keep_what_they_have(packet):
    assert finish_inner_checksum(packet) == packet


@contextmanager
def injector(link, inside, virtio=False):
    with inside(link.home):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    if virtio:
        sock.setsockopt(263, 15, 1)
    with inside(link.home):
        sock.bind(("core0", 0x86DD))
    with sock:
        yield sock


@pytest.fixture
def listening(link, in_namespace):
    with in_namespace(link.node):
        sock = CareOfPacketSocket("eth0", CARE_OF_ADDRESS)
    yield sock
    sock.close()


@pytest.mark.namespaces
def test_it_receives_whole_packets(link, listening, in_namespace):
    with injector(link, in_namespace) as sock:
        for payload in (build_ipv6(HOME_AGENT, CARE_OF_ADDRESS, 17, bytes(8)), TUNNELLED, SIGNALLING):
            sock.send(raw(Ether(dst=link.node_mac, type=0x86DD)) + payload)
    assert take(listening.receive, 2) == [TUNNELLED, SIGNALLING]


@pytest.mark.namespaces
def test_it_finishes_the_checksum_a_device_left_open(link, listening, in_namespace):
    inner = bytes(IPv6(src=str(CORRESPONDENT), dst=str(HOME_ADDRESS)) / TCP(dport=80) / b"data")
    unfinished = inner[:56] + b"\0\0" + inner[58:]
    needs_checksum, start, offset = 1, 14 + 40 + 40, 16
    header = struct.pack("=BBHHHH", needs_checksum, 0, 0, 0, start, offset)
    with injector(link, in_namespace, virtio=True) as sock:
        packet = encapsulate(HOME_AGENT, CARE_OF_ADDRESS, unfinished)
        sock.send(header + raw(Ether(dst=link.node_mac, type=0x86DD)) + packet)
    assert take(listening.receive, 1) == [encapsulate(HOME_AGENT, CARE_OF_ADDRESS, inner)]
