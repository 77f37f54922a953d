"""Into tunnels to IPv4 care-of addresses, plain and in UDP: the whole frame, verdict, reason and counters."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from datapath.bindings import IPv4CareOfAddress
from datapath.reasons import Reason
from tests.datapath.conftest import run
from tests.datapath.ipv4.frames import (
    AGENT,
    IN_UDP,
    MACS,
    PLAIN,
    bind,
    headers,
    received,
    sent,
    sized,
    to_home,
)

pytestmark = pytest.mark.namespaces

CARE_OF_ADDRESSES = pytest.mark.parametrize("care_of", [PLAIN, IN_UDP], ids=["plain", "udp"])


class TestIntoTheTunnel:
    @CARE_OF_ADDRESSES
    def test_encapsulates_with_the_class_of_the_packet(self, testbed, care_of):
        bind(testbed, care_of)

        outcome = testbed.run(received(testbed, to_home(testbed)))

        assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_ENCAPSULATED)
        assert outcome.frame == sent(testbed, care_of, to_home(testbed, hlim=63), outcome.frame)
        usage = testbed.bindings.usage(testbed.home)
        assert (usage.encapsulated_packets, usage.encapsulated_bytes) == (1, len(to_home(testbed)))

    @CARE_OF_ADDRESSES
    @pytest.mark.parametrize("ecn", range(4))
    def test_copies_the_congestion_field(self, testbed, care_of, ecn):
        bind(testbed, care_of)

        outcome = testbed.run(received(testbed, to_home(testbed, tc=0xB8 | ecn)))

        assert Ether(outcome.frame)[IP].tos == 0xB8 | ecn

    @CARE_OF_ADDRESSES
    def test_a_packet_that_can_be_answered_is_never_fragmented_on_its_way(self, testbed, care_of):
        bind(testbed, care_of)
        largest = {PLAIN: 1480, IN_UDP: 1472}[care_of]

        outcome = testbed.run(received(testbed, sized(testbed, largest)))

        assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_ENCAPSULATED)
        assert outcome.frame == sent(testbed, care_of, sized(testbed, largest, hlim=63))
        assert Ether(outcome.frame)[IP].flags == "DF"

    def test_only_small_packets_may_be_fragmented_and_each_has_its_identification(self, testbed):
        bind(testbed, PLAIN)
        packets = [Ether(testbed.run(received(testbed, sized(testbed, 1280))).frame)[IP] for _ in range(8)]

        assert {int(packet.flags) for packet in packets} == {0}
        assert len({packet.id for packet in packets}) > 1
        assert Ether(testbed.run(received(testbed, sized(testbed, 1281))).frame)[IP].flags == "DF"

    @CARE_OF_ADDRESSES
    def test_too_big_for_the_link_is_answered_with_the_size_that_fits(self, testbed, care_of):
        bind(testbed, care_of)
        largest = {PLAIN: 1480, IN_UDP: 1472}[care_of]

        outcome = testbed.run(received(testbed, sized(testbed, largest + 1)))

        expected = (
            Ether(src=testbed.correspondent_side_mac, dst=testbed.correspondent_mac)
            / IPv6(src=str(testbed.home_agent), dst=str(testbed.correspondent), hlim=64)
            / ICMPv6PacketTooBig(mtu=largest)
            / Raw(bytes(sized(testbed, largest + 1))[:1232])
        )
        assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_PACKET_TOO_BIG)
        assert outcome.frame == bytes(expected)

    @pytest.mark.parametrize(("port", "mtu"), [(None, 1380), (20_000, 1372)])
    def test_the_mtu_of_the_route_counts(self, testbed, port, mtu):
        bind(testbed, IPv4CareOfAddress(IPv4Address("203.0.113.5"), AGENT, port))

        assert testbed.run(received(testbed, sized(testbed, mtu))).reason is Reason.FORWARD_ENCAPSULATED
        answer = testbed.run(received(testbed, sized(testbed, mtu + 1)))

        assert answer.reason is Reason.REPLY_PACKET_TOO_BIG
        assert Ether(answer.frame)[ICMPv6PacketTooBig].mtu == mtu

    @pytest.mark.parametrize("port", [None, 20_000])
    def test_what_ipv6_must_carry_is_left_to_the_kernel_to_fragment(self, testbed, port):
        care_of = IPv4CareOfAddress(IPv4Address("203.0.113.200"), AGENT, port)
        bind(testbed, care_of)

        outcome = testbed.run(received(testbed, sized(testbed, 1280)))

        assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_ENCAPSULATED_TO_FRAGMENT)
        inner = sized(testbed, 1280, hlim=63)
        identification = int.from_bytes(outcome.frame[18:20], "big")
        link = Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac)
        assert outcome.frame == bytes(link / headers(care_of, inner, id=identification) / inner)
        answer = testbed.run(received(testbed, sized(testbed, 1281)))
        assert answer.reason is Reason.REPLY_PACKET_TOO_BIG
        assert Ether(answer.frame)[ICMPv6PacketTooBig].mtu == 1280

    @CARE_OF_ADDRESSES
    @pytest.mark.parametrize("hop_limit", [0, 1])
    def test_a_used_up_hop_limit_is_answered(self, testbed, care_of, hop_limit):
        bind(testbed, care_of)
        packet = to_home(testbed, hlim=hop_limit)

        outcome = testbed.run(received(testbed, packet))

        expected = (
            Ether(src=testbed.correspondent_side_mac, dst=testbed.correspondent_mac)
            / IPv6(src=str(testbed.home_agent), dst=str(testbed.correspondent), hlim=64)
            / ICMPv6TimeExceeded()
            / packet
        )
        assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_TIME_EXCEEDED)
        assert outcome.frame == bytes(expected)

    def test_an_error_is_not_answered(self, testbed):
        bind(testbed, PLAIN)
        error = to_home(testbed, ICMPv6PacketTooBig() / Raw(b"x" * 1400))

        assert testbed.run(received(testbed, error)).reason is Reason.FORWARD_ENCAPSULATED
        error = to_home(testbed, ICMPv6PacketTooBig() / Raw(b"x" * 1440))
        assert testbed.run(received(testbed, error)).reason is Reason.DROP_TOO_BIG
        error = to_home(testbed, ICMPv6TimeExceeded() / Raw(b"x" * 60), hlim=1)
        assert testbed.run(received(testbed, error)).reason is Reason.DROP_HOP_LIMIT

    @pytest.mark.parametrize(
        ("address", "verdict", "reason"),
        [
            ("192.0.2.99", "pass", Reason.PASS_ENCAPSULATED_NO_NEIGHBOUR),
            ("198.51.100.2", "pass", Reason.PASS_ENCAPSULATED_SLOW_PATH),
            ("10.9.9.9", "drop", Reason.DROP_NO_ROUTE),
        ],
    )
    def test_other_ways_out(self, testbed, address, verdict, reason):
        care_of = IPv4CareOfAddress(IPv4Address(address), AGENT)
        bind(testbed, care_of)

        outcome = testbed.run(received(testbed, to_home(testbed)))

        assert (outcome.verdict, outcome.reason) == (verdict, reason)
        if verdict == "pass":
            inner = to_home(testbed, hlim=63)
            identification = int.from_bytes(outcome.frame[18:20], "big")
            link = Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac)
            assert outcome.frame == bytes(link / headers(care_of, inner, id=identification) / inner)

    def test_neighbour_discovery_is_never_tunnelled(self, testbed):
        bind(testbed, PLAIN)
        packet = to_home(testbed, ICMPv6ND_NA(), hlim=255)

        assert testbed.run(received(testbed, packet)).reason is Reason.PASS_NEIGHBOUR_DISCOVERY

    def test_a_next_hop_is_kept_until_a_new_generation(self, testbed, control):
        bind(testbed, PLAIN)
        try:
            first = testbed.run(received(testbed, to_home(testbed)))
            run("ip neigh replace 192.0.2.5 dev core lladdr 02:00:00:00:04:99 nud permanent")
            kept = testbed.run(received(testbed, to_home(testbed)))
            control.begin_generation()
            asked = testbed.run(received(testbed, to_home(testbed)))
        finally:
            run(f"ip neigh replace 192.0.2.5 dev core lladdr {MACS[PLAIN]} nud permanent")

        assert first.frame[:6] == kept.frame[:6]
        assert asked.frame[:6].hex(":") == "02:00:00:00:04:99"
