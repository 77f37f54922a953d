"""Frames with a VLAN tag: whole frames, verdicts and reasons.

This kernel may lack VLAN devices, so that others stand for them here; tests/kernel/test_vlan.py has real ones.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from datapath import netlink
from datapath.bpf_syscall import object_get, program_test_run
from datapath.layout import PROGRAM_NAME, pin_directory
from datapath.loader import LoaderOptions, load
from datapath.netlink import VlanDevice
from datapath.reasons import Reason
from datapath.route_control import RouteControl
from datapath.served_links import serve_links
from datapath.vlans import VlanMaps
from tests.datapath.conftest import Testbed, loaded_testbed, make_interface, run

pytestmark = pytest.mark.namespaces

INNER_VLAN, OUTER_VLAN = 10, 20
CORRESPONDENT = "2001:db8:aa::2"
CORRESPONDENT_MAC = "02:00:00:00:aa:02"
CARE_OF = "2001:db8:bb::5"
CARE_OF_MAC = "02:00:00:00:bb:05"
MAC_OF = {"vlan10": "02:00:00:00:00:06", "vlan20": "02:00:00:00:00:06"}


class VlanBed(Testbed):
    maps: VlanMaps
    devices: list[VlanDevice]


@pytest.fixture(scope="module")
def bed() -> Iterator[VlanBed]:
    """VLAN 10 on cn0 towards a correspondent, VLAN 20 on core towards a care-of address."""
    with loaded_testbed(vlans=True, home_links=["cn0"]) as bed, closing(VlanMaps.open(bed.pin_path)) as maps:
        make_interface("vlan10", "2001:db8:aa::1/64")
        make_interface("vlan20", "2001:db8:bb::1/64")
        run(f"ip -6 neigh add {CORRESPONDENT} dev vlan10 lladdr {CORRESPONDENT_MAC} nud permanent")
        run(f"ip -6 neigh add {CARE_OF} dev vlan20 lladdr {CARE_OF_MAC} nud permanent")
        index = {name: netlink.interface_state(name).index for name in ("vlan10", "vlan20")}
        bed.maps = maps  # type: ignore[attr-defined]
        bed.devices = [  # type: ignore[attr-defined]
            VlanDevice("vlan10", index["vlan10"], bed.index["cn0"], INNER_VLAN),
            VlanDevice("vlan20", index["vlan20"], bed.index["core"], OUTER_VLAN),
        ]
        yield bed  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _start(bed) -> None:
    bed.reset_bindings()
    bed.bindings.install(bed.home, type(bed.care_of)(CARE_OF), bed.home_agent)
    bed.maps.replace(bed.devices)


def request(bed: VlanBed, **fields: object) -> Packet:
    header = {"src": CORRESPONDENT, "dst": str(bed.home), "hlim": 61} | fields
    return IPv6(**header) / ICMPv6EchoRequest(id=7, data=b"hello")


def forwarded(packet: Packet) -> Packet:
    after = IPv6(bytes(packet))
    after.hlim -= 1
    return after


@pytest.mark.parametrize("kept", [False, True], ids=["asked", "kept"])
@pytest.mark.parametrize("priority", [0, 5])
def test_in_by_one_vlan_and_out_by_another(bed, kept, priority):
    if kept:
        with closing(RouteControl.open(bed.pin_path)) as control:
            control.begin_generation()
            control.permit(time.monotonic(), 3600)
    packet = request(bed)
    frame = Ether(src=CORRESPONDENT_MAC, dst=MAC_OF["vlan10"]) / Dot1Q(vlan=INNER_VLAN, prio=priority) / packet

    outcomes = [bed.run(bytes(frame)) for _ in range(2)]

    outer = IPv6(src=str(bed.home_agent), dst=CARE_OF, hlim=64, nh=41)
    expected = Ether(src=MAC_OF["vlan20"], dst=CARE_OF_MAC) / Dot1Q(vlan=OUTER_VLAN) / outer / forwarded(packet)
    for outcome in outcomes:
        assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_ENCAPSULATED)
        assert outcome.frame == bytes(expected)


def test_out_of_the_tunnel_by_a_vlan(bed):
    inner = IPv6(src=str(bed.home), dst=CORRESPONDENT, hlim=33) / ICMPv6EchoRequest(id=3)
    outer = IPv6(src=CARE_OF, dst=str(bed.home_agent), hlim=60) / inner
    frame = Ether(src=CARE_OF_MAC, dst=MAC_OF["vlan20"]) / Dot1Q(vlan=OUTER_VLAN) / outer

    outcome = bed.run(bytes(frame), "core")

    expected = Ether(src=MAC_OF["vlan10"], dst=CORRESPONDENT_MAC) / Dot1Q(vlan=INNER_VLAN) / forwarded(inner)
    assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_DECAPSULATED)
    assert outcome.frame == bytes(expected)


@pytest.mark.parametrize("tagged", [False, True])
def test_between_a_vlan_and_a_port_without_tags(bed, tagged):
    packet = request(bed, src=str(bed.correspondent))
    if tagged:
        bed.bindings.install(bed.home, bed.care_of, bed.home_agent)
        frame = Ether(src=CORRESPONDENT_MAC, dst=MAC_OF["vlan10"]) / Dot1Q(vlan=INNER_VLAN) / packet
        link, to = Ether(src=bed.core_mac, dst=bed.care_of_mac), str(bed.care_of)
    else:
        frame = Ether(src=bed.correspondent_mac, dst=bed.correspondent_side_mac) / packet
        link, to = Ether(src=MAC_OF["vlan20"], dst=CARE_OF_MAC) / Dot1Q(vlan=OUTER_VLAN), CARE_OF

    outcome = bed.run(bytes(frame))

    assert outcome.reason is Reason.FORWARD_ENCAPSULATED
    assert outcome.frame == bytes(link / IPv6(src=str(bed.home_agent), dst=to, hlim=64, nh=41) / forwarded(packet))


def test_what_the_kernel_gets_has_the_tag_it_came_with(bed):
    for packet, reason in (
        (IPv6(src=CORRESPONDENT, dst=str(bed.home_agent), hlim=9) / ICMPv6EchoRequest(), Reason.PASS_HOME_AGENT),
        (IPv6(src=CORRESPONDENT, dst="2001:db8::9") / Raw(b"any"), Reason.PASS_NOT_OURS),
    ):
        frame = Ether(src=CORRESPONDENT_MAC, dst=MAC_OF["vlan10"]) / Dot1Q(vlan=INNER_VLAN, prio=3, id=1) / packet
        outcome = bed.run(bytes(frame))
        assert (outcome.verdict, outcome.reason, outcome.frame) == ("pass", reason, bytes(frame))


def test_answers_go_back_into_the_vlan_they_came_by(bed):
    frame = Ether(src=CORRESPONDENT_MAC, dst=MAC_OF["vlan10"]) / Dot1Q(vlan=INNER_VLAN, prio=2) / request(bed, hlim=1)
    outcome = bed.run(bytes(frame))
    answer = Ether(outcome.frame)
    assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_TIME_EXCEEDED)
    assert (answer.dst, answer.src, answer[Dot1Q].vlan, answer[Dot1Q].prio) == (
        CORRESPONDENT_MAC,
        MAC_OF["vlan10"],
        INNER_VLAN,
        2,
    )
    assert answer[IPv6].dst == CORRESPONDENT
    assert ICMPv6TimeExceeded in answer

    large = (
        Ether(src=CORRESPONDENT_MAC, dst=MAC_OF["vlan10"]) / Dot1Q(vlan=INNER_VLAN) / request(bed) / Raw(bytes(1430))
    )
    answer = Ether(bed.run(bytes(large)).frame)
    assert (answer[Dot1Q].vlan, answer[ICMPv6PacketTooBig].mtu) == (INNER_VLAN, 1460)


@pytest.mark.parametrize(
    "tags",
    [Dot1Q(vlan=77), Dot1Q(vlan=OUTER_VLAN), Dot1AD(vlan=INNER_VLAN), Dot1Q(vlan=INNER_VLAN) / Dot1Q(vlan=5)],
    ids=["unknown", "of another port", "802.1ad", "two tags"],
)
def test_other_tags_are_the_kernels(bed, tags):
    frame = bytes(Ether(src=CORRESPONDENT_MAC, dst=MAC_OF["vlan10"]) / tags.copy() / request(bed))

    outcome = bed.run(frame)

    assert outcome.verdict == "pass"
    assert outcome.reason in (Reason.PASS_UNKNOWN_VLAN, Reason.PASS_NOT_IPV6)
    assert outcome.frame == frame


def test_what_leaves_in_fragments_has_no_tag_on_its_way_to_them(bed):
    """The kernel, which sends both of them, adds it then."""
    run("ip -6 route add 2001:db8:e:2::/64 via 2001:db8:bb::5 dev vlan20 mtu lock 1280")
    bed.bindings.install(bed.home, type(bed.care_of)("2001:db8:e:2::7"), bed.home_agent)
    packet = request(bed) / Raw(bytes(1280 - 53))
    frame = Ether(src=CORRESPONDENT_MAC, dst=MAC_OF["vlan10"]) / Dot1Q(vlan=INNER_VLAN, prio=5) / packet

    outcome = bed.run(bytes(frame))

    came = Ether(outcome.frame)
    assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_IN_FRAGMENTS)
    assert (came.type, came[IPv6].dst) == (0x86DD, "2001:db8:e:2::7")
    assert bytes(came[IPv6ExtHdrFragment].payload) == bytes(forwarded(packet))


def test_a_fragment_out_of_a_vlan_is_the_kernels_with_its_tag(bed):
    fragment = IPv6(src=CARE_OF, dst=str(bed.home_agent), hlim=60) / IPv6ExtHdrFragment(nh=41, m=1, id=5)
    link = Ether(src=CARE_OF_MAC, dst=MAC_OF["vlan20"]) / Dot1Q(vlan=OUTER_VLAN, prio=5)
    frame = bytes(link / fragment / Raw(bytes(64)))

    outcome = bed.run(frame, "core")

    assert (outcome.verdict, outcome.reason, outcome.frame) == ("pass", Reason.PASS_FRAGMENT, frame)


def test_a_tag_for_the_priority_only_makes_no_vlan(bed):
    packet = request(bed, src=str(bed.correspondent))
    frame = Ether(src=bed.correspondent_mac, dst=bed.correspondent_side_mac) / Dot1Q(vlan=0, prio=6) / packet

    assert bed.run(bytes(frame)).reason is Reason.FORWARD_ENCAPSULATED


def test_every_truncation_is_the_kernels(bed):
    whole = bytes(Ether(src=CORRESPONDENT_MAC, dst=MAC_OF["vlan10"]) / Dot1Q(vlan=INNER_VLAN) / request(bed))
    for size in range(14, len(whole)):
        outcome = bed.run(whole[:size])
        assert (outcome.verdict, outcome.frame) == ("pass", whole[:size])


def test_a_home_link_may_be_a_vlan(bed):
    serve_links(pin_directory(bed.pin_path), ["cn0", "vlan10"], bed.home_agent)
    asked = IPv6(src="fe80::9", dst="ff02::1:ff00:5", hlim=255) / ICMPv6ND_NS(tgt=str(bed.home))
    link = Ether(src=CORRESPONDENT_MAC, dst="33:33:ff:00:00:05")

    answer = Ether(bed.run(bytes(link / Dot1Q(vlan=INNER_VLAN) / asked)).frame)

    assert (answer.dst, answer.src, answer[Dot1Q].vlan) == (CORRESPONDENT_MAC, MAC_OF["vlan10"], INNER_VLAN)
    assert answer[ICMPv6ND_NA].tgt == str(bed.home)
    bed.maps.replace(bed.devices[1:])
    assert bed.run(bytes(link / Dot1Q(vlan=INNER_VLAN) / asked)).reason is Reason.PASS_UNKNOWN_VLAN


def test_a_device_that_is_gone_leaves_nothing(bed):
    bed.maps.replace(bed.devices[:1])
    tunnelled = Ether(src=CORRESPONDENT_MAC, dst=MAC_OF["vlan10"]) / Dot1Q(vlan=INNER_VLAN) / request(bed)
    assert bed.run(bytes(tunnelled)).reason is Reason.PASS_ENCAPSULATED_SLOW_PATH
    bed.maps.replace([])
    assert bed.run(bytes(tunnelled)).reason is Reason.PASS_UNKNOWN_VLAN


def test_loading_without_vlans_forgets_them(bed):
    options = LoaderOptions(["cn0", "core"], bed.pin_path, [bed.home_agent, bed.other_home_agent], 64)
    load(options)
    try:
        packet = Ether(src=bed.correspondent_mac, dst=bed.correspondent_side_mac) / request(
            bed, src=str(bed.correspondent)
        )
        program = object_get(pin_directory(bed.pin_path) / PROGRAM_NAME)
        before = bed.counters.read()
        program_test_run(program, bytes(packet), interface=bed.index["cn0"])
        after = bed.counters.read()
        os.close(program)
        assert after[Reason.PASS_ENCAPSULATED_SLOW_PATH] == before[Reason.PASS_ENCAPSULATED_SLOW_PATH] + 1
    finally:
        load(replace(options, vlans=True, home_links=["cn0"]))
