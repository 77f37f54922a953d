"""Fragments of tunnels over IPv4, and IPv4 options: the kernel puts together and reads, the program decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP, UDP, IPOption_Router_Alert, fragment
from scapy.layers.inet6 import ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from datapath.reasons import Reason
from tests.datapath.ipv4.frames import AGENT, IN_UDP, MACS, PLAIN, bind, from_home, tunnelled
from tests.datapath.wire import Wire, is_to, relaying, wire

pytestmark = pytest.mark.namespaces

KINDS = pytest.mark.parametrize("care_of", [PLAIN, IN_UDP], ids=["plain", "in UDP"])


@pytest.fixture
def tunnel(testbed) -> Iterator[Callable[..., tuple[Wire, Callable[..., object]]]]:
    with ExitStack() as stack:
        yield lambda out_of="cn0": (
            stack.enter_context(wire(testbed, "core", out_of)),
            stack.enter_context(relaying(testbed, [AGENT])),
        )


def sized(testbed, length: int, **fields: object) -> Packet:
    return from_home(
        testbed, UDP(sport=1, dport=2) / Raw(bytes(number % 251 for number in range(length - 48))), **fields
    )


def in_fragments(frame: bytes, size: int = 1000) -> list[Packet]:
    """The frame with its packet in fragments of `size` bytes of payload."""
    whole = Ether(frame)
    link = Ether(src=whole.src, dst=whole.dst)
    return [link / each for each in fragment(whole[IP], size)]


@KINDS
@pytest.mark.parametrize("length", [1280, 1500])
def test_a_packet_in_fragments_reaches_the_correspondent(testbed, tunnel, care_of, length):
    bind(testbed, care_of)
    before = testbed.bindings.usage(testbed.home)
    cable, relay = tunnel()
    packet = sized(testbed, length)
    fragments = in_fragments(tunnelled(testbed, care_of, packet, id=7))
    cable.send(*reversed(fragments))
    relay("tunnel-returned")

    received = cable.receive(is_to(testbed.correspondent))

    packet.hlim -= 1
    assert bytes(received) == bytes(Ether(src=testbed.correspondent_side_mac, dst=testbed.correspondent_mac) / packet)
    cable.expect({Reason.PASS_IPV4_FRAGMENT: len(fragments), Reason.FORWARD_DECAPSULATED: 1})
    assert relay("tunnel-returned").statistics["tunnel-returned"] == 1
    after = testbed.bindings.usage(testbed.home)
    assert after.decapsulated_bytes - before.decapsulated_bytes == length


@KINDS
def test_behind_ipv4_options(testbed, tunnel, care_of):
    bind(testbed, care_of)
    cable, relay = tunnel()
    packet = sized(testbed, 300)
    cable.send(tunnelled(testbed, care_of, packet, options=[IPOption_Router_Alert()]))
    relay("tunnel-returned")

    received = cable.receive(is_to(testbed.correspondent))

    packet.hlim -= 1
    assert bytes(received[IPv6]) == bytes(packet)
    cable.expect({Reason.PASS_IPV4_OPTIONS: 1, Reason.FORWARD_DECAPSULATED: 1})


@KINDS
def test_to_another_node_over_ipv6(testbed, tunnel, care_of):
    bind(testbed, care_of)
    cable, relay = tunnel("core")
    packet = sized(testbed, 1400, dst=str(testbed.other_home))
    cable.send(*in_fragments(tunnelled(testbed, care_of, packet)))
    relay("tunnel-returned")

    received = cable.receive(is_to(testbed.other_care_of))

    packet.hlim -= 1
    assert (received[IPv6].src, received[IPv6].nh) == (str(testbed.other_home_agent), 41)
    assert bytes(received[IPv6].payload) == bytes(packet)
    assert cable.counted()[Reason.FORWARD_REENCAPSULATED] == 1


@KINDS
def test_an_error_returns_through_the_tunnel(testbed, tunnel, care_of):
    """XDP sends it out of where the packet came in: the slow path. The kernel forwards it from there."""
    bind(testbed, care_of)
    cable, relay = tunnel("core")
    packet = sized(testbed, 1400, dst=str(testbed.other_home), hlim=1)
    cable.send(*in_fragments(tunnelled(testbed, care_of, packet)))
    relay("tunnel-returned")

    received = cable.receive(is_to(care_of.address))

    assert (received[IP].src, received.dst) == (str(AGENT), MACS[care_of])
    assert ICMPv6TimeExceeded in IPv6(bytes(received[IP].payload)[8 if care_of is IN_UDP else 0 :])
    assert cable.counted()[Reason.REPLY_TIME_EXCEEDED] == 1


@KINDS
def test_a_mark_of_congestion_is_kept(testbed, tunnel, care_of):
    bind(testbed, care_of)
    cable, relay = tunnel()
    fragments = in_fragments(tunnelled(testbed, care_of, sized(testbed, 1400, tc=0x02), tos=0x02))
    fragments[1][IP].tos = 0x03
    del fragments[1][IP].chksum
    cable.send(*fragments)
    relay("tunnel-returned")

    assert cable.receive(is_to(testbed.correspondent))[IPv6].tc == 0x03


REFUSED = {
    "no binding": ({"src": "2001:db8:100::77"}, {}, Reason.DROP_TUNNEL_NO_BINDING),
    "elsewhere": ({}, {"src": "192.0.2.77"}, Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS),
    "bound over IPv6": ({"src": "2001:db8:100::6"}, {}, Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS),
}


@KINDS
@pytest.mark.parametrize("name", REFUSED)
def test_strangers_cost_the_daemon_nothing(testbed, tunnel, care_of, name):
    bind(testbed, care_of)
    inner, outer, reason = REFUSED[name]
    cable, relay = tunnel()
    fragments = in_fragments(tunnelled(testbed, care_of, sized(testbed, 1400, **inner), **outer))
    cable.send(*fragments)

    cable.expect({Reason.PASS_IPV4_FRAGMENT: len(fragments), reason: 1})
    assert not +relay().statistics


def test_from_another_port_of_the_nat(testbed, tunnel):
    bind(testbed, IN_UDP)
    cable, relay = tunnel()
    fragments = in_fragments(tunnelled(testbed, IN_UDP, sized(testbed, 1400), sport=7))
    cable.send(*fragments)

    cable.expect({Reason.PASS_IPV4_FRAGMENT: len(fragments), Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS: 1})
    assert not +relay().statistics


@KINDS
def test_too_short_for_an_inner_header(testbed, tunnel, care_of):
    cable, relay = tunnel()
    cable.send(*in_fragments(tunnelled(testbed, care_of, Raw(b"\x60" * 39)), 32))

    cable.expect({Reason.PASS_IPV4_FRAGMENT: 2, Reason.DROP_TUNNEL_MALFORMED: 1})
    assert not +relay().statistics


def test_signalling_in_udp_is_not_for_the_relay(testbed, tunnel):
    bind(testbed, IN_UDP)
    cable, relay = tunnel()
    signalling = from_home(testbed, Raw(bytes(1400)), dst=str(testbed.home_agent), nh=50)
    cable.send(tunnelled(testbed, IN_UDP, from_home(testbed, Raw(bytes(64)), dst=str(testbed.home_agent), nh=135)))
    fragments = in_fragments(tunnelled(testbed, IN_UDP, signalling))
    cable.send(*fragments)

    cable.expect({Reason.PASS_UDP_SIGNALLING: 1, Reason.PASS_IPV4_FRAGMENT: len(fragments)})
    assert not +relay().statistics
