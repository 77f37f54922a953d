"""ICMPv6 errors from inside a tunnel: what the correspondent is told, and what the home agent believes."""

from __future__ import annotations

import time
from contextlib import closing
from ipaddress import IPv6Address, IPv6Network

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    ICMPv6Unknown,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from datapath.layout import PATH_MTU
from datapath.mobile_networks import MobileNetworkMap
from datapath.reasons import Reason
from tests.datapath.conftest import loaded_testbed

pytestmark = [pytest.mark.namespaces, pytest.mark.usefixtures("path_mtus")]

ROUTER = "2001:db8:f:9::1"
UNREACHABLE = ICMPv6DestUnreach(code=3)
TROUBLES = {
    "no route": ICMPv6DestUnreach(code=0),
    "prohibited": ICMPv6DestUnreach(code=1),
    "address unreachable": ICMPv6DestUnreach(code=3),
    "port unreachable": ICMPv6DestUnreach(code=4),
    "hop limit exceeded": ICMPv6TimeExceeded(code=0),
    "unknown next header": ICMPv6ParamProblem(code=1, ptr=6),
    "header field": ICMPv6ParamProblem(code=0, ptr=4),
}


def link(testbed) -> Packet:
    return Ether(src=testbed.care_of_mac, dst=testbed.core_mac)


def inner_packet(testbed, length: int = 100, **fields: object) -> Packet:
    header = {"src": str(testbed.correspondent), "dst": str(testbed.home), "hlim": 60, "tc": 1, "fl": 77} | fields
    return IPv6(**header) / UDP(sport=1000, dport=2000) / Raw(bytes(index % 251 for index in range(length - 48)))


def tunnel_packet(testbed, inner: Packet, **fields: object) -> Packet:
    header = {"src": str(testbed.home_agent), "dst": str(testbed.care_of), "nh": 41, "hlim": 58} | fields
    return IPv6(**header) / inner


def reported(testbed, error: Packet, quoted: Packet, *, quote: int = 1232, **fields: object) -> bytes:
    """The frame of a router's error about the packet."""
    header = {"src": ROUTER, "dst": str(testbed.home_agent), "hlim": 63} | fields
    return bytes(link(testbed) / IPv6(**header) / error / Raw(bytes(quoted)[:quote]))


def relayed(testbed, error: Packet, inner: Packet, *, quote: int = 1192) -> bytes:
    """The frame that goes to the correspondent."""
    header = IPv6(src=str(testbed.home_agent), dst=inner.src, hlim=64)
    return bytes(link(testbed) / header / error / Raw(bytes(inner)[:quote]))


