"""What every IPsec back end has to do, as tests. A test module imports them and has a fixture ``side`` for its own.

On the other side there is always the userspace back end.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address
from typing import Protocol

import pytest
from msgspec.structs import replace

from control.ipsec.algorithms import AES_128_GCM, AES_256_CBC_SHA256, AES_256_GCM, CipherSuite
from control.ipsec.backend import IpsecBackend
from control.ipsec.errors import IpsecBackendError
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY, TrafficSelector
from control.ipsec.userspace import UserspaceIpsec
from control.wire import internet_checksum, ipv6_pseudo_header
from tests.control.ipsec.associations import association_between

BINDING_UPDATE, ACKNOWLEDGEMENT, SWITCH = 5, 6, 12

__all__ = [
    "test_a_message_of_a_type_that_no_association_covers_neither_arrives_nor_leaves",
    "test_a_pair_that_waits_sends_once_it_is_the_only_one",
    "test_a_removed_pair_opens_nothing_and_the_one_before_sends_again",
    "test_a_replay_and_a_forgery_do_not_arrive",
    "test_an_spi_is_installed_once",
    "test_nothing_leaves_without_an_association",
    "test_pairs_are_listed_in_their_order_with_what_they_have_carried",
    "test_spis_differ_and_are_never_reserved",
    "test_the_newest_sends_and_the_older_one_still_opens",
    "test_what_the_node_protects_arrives_and_what_leaves_it_opens",
]


class Side(Protocol):
    """A back end at a home agent, and a node that it has to understand."""

    ipsec: IpsecBackend
    node: UserspaceIpsec
    home_agent: IPv6Address
    home_address: IPv6Address

    def arrive(self, packet: bytes) -> tuple[SecurityAssociation, bytes] | None:
        """Has the home agent receive ESP of the node: the association and the message; None if it is dropped."""

    def leave(self, message: bytes) -> bytes | None:
        """Has the home agent send a Mobility Header: the ESP packet; None if no association allows it."""


def message(side: Side, kind: int, number: int, *, up: bool = True) -> bytes:
    """A Mobility Header of a type, with a number to know it by."""
    ends = (side.home_address, side.home_agent) if up else (side.home_agent, side.home_address)
    made = struct.pack("!BBBBHH", 59, 1, kind, 0, 0, number) + bytes(8)
    checksum = internet_checksum(ipv6_pseudo_header(*ends, len(made), PROTOCOL_MOBILITY) + made)
    return made[:4] + checksum.to_bytes(2, "big") + made[6:]


def connect(side: Side, suite: CipherSuite = AES_128_GCM, kind: int | None = None, *, waits: bool = False) -> int:
    """Installs a pair at both ends, for one message type or all; the home agent's inbound SPI."""
    ports = (0, 0xFFFF) if kind is None else (kind << 8, kind << 8 | 0xFF)

    def one(spi: int, source: IPv6Address, destination: IPv6Address) -> SecurityAssociation:
        selectors = (TrafficSelector(source, source, PROTOCOL_MOBILITY, *ports),)
        return replace(association_between(spi, source, destination, suite), source_selectors=selectors)

    up, down = side.ipsec.allocate_spi(), side.node.allocate_spi()
    upwards, downwards = (up, side.home_address, side.home_agent), (down, side.home_agent, side.home_address)
    # Each end has objects of its own, for they count.
    side.ipsec.install(one(*upwards), one(*downwards), outbound_waits=waits)
    side.node.install(one(*downwards), one(*upwards))
    return up


def protected(side: Side, number: int, kind: int = BINDING_UPDATE) -> bytes:
    made = message(side, kind, number)
    return side.node.protect(side.home_address, side.home_agent, PROTOCOL_MOBILITY, made, 0.0)


def opened_at_the_node(side: Side, packet: bytes | None) -> tuple[int, bytes]:
    assert packet is not None
    opened = side.node.unprotect(side.home_agent, side.home_address, packet, 0.0)
    return opened.security_association.spi, opened.payload


def test_spis_differ_and_are_never_reserved(side: Side) -> None:
    spis = [side.ipsec.allocate_spi() for _ in range(500)]
    assert len(set(spis)) == len(spis)
    assert min(spis) > 255


