"""Packets from a mobile node's tunnel: the whole frame that comes out, the verdict and the counter of every way."""

from __future__ import annotations

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from datapath.reasons import Reason

pytestmark = pytest.mark.namespaces


def link(testbed) -> Packet:
    return Ether(src=testbed.care_of_mac, dst=testbed.core_mac)


def outer(testbed, **fields: object) -> Packet:
    return IPv6(**({"src": str(testbed.care_of), "dst": str(testbed.home_agent), "hlim": 50, "nh": 41} | fields))


def from_home(testbed, payload: Packet | None = None, **fields: object) -> Packet:
    header = {"src": str(testbed.home), "dst": str(testbed.correspondent), "hlim": 64, "tc": 7, "fl": 5} | fields
    return IPv6(**header) / (UDP(sport=1000, dport=2000) / Raw(b"data") if payload is None else payload)


def tunnelled(testbed, inner: Packet, **fields: object) -> bytes:
    return bytes(link(testbed) / outer(testbed, **fields) / inner)


def test_decapsulates_towards_the_correspondent(testbed):
    inner = from_home(testbed)

    outcome = testbed.run(tunnelled(testbed, inner), "core")

    inner.hlim = 63
    expected = Ether(src=testbed.correspondent_side_mac, dst=testbed.correspondent_mac) / inner
    assert outcome.reason is Reason.FORWARD_DECAPSULATED
    assert outcome.verdict == "redirect"
    assert outcome.frame == bytes(expected)


def test_counts_the_traffic_of_the_sender(testbed):
    inner = from_home(testbed)
    testbed.run(tunnelled(testbed, inner), "core")

    usage = testbed.bindings.usage(testbed.home)

    assert (usage.decapsulated_packets, usage.decapsulated_bytes) == (1, len(inner))
    assert usage.encapsulated_packets == 0


def test_a_tunnel_from_elsewhere_than_the_care_of_address_is_dropped(testbed):
    outcome = testbed.run(tunnelled(testbed, from_home(testbed), src=str(testbed.other_care_of)), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS)


def test_an_inner_source_without_binding_is_dropped(testbed):
    outcome = testbed.run(tunnelled(testbed, from_home(testbed, src="2001:db8:100::77")), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_NO_BINDING)


@pytest.mark.parametrize("destination", ["ff02::1", "ff0e::1", "fe80::1", "::1", "::"])
def test_an_inner_destination_no_router_forwards_to_is_dropped(testbed, destination):
    outcome = testbed.run(tunnelled(testbed, from_home(testbed, dst=destination)), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_DESTINATION)


def test_an_inner_packet_longer_than_the_tunnel_is_dropped(testbed):
    frame = tunnelled(testbed, from_home(testbed, plen=200))

    assert testbed.run(frame, "core").reason is Reason.DROP_TUNNEL_MALFORMED
    # Even when the frame is long enough: those bytes are not the tunnel's.
    assert testbed.run(frame + bytes(300), "core").reason is Reason.DROP_TUNNEL_MALFORMED


def test_one_byte_more_is_not_the_tunnels(testbed):
    inner = from_home(testbed)
    length = len(inner) - 40

    for plen, reason in ((length, Reason.FORWARD_DECAPSULATED), (length + 1, Reason.DROP_TUNNEL_MALFORMED)):
        frame = tunnelled(testbed, from_home(testbed, plen=plen), plen=len(inner)) + b"trailer"
        assert testbed.run(frame, "core").reason is reason


@pytest.mark.parametrize("version", [0, 4, 15])
def test_something_else_than_ipv6_inside_is_dropped(testbed, version):
    outcome = testbed.run(tunnelled(testbed, from_home(testbed, version=version)), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_MALFORMED)


def test_an_empty_tunnel_is_dropped(testbed):
    outcome = testbed.run(tunnelled(testbed, Raw(b"")), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_MALFORMED)


