"""Tunnels to IPv4 care-of addresses, plain and in UDP: the whole frame that comes out, verdict, reason and counters."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    HAO,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from control.daemon.route_watch import RouteWatch
from datapath.address_words import words_of
from datapath.bindings import IPv4CareOfAddress, Tunnel
from datapath.errors import AddressNotServed
from datapath.reasons import Reason
from datapath.route_changes import BOTH_FAMILIES
from datapath.route_control import RouteControl
from datapath.show import show
from tests.datapath.conftest import Testbed, run
from tests.datapath.ipv4.frames import (
    AGENT,
    IN_UDP,
    MACS,
    PLAIN,
    bind,
    from_home,
    headers,
    received,
    sent,
    sized,
    to_home,
    tunnelled,
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


class TestOutOfTheTunnel:
    @CARE_OF_ADDRESSES
    def test_decapsulates_towards_the_correspondent(self, testbed, care_of):
        bind(testbed, care_of)

        outcome = testbed.run(tunnelled(testbed, care_of, from_home(testbed)), "core")

        link = Ether(src=testbed.correspondent_side_mac, dst=testbed.correspondent_mac)
        assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_DECAPSULATED)
        assert outcome.frame == bytes(link / from_home(testbed, hlim=63))
        usage = testbed.bindings.usage(testbed.home)
        assert (usage.decapsulated_packets, usage.decapsulated_bytes) == (1, len(from_home(testbed)))

    def test_a_udp_checksum_of_zero_is_none(self, testbed):
        bind(testbed, IN_UDP)
        frame = bytearray(tunnelled(testbed, IN_UDP, from_home(testbed)))
        frame[40:42] = bytes(2)

        assert testbed.run(bytes(frame), "core").reason is Reason.FORWARD_DECAPSULATED

    @CARE_OF_ADDRESSES
    @pytest.mark.parametrize(
        ("outside", "inside", "left"), [(3, 1, 3), (3, 2, 3), (1, 2, 1), (2, 1, 1), (0, 3, 3), (3, 3, 3), (1, 0, 0)]
    )
    def test_keeps_marks_of_congestion(self, testbed, care_of, outside, inside, left):
        bind(testbed, care_of)

        frame = tunnelled(testbed, care_of, from_home(testbed, tc=inside), tos=0xB8 | outside)

        assert Ether(testbed.run(frame, "core").frame)[IPv6].tc == left

    @CARE_OF_ADDRESSES
    def test_a_mark_the_sender_would_not_hear_of_is_a_loss(self, testbed, care_of):
        bind(testbed, care_of)
        frame = tunnelled(testbed, care_of, from_home(testbed, tc=0), tos=3)

        assert testbed.run(frame, "core").reason is Reason.DROP_TUNNEL_CONGESTION

    @CARE_OF_ADDRESSES
    def test_from_another_address_it_is_dropped(self, testbed, care_of):
        bind(testbed, care_of)
        frame = tunnelled(testbed, care_of, from_home(testbed), src="192.0.2.7")

        outcome = testbed.run(frame, "core")

        assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS)

    def test_from_another_port_or_in_the_other_format_it_is_dropped(self, testbed):
        same_address = IPv4CareOfAddress(IN_UDP.address, AGENT)
        bind(testbed, IN_UDP)
        port = tunnelled(testbed, IN_UDP, from_home(testbed), sport=20_001)
        plain = bytes(
            Ether(src=MACS[IN_UDP], dst=testbed.core_mac)
            / IP(src=str(same_address.address), dst=str(AGENT), proto=41)
            / from_home(testbed)
        )
        assert testbed.run(port, "core").reason is Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS
        assert testbed.run(plain, "core").reason is Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS

        bind(testbed, same_address)
        in_udp = tunnelled(testbed, IN_UDP, from_home(testbed))
        assert testbed.run(plain, "core").reason is Reason.FORWARD_DECAPSULATED
        assert testbed.run(in_udp, "core").reason is Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS

    @CARE_OF_ADDRESSES
    def test_over_ipv6_nobody_is_taken_for_a_node_with_ipv4(self, testbed, care_of):
        bind(testbed, care_of)
        forged = Ether(dst=testbed.core_mac) / IPv6(src=str(IPv6Address(int(care_of))), dst=str(testbed.home_agent))

        outcome = testbed.run(bytes(forged / from_home(testbed)), "core")

        assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS)

    @CARE_OF_ADDRESSES
    def test_a_home_address_option_from_there_is_not_believed_either(self, testbed, care_of):
        bind(testbed, care_of)
        forged = Ether(dst=testbed.core_mac) / IPv6(src=str(IPv6Address(int(care_of))), dst=str(testbed.home_agent))
        forged /= IPv6ExtHdrDestOpt(options=[HAO(hoa=str(testbed.home))]) / UDP()

        assert testbed.run(bytes(forged), "core").reason is Reason.REPLY_BINDING_ERROR

    @pytest.mark.parametrize(("less", "reason"), [(0, Reason.FORWARD_DECAPSULATED), (1, Reason.DROP_TUNNEL_MALFORMED)])
    def test_what_is_behind_the_datagram_is_not_the_tunnels(self, testbed, less, reason):
        bind(testbed, IN_UDP)
        frame = bytearray(tunnelled(testbed, IN_UDP, from_home(testbed)))
        frame[38:40] = (8 + len(from_home(testbed)) - less).to_bytes(2, "big")

        assert testbed.run(bytes(frame), "core").reason is reason

    @CARE_OF_ADDRESSES
    def test_a_node_with_ipv6_is_not_taken_over_ipv4(self, testbed, care_of):
        outcome = testbed.run(tunnelled(testbed, care_of, from_home(testbed)), "core")

        assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS)

    @CARE_OF_ADDRESSES
    def test_an_inner_source_without_binding_is_dropped(self, testbed, care_of):
        frame = tunnelled(testbed, care_of, from_home(testbed, src="2001:db8:100::77"))

        assert testbed.run(frame, "core").reason is Reason.DROP_TUNNEL_NO_BINDING

    @CARE_OF_ADDRESSES
    @pytest.mark.parametrize("destination", ["ff02::1", "fe80::1", "::1"])
    def test_an_inner_destination_no_router_forwards_to_is_dropped(self, testbed, care_of, destination):
        bind(testbed, care_of)
        frame = tunnelled(testbed, care_of, from_home(testbed, dst=destination))

        assert testbed.run(frame, "core").reason is Reason.DROP_TUNNEL_DESTINATION

    @CARE_OF_ADDRESSES
    @pytest.mark.parametrize("fields", [{"plen": 200}, {"version": 4}], ids=["longer", "no-ipv6"])
    def test_a_malformed_inner_packet_is_dropped(self, testbed, care_of, fields):
        bind(testbed, care_of)
        frame = tunnelled(testbed, care_of, from_home(testbed, **fields))

        assert testbed.run(frame, "core").reason is Reason.DROP_TUNNEL_MALFORMED
        assert testbed.run(frame + bytes(300), "core").reason is Reason.DROP_TUNNEL_MALFORMED

    @CARE_OF_ADDRESSES
    @pytest.mark.parametrize("size", [0, 1, 39])
    def test_a_tunnel_with_less_than_a_header_in_it_is_dropped(self, testbed, care_of, size):
        frame = tunnelled(testbed, care_of, Raw(bytes(size)))

        assert testbed.run(frame, "core").reason is Reason.DROP_TUNNEL_MALFORMED

    @CARE_OF_ADDRESSES
    def test_to_the_home_agent_itself_it_is_passed_up_decapsulated(self, testbed, care_of):
        bind(testbed, care_of)
        inner = from_home(testbed, ICMPv6EchoRequest(id=1, seq=2), dst=str(testbed.home_agent))

        outcome = testbed.run(tunnelled(testbed, care_of, inner), "core")

        assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_DECAPSULATED_LOCAL)
        assert outcome.frame == bytes(Ether(src=MACS[care_of], dst=testbed.core_mac) / inner)

    @CARE_OF_ADDRESSES
    def test_neighbour_discovery_out_of_a_tunnel_never_looks_on_link(self, testbed, care_of):
        bind(testbed, care_of)
        forged = from_home(testbed, ICMPv6ND_NA(), dst=str(testbed.home_agent), hlim=255)

        outcome = testbed.run(tunnelled(testbed, care_of, forged), "core")

        assert outcome.reason is Reason.PASS_DECAPSULATED_LOCAL
        assert Ether(outcome.frame)[IPv6].hlim == 254

    @CARE_OF_ADDRESSES
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"dst": "2001:db8:c::99"}, Reason.PASS_DECAPSULATED_NO_NEIGHBOUR),
            ({"dst": "2001:db8:a::2"}, Reason.PASS_DECAPSULATED_SLOW_PATH),
            ({"hlim": 1}, Reason.PASS_DECAPSULATED_HOP_LIMIT),
        ],
    )
    def test_what_the_kernel_does_it_gets_decapsulated(self, testbed, care_of, fields, reason):
        bind(testbed, care_of)
        inner = from_home(testbed, **fields)

        outcome = testbed.run(tunnelled(testbed, care_of, inner), "core")

        assert (outcome.verdict, outcome.reason) == ("pass", reason)
        assert outcome.frame == bytes(Ether(src=MACS[care_of], dst=testbed.core_mac) / inner)


IPV6 = Testbed.other_care_of


@pytest.mark.parametrize("receiver", [PLAIN, IN_UDP, IPV6], ids=["plain", "udp", "ipv6"])
@pytest.mark.parametrize("sender", [PLAIN, IN_UDP, IPV6], ids=["plain", "udp", "ipv6"])
class TestFromNodeToNode:
    """Every combination of formats; both may be the same NAT's address."""

    def frame(self, testbed, sender, inner: Packet) -> bytes:
        bind(testbed, sender)
        if sender != IPV6:
            return tunnelled(testbed, sender, inner)
        outer = IPv6(src=str(IPV6), dst=str(testbed.home_agent))
        return bytes(Ether(src=testbed.other_care_of_mac, dst=testbed.core_mac) / outer / inner)

    def in_tunnel(self, testbed, far_end, inner: Packet, frame: bytes, agent) -> bytes:
        """The expected frame out to a node."""
        if far_end != IPV6:
            return sent(testbed, far_end, inner, frame)
        outer = IPv6(src=str(agent), dst=str(IPV6), tc=inner.tc, fl=inner.fl, nh=41, hlim=64)
        return bytes(Ether(src=testbed.core_mac, dst=testbed.other_care_of_mac) / outer / inner)

    def test_one_tunnel_is_exchanged_for_the_other(self, testbed, sender, receiver):
        bind(testbed, receiver, testbed.other_home)
        inner = from_home(testbed, dst=str(testbed.other_home))

        outcome = testbed.run(self.frame(testbed, sender, inner), "core")

        inner.hlim = 63
        assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_REENCAPSULATED)
        assert outcome.frame == self.in_tunnel(testbed, receiver, inner, outcome.frame, testbed.home_agent)
        here, there = testbed.bindings.usage(testbed.home), testbed.bindings.usage(testbed.other_home)
        assert (here.decapsulated_packets, here.decapsulated_bytes) == (1, len(inner))
        assert (there.encapsulated_packets, there.encapsulated_bytes) == (1, len(inner))

    def test_an_error_goes_back_through_the_tunnel(self, testbed, sender, receiver):
        bind(testbed, receiver, testbed.other_home)
        inner = from_home(testbed, dst=str(testbed.other_home), hlim=1)

        outcome = testbed.run(self.frame(testbed, sender, inner), "core")

        error = IPv6(src=str(testbed.home_agent), dst=str(testbed.home), hlim=64) / ICMPv6TimeExceeded() / inner
        assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_TIME_EXCEEDED)
        assert outcome.frame == self.in_tunnel(testbed, sender, error, outcome.frame, testbed.home_agent)

    def test_too_big_goes_back_through_the_tunnel(self, testbed, sender, receiver):
        bind(testbed, receiver, testbed.other_home)
        largest = {PLAIN: 1480, IN_UDP: 1472, IPV6: 1460}[receiver]
        inner = from_home(testbed, UDP() / Raw(bytes(largest + 1 - 48)), dst=str(testbed.other_home))

        outcome = testbed.run(self.frame(testbed, sender, inner), "core")

        error = (
            IPv6(src=str(testbed.home_agent), dst=str(testbed.home), hlim=64)
            / ICMPv6PacketTooBig(mtu=largest)
            / Raw(bytes(inner)[:1232])
        )
        assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_PACKET_TOO_BIG)
        assert outcome.frame == self.in_tunnel(testbed, sender, error, outcome.frame, testbed.home_agent)


