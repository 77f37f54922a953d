"""Out of tunnels over IPv4, and from node to node: the whole frame that comes out, verdict, reason and counters."""

from __future__ import annotations

from ipaddress import IPv6Address

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

from datapath.bindings import IPv4CareOfAddress
from datapath.reasons import Reason
from tests.datapath.conftest import Testbed
from tests.datapath.ipv4.frames import (
    AGENT,
    IN_UDP,
    MACS,
    PLAIN,
    bind,
    from_home,
    sent,
    tunnelled,
)

pytestmark = pytest.mark.namespaces

CARE_OF_ADDRESSES = pytest.mark.parametrize("care_of", [PLAIN, IN_UDP], ids=["plain", "udp"])


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
