"""IPv6 fragments, against scapy."""

from __future__ import annotations

from ipaddress import IPv6Address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, defragment6, fragment6

from control.mobile_node.fragmentation import Reassembler, fragment
from control.mobile_node.upper_layers import build_udp

A = IPv6Address("2001:db8::a")
B = IPv6Address("2001:db8::b")


def packet_of(size, seed=1):
    return build_udp(A, 500, B, 500, Random(seed).randbytes(size))


def put_together(packets, reassembler=None, now=0.0):
    reassembler = Reassembler() if reassembler is None else reassembler
    wholes = [reassembler.add(packet, now) for packet in packets]
    return [whole for whole in wholes if whole is not None]


def test_small_packets_stay_whole():
    assert fragment(packet_of(1232), 1) == [packet_of(1232)]


@pytest.mark.parametrize("size", [1233, 1500, 2464, 9000])
def test_scapy_puts_our_fragments_together(size):
    fragments = fragment(packet_of(size), 77)
    assert all(len(part) <= 1280 for part in fragments)
    assert bytes(defragment6([IPv6(part) for part in fragments])) == packet_of(size)


@pytest.mark.parametrize("size", [1300, 5000])
def test_we_put_scapys_fragments_together(size):
    whole = packet_of(size)
    with_header = IPv6(whole[:40]) / IPv6ExtHdrFragment(nh=17, id=9) / whole[40:]
    with_header.nh, with_header.plen = 44, None
    fragments = [bytes(part) for part in fragment6(with_header, 1280)]
    assert len(fragments) > 1
    assert put_together(fragments) == [whole]


@given(st.integers(1300, 9000), st.randoms(use_true_random=False), st.integers(0, 3))
def test_order_and_repetition_do_not_matter(size, random, repeated):
    fragments = fragment(packet_of(size), 5)
    fragments += random.sample(fragments, min(repeated, len(fragments) - 1))
    random.shuffle(fragments)
    assert put_together(fragments)[0] == packet_of(size)


def test_packets_do_not_mix():
    first, second = fragment(packet_of(3000, 1), 1), fragment(packet_of(3000, 2), 2)
    mixed = [part for pair in zip(first, second, strict=True) for part in pair]
    assert put_together(mixed) == [packet_of(3000, 1), packet_of(3000, 2)]


def test_a_missing_fragment_is_missing():
    reassembler = Reassembler()
    assert put_together(fragment(packet_of(3000), 1)[:-1], reassembler) == []
    assert len(reassembler) == 1


def test_overlapping_fragments_spoil_the_packet():
    first, second, *rest = fragment(packet_of(3000), 1)
    overlapping = second[:42] + (int.from_bytes(second[42:44], "big") - 8).to_bytes(2, "big") + second[44:]
    assert put_together([first, overlapping, *rest]) == []


def test_a_second_end_spoils_the_packet():
    first, second, last = fragment(packet_of(3000), 1)
    early_end = second[:43] + bytes((second[43] & 0xFE,)) + second[44:]
    assert put_together([last, early_end, first]) == []
    assert put_together([early_end, last, first]) == []


def test_old_and_too_many_incomplete_packets_are_forgotten():
    reassembler = Reassembler(limit=3, timeout_s=60.0)
    for identification in range(5):
        reassembler.add(fragment(packet_of(3000), identification)[0], 0.0)
    assert len(reassembler) == 3
    reassembler.add(fragment(packet_of(3000), 9)[0], 61.0)
    assert len(reassembler) == 1


@given(st.binary(max_size=120), st.integers(0, 0xFFFF))
def test_any_bytes_are_survived(data, offset):
    header = bytes.fromhex("60000000") + len(data).to_bytes(2, "big") + b"\x2c\x40" + A.packed + B.packed
    reassembler = Reassembler()
    reassembler.add(header[:40] + data, 0.0)
    reassembler.add(header + b"\x11\0" + offset.to_bytes(2, "big") + b"\0\0\0\1" + data, 0.0)
    reassembler.add(data, 0.0)
    assert len(reassembler) <= 2