def test_changes_of_ipv4_routes_and_neighbours_begin_a_new_generation(testbed):
    async def watched() -> None:
        loop = asyncio.get_running_loop()
        watch = RouteWatch(RouteControl.open(testbed.pin_path), loop, BOTH_FAMILIES)
        control = RouteControl.open(testbed.pin_path)
        try:
            for change in (
                "ip neigh replace 192.0.2.5 dev core lladdr 02:00:00:00:04:99 nud permanent",
                "ip route add 10.1.0.0/16 via 192.0.2.5 dev core",
                "ip route del 10.1.0.0/16 via 192.0.2.5 dev core",
                f"ip neigh replace 192.0.2.5 dev core lladdr {MACS[PLAIN]} nud permanent",
            ):
                before = control.generation
                run(change)
                async with asyncio.timeout(30):
                    while control.generation == before:
                        await asyncio.sleep(0.01)
        finally:
            control.close()
            watch.close()

    asyncio.run(watched())


def test_bindings_are_read_back_and_reconciled(testbed):
    expected = {
        testbed.home: Tunnel(PLAIN, testbed.home_agent),
        testbed.other_home: Tunnel(IN_UDP, testbed.other_home_agent),
        IPv6Address("2001:db8:100::7"): Tunnel(testbed.care_of, testbed.home_agent),
    }

    testbed.bindings.reconcile(expected)

    assert testbed.bindings.entries() == expected
    again = testbed.bindings.reconcile(expected)
    assert (again.added, again.changed, again.removed) == ([], [], [])
    moved = expected | {testbed.other_home: Tunnel(IPv4CareOfAddress(IN_UDP.address, AGENT, 9), testbed.home_agent)}
    assert testbed.bindings.reconcile(moved).changed == [testbed.other_home]