@pytest.mark.parametrize("suite", [AES_128_GCM, AES_256_CBC_SHA256], ids=str)
def test_what_the_node_protects_arrives_and_what_leaves_it_opens(side: Side, suite: CipherSuite) -> None:
    spi = connect(side, suite)
    arrived = side.arrive(protected(side, 7))
    assert arrived is not None
    assert (arrived[0].spi, arrived[1]) == (spi, message(side, BINDING_UPDATE, 7))
    answer = message(side, ACKNOWLEDGEMENT, 8, up=False)
    assert opened_at_the_node(side, side.leave(answer))[1] == answer


def test_a_replay_and_a_forgery_do_not_arrive(side: Side) -> None:
    connect(side)
    first, second = protected(side, 1), protected(side, 2)
    assert side.arrive(first) is not None
    assert side.arrive(first) is None
    assert side.arrive(second[:-1] + bytes([second[-1] ^ 1])) is None
    assert side.arrive(second) is not None


def test_nothing_leaves_without_an_association(side: Side) -> None:
    answer = message(side, ACKNOWLEDGEMENT, 8, up=False)
    assert side.leave(answer) is None
    side.ipsec.remove(connect(side))
    assert side.leave(answer) is None


def test_a_message_of_a_type_that_no_association_covers_neither_arrives_nor_leaves(side: Side) -> None:
    everything = connect(side)
    of_node = {inbound.spi for inbound, _ in side.node.list()}
    esp = protected(side, 1, SWITCH)
    side.ipsec.remove(everything)
    for spi in of_node:
        side.node.remove(spi)
    connect(side, kind=ACKNOWLEDGEMENT)
    assert side.arrive(esp) is None
    assert side.leave(message(side, SWITCH, 1, up=False)) is None
    assert side.leave(message(side, ACKNOWLEDGEMENT, 1, up=False)) is not None


def test_the_newest_sends_and_the_older_one_still_opens(side: Side) -> None:
    older = connect(side)
    before = protected(side, 1)
    connect(side, AES_256_GCM)
    spi_of_newest = side.ipsec.list()[-1][1].spi
    answer = message(side, ACKNOWLEDGEMENT, 2, up=False)
    assert opened_at_the_node(side, side.leave(answer)) == (spi_of_newest, answer)
    arrived = side.arrive(before)
    assert arrived is not None
    assert arrived[0].spi == older


def test_a_pair_that_waits_sends_once_it_is_the_only_one(side: Side) -> None:
    older = connect(side)
    connect(side, waits=True)
    (_, old_outbound), (_, new_outbound) = side.ipsec.list()
    answer = message(side, ACKNOWLEDGEMENT, 2, up=False)
    assert opened_at_the_node(side, side.leave(answer))[0] == old_outbound.spi
    side.ipsec.remove(older)
    assert opened_at_the_node(side, side.leave(answer))[0] == new_outbound.spi


def test_a_removed_pair_opens_nothing_and_the_one_before_sends_again(side: Side) -> None:
    older, newer = connect(side), connect(side)
    late = protected(side, 1)
    side.ipsec.remove(newer)
    side.ipsec.remove(newer)
    assert side.arrive(late) is None
    ((inbound, outbound),) = side.ipsec.list()
    assert inbound.spi == older
    answer = message(side, ACKNOWLEDGEMENT, 2, up=False)
    assert opened_at_the_node(side, side.leave(answer))[0] == outbound.spi


def test_an_spi_is_installed_once(side: Side) -> None:
    connect(side)
    ((inbound, outbound),) = side.ipsec.list()
    with pytest.raises(IpsecBackendError) as caught:
        side.ipsec.install(inbound, outbound)
    assert caught.value.reason == "spi-in-use"
    assert len(side.ipsec.list()) == 1


def test_pairs_are_listed_in_their_order_with_what_they_have_carried(side: Side) -> None:
    spis = [connect(side) for _ in range(3)]
    for number in range(2):
        assert side.arrive(protected(side, number)) is not None
    side.leave(message(side, ACKNOWLEDGEMENT, 1, up=False))
    pairs = side.ipsec.list()
    assert [inbound.spi for inbound, _ in pairs] == spis
    assert [inbound.usage.packets for inbound, _ in pairs] == [0, 0, 2]
    assert [outbound.usage.packets for _, outbound in pairs] == [0, 0, 1]