def to_home(testbed, length: int, **fields: object) -> bytes:
    frame = Ether(src=testbed.correspondent_mac, dst=testbed.correspondent_side_mac)
    return bytes(frame / inner_packet(testbed, length, **fields))


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
@pytest.mark.parametrize("length", [48, 49, 50, 51, 52, 100, 1191, 1192, 1193, 1400])
def test_trouble_in_the_tunnel_is_told_as_unreachable(testbed, path_mtus, trouble, length):
    inner = inner_packet(testbed, length)

    outcome = testbed.run(reported(testbed, trouble, tunnel_packet(testbed, inner)), "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_TUNNEL_ERROR_RELAYED)
    assert outcome.frame == relayed(testbed, UNREACHABLE, inner)
    assert not list(path_mtus.keys())


@pytest.mark.parametrize("quote", [80, 81, 82, 83, 88, 1000])
def test_a_short_quote_is_told_as_it_is(testbed, quote):
    inner = inner_packet(testbed, 1200)

    outcome = testbed.run(reported(testbed, ICMPv6TimeExceeded(), tunnel_packet(testbed, inner), quote=quote), "core")

    assert outcome.reason is Reason.PASS_TUNNEL_ERROR_RELAYED
    assert outcome.frame == relayed(testbed, UNREACHABLE, inner, quote=quote - 40)


def test_what_follows_the_packet_in_the_frame_is_left_out(testbed):
    inner = inner_packet(testbed)

    outcome = testbed.run(reported(testbed, ICMPv6DestUnreach(), tunnel_packet(testbed, inner)) + b"\xee" * 7, "core")

    assert outcome.frame == relayed(testbed, UNREACHABLE, inner)


@pytest.mark.parametrize(("mtu", "told"), [(1480, 1440), (1400, 1360), (1321, 1281), (1320, 1280), (1280, 1280)])
def test_too_big_in_the_tunnel_is_told_and_remembered(testbed, path_mtus, mtu, told):
    inner = inner_packet(testbed, 1460)
    before = time.monotonic_ns()

    outcome = testbed.run(reported(testbed, ICMPv6PacketTooBig(mtu=mtu), tunnel_packet(testbed, inner)), "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_TUNNEL_ERROR_RELAYED)
    assert outcome.frame == relayed(testbed, ICMPv6PacketTooBig(mtu=told), inner)
    known, _, expires_at = PATH_MTU.unpack(path_mtus.lookup(testbed.care_of.packed))
    assert known == mtu
    assert before + 600e9 <= expires_at <= time.monotonic_ns() + 600e9
    # From now on the home agent answers itself, and lets pass what fits.
    answered = testbed.run(to_home(testbed, told + 1))
    assert answered.reason is Reason.REPLY_PACKET_TOO_BIG
    assert Ether(answered.frame)[ICMPv6PacketTooBig].mtu == told
    fits = Reason.FORWARD_ENCAPSULATED if told + 40 <= mtu else Reason.FORWARD_IN_FRAGMENTS
    assert testbed.run(to_home(testbed, told)).reason is fits
    # Other nodes' tunnels are others.
    assert testbed.run(to_home(testbed, 1460, dst=str(testbed.other_home))).reason is Reason.FORWARD_ENCAPSULATED


def test_a_next_hop_that_is_kept_learns_it_at_once(testbed, control):
    for _ in range(2):
        assert testbed.run(to_home(testbed, 1460)).reason is Reason.FORWARD_ENCAPSULATED

    quoted = tunnel_packet(testbed, inner_packet(testbed, 1460))
    testbed.run(reported(testbed, ICMPv6PacketTooBig(mtu=1400), quoted), "core")

    for _ in range(2):
        assert testbed.run(to_home(testbed, 1361)).reason is Reason.REPLY_PACKET_TOO_BIG
        assert testbed.run(to_home(testbed, 1360)).reason is Reason.FORWARD_ENCAPSULATED


def test_it_is_forgotten_with_time(testbed, path_mtus, control):
    quoted = tunnel_packet(testbed, inner_packet(testbed, 1460))
    testbed.run(reported(testbed, ICMPv6PacketTooBig(mtu=1400), quoted), "core")
    assert testbed.run(to_home(testbed, 1460)).reason is Reason.REPLY_PACKET_TOO_BIG

    path_mtus.update(testbed.care_of.packed, PATH_MTU.pack(1400, 0, time.monotonic_ns()))
    control.begin_generation()  # as the daemon does every ten seconds

    assert testbed.run(to_home(testbed, 1460)).reason is Reason.FORWARD_ENCAPSULATED
    # And can be learned again, wider than before.
    testbed.run(reported(testbed, ICMPv6PacketTooBig(mtu=1450), quoted), "core")
    assert testbed.run(to_home(testbed, 1411)).reason is Reason.REPLY_PACKET_TOO_BIG
    assert testbed.run(to_home(testbed, 1410)).reason is Reason.FORWARD_ENCAPSULATED


def test_a_later_report_narrows_and_never_widens(testbed):
    quoted = tunnel_packet(testbed, inner_packet(testbed, 1460))
    for mtu, fits in ((1450, 1410), (1400, 1360), (1480, 1360)):
        testbed.run(reported(testbed, ICMPv6PacketTooBig(mtu=mtu), quoted), "core")
        assert testbed.run(to_home(testbed, fits)).reason is Reason.FORWARD_ENCAPSULATED
        assert testbed.run(to_home(testbed, fits + 1)).reason is Reason.REPLY_PACKET_TOO_BIG


def test_it_goes_with_the_care_of_address(testbed):
    quoted = tunnel_packet(testbed, inner_packet(testbed, 1460))
    testbed.run(reported(testbed, ICMPv6PacketTooBig(mtu=1400), quoted), "core")

    testbed.bindings.install(testbed.home, testbed.other_care_of, testbed.home_agent)

    assert testbed.run(to_home(testbed, 1460)).reason is Reason.FORWARD_ENCAPSULATED


def test_a_route_that_is_narrower_still_holds(testbed, path_mtus):
    narrow = IPv6Address("2001:db8:e::7")  # by a route of MTU 1400
    testbed.bindings.install(testbed.home, narrow, testbed.home_agent)
    path_mtus.update(narrow.packed, PATH_MTU.pack(1450, 0, time.monotonic_ns() + 10**12))

    assert testbed.run(to_home(testbed, 1360)).reason is Reason.FORWARD_ENCAPSULATED
    assert Ether(testbed.run(to_home(testbed, 1361)).frame)[ICMPv6PacketTooBig].mtu == 1360
    path_mtus.update(narrow.packed, PATH_MTU.pack(1350, 0, time.monotonic_ns() + 10**12))
    assert Ether(testbed.run(to_home(testbed, 1361)).frame)[ICMPv6PacketTooBig].mtu == 1310


def test_it_holds_where_the_kernel_takes_the_packet(testbed, path_mtus):
    for care_of, reason in (
        ("2001:db8:f::99", Reason.PASS_ENCAPSULATED_NO_NEIGHBOUR),
        ("2001:db8:a::2", Reason.PASS_ENCAPSULATED_SLOW_PATH),
        ("2001:db9::1", Reason.DROP_NO_ROUTE),
    ):
        testbed.bindings.install(testbed.home, IPv6Address(care_of), testbed.home_agent)
        path_mtus.update(IPv6Address(care_of).packed, PATH_MTU.pack(1400, 0, time.monotonic_ns() + 10**12))
        assert testbed.run(to_home(testbed, 1360)).reason is reason
        too_big = Reason.DROP_NO_ROUTE if reason is Reason.DROP_NO_ROUTE else Reason.REPLY_PACKET_TOO_BIG
        assert testbed.run(to_home(testbed, 1361)).reason is too_big


@pytest.mark.parametrize("mtu", [0, 40, 1279, 1500, 1501, 0xFFFFFFFF])
def test_an_mtu_that_cannot_be_is_not_believed(testbed, path_mtus, mtu):
    """Below what every link has, or one that the packet would have fitted."""
    quoted = tunnel_packet(testbed, inner_packet(testbed, 1460))

    outcome = testbed.run(reported(testbed, ICMPv6PacketTooBig(mtu=mtu), quoted), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_MTU_INVALID)
    assert not list(path_mtus.keys())


def test_who_sent_no_more_than_the_minimum_is_told_nothing(testbed, path_mtus):
    quoted = tunnel_packet(testbed, inner_packet(testbed, 1280))

    outcome = testbed.run(reported(testbed, ICMPv6PacketTooBig(mtu=1280), quoted), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_ERROR)
    assert testbed.run(to_home(testbed, 1281)).reason is Reason.REPLY_PACKET_TOO_BIG
    assert testbed.run(to_home(testbed, 1240)).reason is Reason.FORWARD_ENCAPSULATED


@pytest.mark.parametrize("kind", [ICMPv6PacketTooBig(mtu=1400), ICMPv6TimeExceeded()], ids=["too big", "hop limit"])
@pytest.mark.parametrize(
    "inner",
    [
        IPv6(src="2001:db8:c::2", dst="2001:db8:100::5", hlim=60) / ICMPv6DestUnreach() / Raw(bytes(1412)),
        IPv6(src="fe80::1", dst="2001:db8:100::5", hlim=60) / UDP() / Raw(bytes(1412)),
        IPv6(src="ff02::1", dst="2001:db8:100::5", hlim=60) / UDP() / Raw(bytes(1412)),
    ],
    ids=["error", "link-local", "group"],
)
def test_what_no_error_may_answer_is_not_told(testbed, path_mtus, kind, inner):
    outcome = testbed.run(reported(testbed, kind, tunnel_packet(testbed, inner)), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_ERROR)
    assert len(list(path_mtus.keys())) == (kind.type == 2)


@pytest.mark.parametrize(("tokens", "reason"), [(0, Reason.DROP_ERROR_RATE_LIMITED), (1, None)])
def test_the_limit_on_errors_holds(testbed, path_mtus, tokens, reason):
    """The path MTU is learned all the same."""
    testbed.leave_errors(tokens)
    quoted = tunnel_packet(testbed, inner_packet(testbed, 1460))

    outcome = testbed.run(reported(testbed, ICMPv6PacketTooBig(mtu=1400), quoted), "core")

    assert outcome.reason is (reason or Reason.PASS_TUNNEL_ERROR_RELAYED)
    assert list(path_mtus.keys()) == [testbed.care_of.packed]


@pytest.mark.parametrize("mtu", [None, 1400])
def test_a_mobile_node_is_told_through_its_tunnel(testbed, mtu):
    inner = inner_packet(testbed, 1460, src=str(testbed.other_home))
    error = ICMPv6DestUnreach() if mtu is None else ICMPv6PacketTooBig(mtu=mtu)

    outcome = testbed.run(reported(testbed, error, tunnel_packet(testbed, inner)), "core")

    expected = (
        link(testbed)
        / IPv6(src=str(testbed.other_home_agent), dst=str(testbed.other_care_of), nh=41, hlim=64)
        / IPv6(src=str(testbed.home_agent), dst=str(testbed.other_home), hlim=64)
        / (UNREACHABLE if mtu is None else ICMPv6PacketTooBig(mtu=mtu - 40))
        / Raw(bytes(inner)[:1192])
    )
    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_TUNNEL_ERROR_RELAYED)
    assert outcome.frame == bytes(expected)


@pytest.mark.parametrize(
    ("outer", "inner", "fields"),
    [
        ({"dst": "2001:db8:f::6"}, {}, {}),
        ({"dst": "2001:db8:f::7"}, {}, {}),
        ({"src": "2001:db8:f::2"}, {}, {}),
        ({"src": "2001:db8:f::9"}, {}, {}),
        ({}, {"dst": "2001:db8:100::6"}, {}),
        ({}, {"dst": "2001:db8:100::7"}, {}),
        ({}, {}, {"dst": "2001:db8:f::2"}),
    ],
    ids=["other node", "no node", "other home agent", "no home agent", "other home", "not bound", "to another"],
)
@pytest.mark.parametrize("kind", [ICMPv6PacketTooBig(mtu=1400), ICMPv6TimeExceeded()], ids=["too big", "hop limit"])
def test_an_error_about_no_packet_of_ours_is_left_to_the_kernel(testbed, path_mtus, kind, outer, inner, fields):
    quoted = tunnel_packet(testbed, inner_packet(testbed, 1460, **inner), **outer)
    frame = reported(testbed, kind, quoted, **fields)

    outcome = testbed.run(frame, "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_TUNNEL_ERROR_UNKNOWN)
    assert outcome.frame == frame
    assert not list(path_mtus.keys())


def mangled(frame: bytes, offset: int, value: int) -> bytes:
    return frame[:offset] + bytes([value]) + frame[offset + 1 :]


@pytest.mark.parametrize(
    "case", ["checksum", "inner version", "outer version", "esp", "quote", "empty", "echo", "other"]
)
def test_other_icmpv6_is_left_to_the_kernel(testbed, path_mtus, case):
    quoted = tunnel_packet(testbed, inner_packet(testbed, 1460))
    whole = reported(testbed, ICMPv6PacketTooBig(mtu=1400), quoted)
    frame = {
        "checksum": mangled(whole, 300, whole[300] ^ 1),
        "inner version": reported(testbed, ICMPv6PacketTooBig(mtu=1400), Raw(mangled(bytes(quoted), 40, 0x45))),
        "outer version": reported(testbed, ICMPv6PacketTooBig(mtu=1400), Raw(mangled(bytes(quoted), 0, 0x45))),
        "esp": reported(testbed, ICMPv6PacketTooBig(mtu=1400), Raw(mangled(bytes(quoted), 6, 50))),
        "quote": reported(testbed, ICMPv6PacketTooBig(mtu=1400), quoted, quote=79),
        "empty": bytes(link(testbed) / IPv6(src=ROUTER, dst=str(testbed.home_agent), nh=58)),
        "echo": reported(testbed, ICMPv6EchoRequest(), quoted),
        "other": reported(testbed, ICMPv6Unknown(type=5, msgbody=bytes(4)), quoted),
    }[case]

    outcome = testbed.run(frame, "core")

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_HOME_AGENT)
    assert outcome.frame == frame
    assert not list(path_mtus.keys())


def test_a_report_longer_than_allowed_is_left_to_the_kernel(testbed, path_mtus):
    """RFC 4443 section 2.4 (c): a router quotes no more than fits the minimum MTU."""
    quoted = tunnel_packet(testbed, inner_packet(testbed, 1460))

    outcome = testbed.run(reported(testbed, ICMPv6PacketTooBig(mtu=1400), quoted, quote=1233), "core")

    assert outcome.reason is Reason.PASS_HOME_AGENT
    assert not list(path_mtus.keys())


def test_a_home_agent_that_was_taken_over_has_its_own_tunnels(testbed):
    """The binding of another home agent's address: the router reports to that address."""
    inner = inner_packet(testbed, dst=str(testbed.other_home))
    quoted = tunnel_packet(testbed, inner, src=str(testbed.other_home_agent), dst=str(testbed.other_care_of))

    outcome = testbed.run(reported(testbed, ICMPv6TimeExceeded(), quoted, dst=str(testbed.other_home_agent)), "core")

    assert outcome.reason is Reason.PASS_TUNNEL_ERROR_RELAYED
    assert Ether(outcome.frame)[IPv6].src == str(testbed.other_home_agent)


def test_networks_behind_mobile_routers_have_their_routers_tunnels():
    """Both ends: the host that was written to, and the one that is told."""
    host, other_host = "2001:db8:700::7", "2001:db8:701::8"
    with loaded_testbed(mobile_networks=True) as bed, closing(MobileNetworkMap.open(bed.pin_path)) as networks:
        for router, network in ((bed.home, "2001:db8:700::/56"), (bed.other_home, "2001:db8:701::/56")):
            networks.replace(router, [IPv6Network(network)], bed.bindings.slot(router))
        inner = inner_packet(bed, 1460, src=other_host, dst=host)

        outcome = bed.run(reported(bed, ICMPv6PacketTooBig(mtu=1400), tunnel_packet(bed, inner)), "core")

        expected = (
            link(bed)
            / IPv6(src=str(bed.other_home_agent), dst=str(bed.other_care_of), nh=41, hlim=64)
            / IPv6(src=str(bed.home_agent), dst=other_host, hlim=64)
            / ICMPv6PacketTooBig(mtu=1360)
            / Raw(bytes(inner)[:1192])
        )
        assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_TUNNEL_ERROR_RELAYED)
        assert outcome.frame == bytes(expected)
        assert bed.run(to_home(bed, 1361, dst=host)).reason is Reason.REPLY_PACKET_TOO_BIG
