"""Neighbour Solicitations and Advertisements, against scapy's."""

from __future__ import annotations

import contextlib
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptUnknown,
    IPv6,
)

from control.mobility.neighbour_discovery import (
    NeighbourMessage,
    NeighbourMessageType,
    parse_neighbour_message,
    probe,
    solicited_node_group,
    unsolicited_advertisement,
)
from control.wire import WireError

TARGET = IPv6Address("2001:db8:100::12:3456")
SOURCE = IPv6Address("fe80::1")


def test_a_probe_is_as_scapy_makes_it() -> None:
    expected = IPv6(src="::", dst="ff02::1:ff12:3456", hlim=255) / ICMPv6ND_NS(tgt=str(TARGET))
    assert probe(TARGET) == bytes(expected)
    assert solicited_node_group(TARGET) == IPv6Address("ff02::1:ff12:3456")


@pytest.mark.parametrize("router", [False, True])
def test_an_unsolicited_advertisement_is_as_scapy_makes_it(router: bool) -> None:
    expected = (
        IPv6(src=str(SOURCE), dst="ff02::1", hlim=255)
        / ICMPv6ND_NA(tgt=str(TARGET), R=int(router), S=0, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:03")
    )
    made = unsolicited_advertisement(TARGET, SOURCE, bytes.fromhex("020000000003"), router=router)
    assert made == bytes(expected)


def test_what_others_say_is_read() -> None:
    asked = IPv6(src=str(SOURCE), dst=str(TARGET), hlim=255) / ICMPv6ND_NS(tgt=str(TARGET)) / ICMPv6NDOptSrcLLAddr()
    assert parse_neighbour_message(bytes(asked) + bytes(8)) == NeighbourMessage(
        NeighbourMessageType.SOLICITATION, SOURCE, TARGET
    )
    told = IPv6(src=str(SOURCE), dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=str(TARGET))
    assert parse_neighbour_message(bytes(told)).type is NeighbourMessageType.ADVERTISEMENT


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (IPv6(src=str(SOURCE), dst="ff02::1", hlim=254) / ICMPv6ND_NA(tgt=str(TARGET)), "not-neighbour-discovery"),
        (IPv6(src=str(SOURCE), dst="ff02::1", hlim=255) / ICMPv6EchoRequest(), "not-neighbour-discovery"),
        (
            IPv6(src=str(SOURCE), dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=str(TARGET), code=1),
            "not-neighbour-discovery",
        ),
        (IPv6(src=str(SOURCE), dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt=str(TARGET), cksum=7), "bad-checksum"),
        (IPv6(src=str(SOURCE), dst="ff02::1", hlim=255) / ICMPv6ND_NA(tgt="ff02::1"), "bad-target"),
        (
            IPv6(src=str(SOURCE), dst="ff02::1", hlim=255)
            / ICMPv6ND_NA(tgt=str(TARGET))
            / ICMPv6NDOptUnknown(type=9, len=0, data=bytes(6)),
            "bad-option-length",
        ),
        (
            IPv6(src=str(SOURCE), dst="ff02::1", hlim=255)
            / ICMPv6ND_NA(tgt=str(TARGET))
            / ICMPv6NDOptUnknown(type=9, len=2, data=bytes(6)),
            "truncated",
        ),
    ],
)
def test_what_is_not_valid_is_refused(packet: IPv6, reason: str) -> None:
    with pytest.raises(WireError) as refused:
        parse_neighbour_message(bytes(packet))
    assert refused.value.reason == reason


@given(st.binary(max_size=120))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for packet in (data, probe(TARGET)[: len(data)], probe(TARGET)[:40] + data):
        with contextlib.suppress(WireError):
            parse_neighbour_message(packet)
