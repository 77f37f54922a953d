"""Fragments: into the tunnel and out of it, of outer packets and of inner ones."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv6Address

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    defragment6,
    fragment6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from control.daemon.tunnel_relay import TunnelRelay
from datapath.bpf_syscall import Map
from datapath.layout import INDEX, pin_directory, slow_path_devices
from datapath.reasons import Reason
from tests.datapath.wire import Wire, is_to, relaying, wire

pytestmark = pytest.mark.namespaces

NARROW = IPv6Address("2001:db8:e:2::7")  # a care-of address with a path of the least MTU
NARROW_ROUTE = "2001:db8:e:2::/64 via 2001:db8:f::5 dev core mtu lock 1280"


@pytest.fixture(autouse=True)
def _narrow_binding(testbed):
    testbed.bindings.install(testbed.other_home, NARROW, testbed.home_agent)


@pytest.fixture(scope="module", autouse=True)
def _narrow_path(testbed):
    subprocess.run(["ip", "-6", "route", "add", *NARROW_ROUTE.split()], check=True)


def from_correspondent(testbed, payload: Packet, **fields: object) -> Packet:
    link = Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac)
    return link / IPv6(**({"src": str(testbed.correspondent), "hlim": 61} | fields)) / payload


def from_node(testbed, payload: Packet, **fields: object) -> Packet:
    link = Ether(src=testbed.care_of_mac, dst=testbed.core_mac)
    return link / IPv6(**({"src": str(testbed.care_of), "dst": str(testbed.home_agent), "hlim": 50} | fields)) / payload


def udp(length: int) -> Packet:
    """UDP that makes an IPv6 packet of `length` bytes."""
    return UDP(sport=1000, dport=2000) / Raw(bytes(index % 251 for index in range(length - 48)))


def inner(testbed, length: int, **fields: object) -> Packet:
    header = {"src": str(testbed.home), "dst": str(testbed.correspondent), "hlim": 64, "tc": 0x02} | fields
    return IPv6(**header) / udp(length)


# What the program makes of one frame


@pytest.mark.parametrize("length", [1241, 1256, 1280])
def test_what_a_narrow_way_cannot_carry_in_one_piece_is_prepared_for_fragmentation(testbed, length):
    frame = from_correspondent(testbed, udp(length), dst=str(testbed.other_home), tc=0xB8, fl=0x12345)

    outcome = testbed.run(bytes(frame))

    came = Ether(outcome.frame)
    expected = frame[IPv6].copy()
    expected.hlim = 60
    assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_IN_FRAGMENTS)
    outer = came[IPv6]
    assert (outer.src, outer.dst, outer.hlim) == (str(testbed.home_agent), str(NARROW), 64)
    assert (outer.tc, outer.fl, outer.plen) == (0xB8, 0x12345, length + 8)
    fragment = came[IPv6ExtHdrFragment]
    assert (fragment.nh, fragment.offset, fragment.m, fragment.res1, fragment.res2) == (41, 0, 0, 0, 0)
    assert bytes(fragment.payload) == bytes(expected)


def test_identifications_differ(testbed):
    frame = bytes(from_correspondent(testbed, udp(1280), dst=str(testbed.other_home)))

    identifications = {Ether(testbed.run(frame).frame)[IPv6ExtHdrFragment].id for _ in range(8)}

    assert len(identifications) == 8


def test_what_fits_is_not_fragmented(testbed):
    frame = from_correspondent(testbed, udp(1240), dst=str(testbed.other_home))

    assert testbed.run(bytes(frame)).reason is Reason.FORWARD_ENCAPSULATED


def test_what_is_longer_than_every_link_must_carry_is_refused(testbed):
    frame = from_correspondent(testbed, udp(1281), dst=str(testbed.other_home))

    assert testbed.run(bytes(frame)).reason is Reason.REPLY_PACKET_TOO_BIG


def test_from_one_node_to_another_in_fragments(testbed):
    packet = inner(testbed, 1280, dst=str(testbed.other_home))
    before = testbed.bindings.usage(testbed.home), testbed.bindings.usage(testbed.other_home)

    outcome = testbed.run(bytes(from_node(testbed, packet)), "core")

    packet.hlim = 63
    came = Ether(outcome.frame)
    assert outcome.reason is Reason.FORWARD_IN_FRAGMENTS
    assert (came[IPv6].src, came[IPv6].dst, came[IPv6].plen) == (str(testbed.home_agent), str(NARROW), 1288)
    assert came[IPv6].tc == 0x02
    assert bytes(came[IPv6ExtHdrFragment].payload) == bytes(packet)
    after = testbed.bindings.usage(testbed.home), testbed.bindings.usage(testbed.other_home)
    assert after[0].decapsulated_bytes - before[0].decapsulated_bytes == 1280
    assert after[1].encapsulated_packets - before[1].encapsulated_packets == 1
    assert after[1].encapsulated_bytes - before[1].encapsulated_bytes == 1280


def test_without_the_slow_path_nothing_is_fragmented(testbed):
    frame = from_correspondent(testbed, udp(1280), dst=str(testbed.other_home))
    with Map.open(pin_directory(testbed.pin_path) / "ports") as ports:
        port = ports.lookup(INDEX.pack(0))
        ports.delete(INDEX.pack(0))
        try:
            outcome = testbed.run(bytes(frame))
        finally:
            ports.update(INDEX.pack(0), port)

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_LINK_MTU_TOO_SMALL)
    assert outcome.frame == bytes(frame)


INNER_FRAGMENTS = {
    "first": IPv6ExtHdrFragment(offset=0, m=1, id=9, nh=17) / UDP(sport=1, dport=2) / Raw(b"x" * 1000),
    "later": IPv6ExtHdrFragment(offset=126, m=1, id=9, nh=17) / Raw(b"\x87" * 1000),
    "last": IPv6ExtHdrFragment(offset=252, m=0, id=9, nh=17) / Raw(b"\x87"),
    "atomic": IPv6ExtHdrFragment(offset=0, m=0, id=9, nh=17) / UDP(sport=1, dport=2),
    "of-icmp": IPv6ExtHdrFragment(offset=10, m=0, id=9, nh=58) / Raw(b"\x87" * 9),
}


@pytest.mark.parametrize("name", INNER_FRAGMENTS)
def test_a_fragment_to_a_home_address_is_tunnelled_as_it_is(testbed, name):
    frame = from_correspondent(testbed, INNER_FRAGMENTS[name], dst=str(testbed.home))

    outcome = testbed.run(bytes(frame))

    packet = frame[IPv6].copy()
    packet.hlim = 60
    link = Ether(src=testbed.core_mac, dst=testbed.care_of_mac)
    outer = IPv6(src=str(testbed.home_agent), dst=str(testbed.care_of), hlim=64, nh=41)
    assert outcome.reason is Reason.FORWARD_ENCAPSULATED
    assert outcome.frame == bytes(link / outer / packet)


@pytest.mark.parametrize("name", INNER_FRAGMENTS)
def test_a_fragment_from_a_home_address_leaves_as_it_is(testbed, name):
    packet = IPv6(src=str(testbed.home), dst=str(testbed.correspondent), hlim=64) / INNER_FRAGMENTS[name]

    outcome = testbed.run(bytes(from_node(testbed, packet)), "core")

    packet.hlim = 63
    assert outcome.reason is Reason.FORWARD_DECAPSULATED
    assert outcome.frame == bytes(Ether(src=testbed.correspondent_side_mac, dst=testbed.correspondent_mac) / packet)


@pytest.mark.parametrize("next_header", [41, 50, 135, 17, 60])
@pytest.mark.parametrize(("offset", "more"), [(0, 1), (0, 0), (8, 1), (8, 0)])
def test_fragments_to_the_home_agent_are_the_kernels(testbed, next_header, offset, more):
    fragment = IPv6ExtHdrFragment(offset=offset, m=more, nh=next_header, id=3) / Raw(b"\2" * 64)
    frame = bytes(from_node(testbed, fragment))

    outcome = testbed.run(frame, "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_FRAGMENT)
    assert outcome.frame == frame


# With the kernel and the daemon's part of the slow path


@pytest.mark.parametrize("length", [1241, 1279, 1280])
def test_two_fragments_leave_for_the_care_of_address(testbed, length):
    frame = from_correspondent(testbed, udp(length), dst=str(testbed.other_home), tc=0x02)
    with wire(testbed, "cn0", "core") as cable:
        cable.send(frame)
        fragments = [cable.receive(is_to(NARROW)) for _ in range(2)]

        cable.expect({Reason.FORWARD_IN_FRAGMENTS: 1})
    assert [(each[IPv6ExtHdrFragment].offset, each[IPv6ExtHdrFragment].m) for each in fragments] == [(0, 1), (154, 0)]
    assert {(each[IPv6ExtHdrFragment].res1, each[IPv6ExtHdrFragment].res2) for each in fragments} == {(0, 0)}
    assert [each[IPv6].plen for each in fragments] == [1240, 8 + length - 1232]
    assert {(each.src, each.dst) for each in fragments} == {(testbed.core_mac, testbed.care_of_mac)}
    assert {(each[IPv6].src, each[IPv6].tc, each[IPv6].hlim) for each in fragments} == {
        (str(testbed.home_agent), 0x02, 63)
    }
    outer = defragment6([each[IPv6] for each in fragments])
    packet = frame[IPv6].copy()
    packet.hlim = 60
    assert outer.nh == 41
    assert bytes(outer.payload) == bytes(packet)


def in_fragments(frame: Packet, size: int = 1280) -> list[Packet]:
    """The frame in fragments of at most `size` bytes."""
    link, packet = frame.copy(), frame[IPv6]
    link.remove_payload()
    whole = IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim, tc=packet.tc) / IPv6ExtHdrFragment(nh=packet.nh)
    whole /= Raw(bytes(packet.payload))
    return [link / fragment for fragment in fragment6(whole, size)]


@pytest.fixture
def tunnel(testbed) -> Iterator[Callable[..., tuple[Wire, Callable[..., TunnelRelay]]]]:
    with ExitStack() as stack:
        yield lambda out_of="cn0": (
            stack.enter_context(wire(testbed, "core", out_of)),
            stack.enter_context(relaying(testbed)),
        )


@pytest.mark.parametrize("length", [1280, 1500, 9000, 60_000])
def test_a_tunnelled_packet_in_fragments_reaches_the_correspondent(testbed, tunnel, length):
    cable, relay = tunnel()
    packet = inner(testbed, length)
    fragments = in_fragments(from_node(testbed, packet))
    cable.send(*fragments)
    relay("tunnel-returned")

    if length > 1500:
        expected = {Reason.PASS_DECAPSULATED_SLOW_PATH: 1}  # too long for the link: the kernel says so
    else:
        received = cable.receive(is_to(testbed.correspondent))
        packet.hlim = 63
        assert bytes(received) == bytes(
            Ether(src=testbed.correspondent_side_mac, dst=testbed.correspondent_mac) / packet
        )
        expected = {Reason.FORWARD_DECAPSULATED: 1}
    cable.expect({Reason.PASS_FRAGMENT: len(fragments), **expected})
    assert relay("tunnel-returned").statistics["tunnel-returned"] == 1


def test_fragments_may_come_in_any_order(testbed, tunnel):
    cable, relay = tunnel()
    packet = inner(testbed, 1500)
    cable.send(*reversed(in_fragments(from_node(testbed, packet), 1280)))
    relay("tunnel-returned")

    assert cable.receive(is_to(testbed.correspondent))[IPv6].plen == 1460


def test_a_packet_in_fragments_to_another_node_goes_into_its_tunnel(testbed, tunnel):
    cable, relay = tunnel("core")
    testbed.bindings.install(testbed.other_home, testbed.other_care_of, testbed.other_home_agent)
    packet = inner(testbed, 1400, dst=str(testbed.other_home))
    cable.send(*in_fragments(from_node(testbed, packet)))
    relay("tunnel-returned")

    received = cable.receive(is_to(testbed.other_care_of))

    packet.hlim = 63
    assert received[IPv6].src == str(testbed.other_home_agent)
    assert bytes(received[IPv6].payload) == bytes(packet)
    assert cable.counted()[Reason.FORWARD_REENCAPSULATED] == 1


def test_an_error_for_a_packet_in_fragments_returns_through_the_tunnel(testbed, tunnel):
    """XDP sends it out of where the packet came in: the slow path. The kernel forwards it from there."""
    cable, relay = tunnel("core")
    packet = inner(testbed, 1400, dst=str(testbed.other_home), hlim=1)
    cable.send(*in_fragments(from_node(testbed, packet)))
    relay("tunnel-returned")

    received = cable.receive(is_to(testbed.care_of))

    assert (received[IPv6].src, received.dst) == (str(testbed.home_agent), testbed.care_of_mac)
    assert received[IPv6].payload.dst == str(testbed.home)
    assert ICMPv6TimeExceeded in received
    assert cable.counted()[Reason.REPLY_TIME_EXCEEDED] == 1


def test_a_packet_in_fragments_to_the_home_agent_is_the_kernels(testbed, tunnel):
    cable, relay = tunnel()
    echo = IPv6(src=str(testbed.home), dst=str(testbed.home_agent)) / ICMPv6EchoRequest(data=b"x" * 1400)
    fragments = in_fragments(from_node(testbed, echo))
    cable.send(*fragments)
    relay("tunnel-returned")

    cable.expect({Reason.PASS_FRAGMENT: len(fragments), Reason.PASS_DECAPSULATED_LOCAL: 1})


REFUSED = {
    "no-binding": ({}, {"src": "2001:db8:100::77"}, Reason.DROP_TUNNEL_NO_BINDING),
    "elsewhere": ({"src": "2001:db8:f::77"}, {}, Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS),
}


@pytest.mark.parametrize("name", REFUSED)
def test_strangers_cost_the_daemon_nothing(testbed, tunnel, name):
    outer, changes, reason = REFUSED[name]
    cable, relay = tunnel()
    fragments = in_fragments(from_node(testbed, inner(testbed, 1400, **changes), **outer))
    cable.send(*fragments)

    cable.expect({Reason.PASS_FRAGMENT: len(fragments), reason: 1})
    assert not +relay().statistics


def test_the_program_checks_what_the_filter_lets_through(testbed, tunnel):
    cable, relay = tunnel()
    fragments = in_fragments(from_node(testbed, inner(testbed, 1400, dst="ff0e::1")))
    cable.send(*fragments)

    assert relay("tunnel-returned").statistics["tunnel-returned"] == 1
    cable.expect({Reason.PASS_FRAGMENT: len(fragments), Reason.DROP_TUNNEL_DESTINATION: 1})


def test_too_short_for_an_inner_header(testbed, tunnel):
    cable, relay = tunnel()
    cable.send(from_node(testbed, IPv6ExtHdrFragment(nh=41, id=1) / Raw(b"\x60" * 39)))

    cable.expect({Reason.PASS_FRAGMENT: 1, Reason.DROP_TUNNEL_MALFORMED: 1})
    assert not +relay().statistics


ROUTED = IPv6ExtHdrRouting(type=200, segleft=0, addresses=["2001:db8::1"])
OPTIONS = PadN(optdata=b"\0" * 4)
BEHIND = {
    "atomic-fragment": (IPv6ExtHdrFragment(nh=41, id=1), Reason.PASS_FRAGMENT),
    "hop-by-hop": (IPv6ExtHdrHopByHop(nh=41, options=[OPTIONS]), Reason.PASS_EXTENSION_HEADERS),
    "destination-options": (IPv6ExtHdrDestOpt(nh=41, options=[OPTIONS]), Reason.PASS_DESTINATION_OPTIONS),
    "routing-header-at-its-end": (IPv6ExtHdrRouting(nh=41, type=200, segleft=0), Reason.PASS_EXTENSION_HEADERS),
    "several": (
        IPv6ExtHdrHopByHop(nh=60, options=[OPTIONS])
        / IPv6ExtHdrDestOpt(nh=43, options=[OPTIONS])
        / IPv6ExtHdrRouting(nh=44, type=200, segleft=0)
        / IPv6ExtHdrFragment(nh=60, id=2)
        / IPv6ExtHdrDestOpt(nh=41, options=[OPTIONS]),
        Reason.PASS_EXTENSION_HEADERS,
    ),
}


@pytest.mark.parametrize("name", BEHIND)
def test_a_tunnel_behind_extension_headers(testbed, tunnel, name):
    headers, reason = BEHIND[name]
    cable, relay = tunnel()
    packet = inner(testbed, 400)
    cable.send(from_node(testbed, headers / Raw(bytes(packet))))
    relay("tunnel-returned")

    received = cable.receive(is_to(testbed.correspondent))

    packet.hlim = 63
    assert bytes(received[IPv6]) == bytes(packet)
    cable.expect({reason: 1, Reason.FORWARD_DECAPSULATED: 1})


def test_a_tunnel_behind_a_routing_header_that_is_not_at_its_end(testbed, tunnel):
    """The kernel answers a routing type it does not know with a Parameter Problem (RFC 8200 section 4.4)."""
    cable, relay = tunnel("core")
    routing = IPv6ExtHdrRouting(nh=41, type=200, segleft=1, addresses=["2001:db8::1"])
    cable.send(from_node(testbed, routing / Raw(bytes(inner(testbed, 400)))))

    received = cable.receive(is_to(testbed.care_of))

    assert received[IPv6].payload.type == 4
    cable.expect({Reason.PASS_EXTENSION_HEADERS: 1})
    assert not +relay().statistics


def test_a_mark_of_congestion_on_any_fragment_is_kept(testbed, tunnel):
    cable, relay = tunnel()
    fragments = in_fragments(from_node(testbed, inner(testbed, 1400, tc=0x02), tc=0x02))
    fragments[1][IPv6].tc = 0x03
    cable.send(*fragments)
    relay("tunnel-returned")

    assert cable.receive(is_to(testbed.correspondent))[IPv6].tc == 0x03


def test_nothing_goes_round_for_ever_when_the_program_is_off(testbed, tunnel):
    cable, relay = tunnel()
    leaves, _ = slow_path_devices(testbed.pin_path)
    subprocess.run(["ip", "link", "set", "dev", leaves, "xdpgeneric", "off"], check=True)
    try:
        cable.send(*in_fragments(from_node(testbed, inner(testbed, 1400))))
        statistics = relay("tunnel-returned", "tunnel-not-taken").statistics
    finally:
        program = pin_directory(testbed.pin_path) / "home_agent"
        subprocess.run(["ip", "link", "set", "dev", leaves, "xdpgeneric", "pinned", str(program)], check=True)

    assert (statistics["tunnel-returned"], statistics["tunnel-not-taken"]) == (1, 1)