def test_whoever_reconciles_may_leave_tunnels_over_ipv4_to_others(testbed):
    gone = Tunnel(IPv4CareOfAddress(PLAIN.address, IPv4Address("192.0.2.200")), testbed.home_agent)
    known = {
        testbed.other_home: Tunnel(IN_UDP, testbed.other_home_agent),
        IPv6Address("2001:db8:100::7"): Tunnel(PLAIN, testbed.home_agent),
    }
    own = {IPv6Address("2001:db8:100::8"): Tunnel(testbed.care_of, testbed.home_agent)}
    testbed.bindings.install_many(known)
    # As an upgrade leaves what was made for an address that is not served any more.
    agents = [testbed.home_agent]
    testbed.bindings.carry(*(words_of(each) for each in ([testbed.home], [gone.care_of_address], agents)))
    assert testbed.bindings.entries() == known | {testbed.home: gone}

    outcome = testbed.bindings.reconcile(own, leave_ipv4=True)

    assert testbed.bindings.entries() == known | own
    assert (outcome.removed, set(outcome.left)) == ([testbed.home], set(known))
    testbed.bindings.reconcile({testbed.other_home: Tunnel(testbed.care_of, testbed.home_agent)}, leave_ipv4=True)
    assert testbed.bindings.entries()[testbed.other_home].care_of_address == testbed.care_of


def test_an_address_the_data_path_does_not_serve_is_refused(testbed):
    other = IPv4CareOfAddress(PLAIN.address, IPv4Address("192.0.2.200"))
    before = testbed.bindings.entries()

    with pytest.raises(AddressNotServed, match=r"192\.0\.2\.200"):
        bind(testbed, other)
    with pytest.raises(AddressNotServed, match="load again"):
        testbed.bindings.install_many({testbed.home: Tunnel(other, testbed.home_agent)})
    with pytest.raises(ValueError, match="nothing is routed"):
        bind(testbed, IPv6Address(int(PLAIN)))
    assert testbed.bindings.entries() == before


def test_shows_both_kinds_of_addresses(testbed):
    shown = show(testbed.pin_path)["home_agent_addresses"]

    assert shown == [str(testbed.home_agent), str(testbed.other_home_agent), str(AGENT)]