def test_to_the_home_agent_itself_it_is_passed_up_decapsulated(testbed):
    inner = from_home(testbed, ICMPv6EchoRequest(id=1, seq=2), dst=str(testbed.home_agent))

    outcome = testbed.run(tunnelled(testbed, inner), "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_DECAPSULATED_LOCAL)
    assert outcome.frame == bytes(link(testbed) / inner)
    usage = testbed.bindings.usage(testbed.home)
    assert (usage.decapsulated_packets, usage.decapsulated_bytes) == (1, len(inner))


def test_neighbour_discovery_out_of_a_tunnel_never_looks_on_link(testbed):
    forged = from_home(testbed, ICMPv6ND_NA(tgt=str(testbed.correspondent)), dst=str(testbed.home_agent), hlim=255)

    outcome = testbed.run(tunnelled(testbed, forged), "core")

    assert outcome.reason is Reason.PASS_DECAPSULATED_LOCAL
    assert Ether(outcome.frame)[IPv6].hlim == 254


def test_another_address_of_the_host_is_passed_up_decapsulated(testbed):
    inner = from_home(testbed, dst="2001:db8:c::1")

    outcome = testbed.run(tunnelled(testbed, inner), "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_DECAPSULATED_SLOW_PATH)
    assert outcome.frame == bytes(link(testbed) / inner)


def test_an_unresolved_next_hop_is_left_to_the_kernel_decapsulated(testbed):
    inner = from_home(testbed, dst="2001:db8:c::99")

    outcome = testbed.run(tunnelled(testbed, inner), "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_DECAPSULATED_NO_NEIGHBOUR)
    assert outcome.frame == bytes(link(testbed) / inner)


@pytest.mark.parametrize("destination", ["2001:db9::1", "2001:db8:a::2"])
def test_other_ways_are_left_to_the_kernel_decapsulated(testbed, destination):
    outcome = testbed.run(tunnelled(testbed, from_home(testbed, dst=destination)), "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_DECAPSULATED_SLOW_PATH)


@pytest.mark.parametrize("hop_limit", [0, 1])
def test_a_used_up_hop_limit_is_left_to_the_kernel(testbed, hop_limit):
    inner = from_home(testbed, hlim=hop_limit)

    outcome = testbed.run(tunnelled(testbed, inner), "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_DECAPSULATED_HOP_LIMIT)
    assert outcome.frame == bytes(link(testbed) / inner)


def test_from_one_mobile_node_to_another(testbed):
    inner = from_home(testbed, dst=str(testbed.other_home))

    outcome = testbed.run(tunnelled(testbed, inner, tc=1, fl=1) + b"pad", "core")

    inner.hlim = 63
    expected = (
        Ether(src=testbed.core_mac, dst=testbed.other_care_of_mac)
        / outer(testbed, src=str(testbed.other_home_agent), dst=str(testbed.other_care_of), tc=7, fl=5, hlim=64)
        / inner
    )
    assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_REENCAPSULATED)
    assert outcome.frame == bytes(expected) + b"pad"
    sender, receiver = (testbed.bindings.usage(home) for home in (testbed.home, testbed.other_home))
    assert (sender.decapsulated_packets, sender.decapsulated_bytes) == (1, len(inner))
    assert (receiver.encapsulated_packets, receiver.encapsulated_bytes) == (1, len(inner))


def test_between_mobile_nodes_an_error_returns_through_the_tunnel(testbed):
    inner = from_home(testbed, dst=str(testbed.other_home), hlim=1)

    outcome = testbed.run(tunnelled(testbed, inner), "core")

    expected = (
        Ether(src=testbed.core_mac, dst=testbed.care_of_mac)
        / IPv6(src=str(testbed.home_agent), dst=str(testbed.care_of), nh=41, hlim=64)
        / IPv6(src=str(testbed.home_agent), dst=str(testbed.home), hlim=64)
        / ICMPv6TimeExceeded()
        / inner
    )
    assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_TIME_EXCEEDED)
    assert outcome.frame == bytes(expected)


def test_between_mobile_nodes_too_big_returns_through_the_tunnel(testbed):
    inner = from_home(testbed, UDP(sport=1, dport=2) / Raw(b"z" * 1413), dst=str(testbed.other_home))

    outcome = testbed.run(tunnelled(testbed, inner), "core")

    expected = (
        Ether(src=testbed.core_mac, dst=testbed.care_of_mac)
        / IPv6(src=str(testbed.home_agent), dst=str(testbed.care_of), nh=41, hlim=64)
        / IPv6(src=str(testbed.home_agent), dst=str(testbed.home), hlim=64)
        / ICMPv6PacketTooBig(mtu=1460)
        / Raw(bytes(inner)[:1232])
    )
    assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_PACKET_TOO_BIG)
    assert outcome.frame == bytes(expected)
