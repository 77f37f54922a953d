"""Neighbour Solicitations on a home link: whole frames, verdicts and reasons."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptUnknown,
    IPv6,
    in6_getnsma,
    in6_getnsmac,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from datapath.bpf_syscall import Map, program_test_run
from datapath.errors import DatapathError
from datapath.layout import HOME_LINK, pin_directory
from datapath.loader import LoaderOptions, load
from datapath.netlink import interface_state
from datapath.reasons import Reason
from datapath.served_links import HomeLinkMaps, ServedLink, read_link
from datapath.show import show
from datapath.unload import unload
from tests.datapath.conftest import Testbed, loaded_testbed

pytestmark = pytest.mark.namespaces

HOST = IPv6Address("fe80::200:ff:fe00:c02")
HOST_MAC = "02:00:00:00:0c:02"
OTHER_MAC = "02:00:00:00:0c:77"
UNSPECIFIED = IPv6Address("::")
LINK_LOCAL = IPv6Address("fe80::5")
EVERYBODY = "33:33:00:00:00:01"


class HomeLinkBed(Testbed):
    link: ServedLink
    maps: HomeLinkMaps


@pytest.fixture(scope="module")
def bed() -> Iterator[HomeLinkBed]:
    with loaded_testbed(home_links=["cn0"]) as bed, closing(HomeLinkMaps.open(bed.pin_path)) as maps:
        bed.link = read_link("cn0")  # type: ignore[attr-defined]
        bed.maps = maps  # type: ignore[attr-defined]
        yield bed  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _start(request: pytest.FixtureRequest) -> None:
    if "bed" not in request.fixturenames:
        return
    bed = request.getfixturevalue("bed")
    bed.reset_bindings()
    assert bed.link.address is not None
    bed.maps.answer(bed.link, bed.link.address, None)
    bed.maps.abandon(bed.maps.special_addresses())


def solicitation(
    target: IPv6Address,
    *options: Packet,
    source: IPv6Address = HOST,
    destination: IPv6Address | None = None,
    **fields: object,
) -> Packet:
    group = IPv6Address(in6_getnsma(target.packed))
    to = destination or group
    mac = in6_getnsmac(to.packed) if to.is_multicast else "02:00:00:00:00:03"
    frame: Packet = Ether(src=HOST_MAC, dst=mac) / IPv6(src=str(source), dst=str(to), hlim=255)
    frame /= ICMPv6ND_NS(tgt=str(target), **fields)
    for option in options:
        frame /= option
    return frame


def source_mac(address: str = HOST_MAC) -> Packet:
    return ICMPv6NDOptSrcLLAddr(lladdr=address)


def advertisement(
    bed: HomeLinkBed, target: IPv6Address, *, to: IPv6Address | None, mac: str = HOST_MAC, router: int = 0
) -> bytes:
    link = bed.link
    ours = ":".join(f"{each:02x}" for each in link.link_address)
    return bytes(
        Ether(src=ours, dst=mac if to else EVERYBODY)
        / IPv6(src=str(link.address), dst=str(to or "ff02::1"), hlim=255)
        / ICMPv6ND_NA(tgt=str(target), R=router, S=int(to is not None), O=0)
        / ICMPv6NDOptDstLLAddr(lladdr=ours)
    )


@pytest.mark.parametrize("destination", ["group", "home"])
def test_a_solicitation_for_a_bound_home_address_is_answered(bed, destination):
    to = bed.home if destination == "home" else None

    outcome = bed.run(bytes(solicitation(bed.home, source_mac(), destination=to)))

    assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_NEIGHBOUR_ADVERTISEMENT)
    assert outcome.frame == advertisement(bed, bed.home, to=HOST)
    assert bed.link.address.is_link_local


def test_the_answer_goes_to_the_address_that_the_solicitation_names(bed):
    outcome = bed.run(bytes(solicitation(bed.home, source_mac(OTHER_MAC))))

    assert outcome.frame == advertisement(bed, bed.home, to=HOST, mac=OTHER_MAC)


def test_without_such_an_address_it_goes_to_where_the_frame_came_from(bed):
    outcome = bed.run(bytes(solicitation(bed.home)))

    assert outcome.frame == advertisement(bed, bed.home, to=HOST)


def test_whoever_wants_the_address_himself_learns_that_it_is_taken(bed):
    outcome = bed.run(bytes(solicitation(bed.home, source=UNSPECIFIED)))

    assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_NEIGHBOUR_ADVERTISEMENT)
    assert outcome.frame == advertisement(bed, bed.home, to=None)


def test_a_nonce_and_padding_of_the_frame_change_nothing(bed):
    nonce = ICMPv6NDOptUnknown(type=14, data=b"abcdef")
    frame = bytes(solicitation(bed.home, nonce, source=UNSPECIFIED)) + bytes(20)

    assert bed.run(frame).frame == advertisement(bed, bed.home, to=None)


@pytest.mark.parametrize("units", [1, 15])
def test_options_up_to_the_limit_are_looked_through(bed, units):
    padding = ICMPv6NDOptUnknown(type=200, len=units, data=bytes(8 * units - 2))
    frame = bytes(solicitation(bed.home, padding, source_mac(OTHER_MAC)))

    assert bed.run(frame).frame == advertisement(bed, bed.home, to=HOST, mac=OTHER_MAC)


def _hop_limit(frame: Packet) -> Packet:
    frame[IPv6].hlim = 254
    return frame


def _broken_checksum(frame: Packet) -> Packet:
    frame[ICMPv6ND_NS].cksum = 0x1234
    return frame


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda bed: _hop_limit(solicitation(bed.home, source_mac())), id="forwarded"),
        pytest.param(lambda bed: _broken_checksum(solicitation(bed.home, source_mac())), id="checksum"),
        pytest.param(lambda bed: solicitation(bed.home, source_mac(), code=1), id="code"),
        pytest.param(
            lambda bed: solicitation(bed.home, ICMPv6NDOptUnknown(type=200, len=0, data=bytes(6))),
            id="option of nothing",
        ),
        pytest.param(
            lambda bed: solicitation(bed.home, ICMPv6NDOptUnknown(type=200, len=3, data=bytes(14))),
            id="option cut short",
        ),
        pytest.param(
            lambda bed: solicitation(bed.home, ICMPv6NDOptUnknown(type=200, len=17, data=bytes(134))), id="too long"
        ),
        pytest.param(
            lambda bed: solicitation(bed.home, source_mac(), source=UNSPECIFIED), id="unspecified with address"
        ),
        pytest.param(
            lambda bed: solicitation(bed.home, source=UNSPECIFIED, destination=IPv6Address("ff02::1")),
            id="unspecified to all nodes",
        ),
        pytest.param(lambda bed: solicitation(bed.home, source=IPv6Address("ff02::2")), id="from a group"),
        pytest.param(lambda bed: solicitation(bed.home, source_mac("33:33:00:00:00:01")), id="answer to a group"),
        pytest.param(
            lambda bed: (
                Ether(src=HOST_MAC, dst="33:33:00:00:00:02")
                / IPv6(src=str(HOST), dst="ff02::2", hlim=255)
                / ICMPv6ND_RS()
            ),
            id="router solicitation",
        ),
    ],
)
def test_what_is_no_valid_solicitation_is_the_kernels(bed, make):
    frame = bytes(make(bed))

    outcome = bed.run(frame)

    assert (outcome.verdict, outcome.reason) == ("pass", Reason.PASS_GROUP_FRAME)
    assert outcome.frame == frame


def test_every_truncation_is_the_kernels(bed):
    whole = bytes(solicitation(bed.home, source_mac()))

    for size in range(14, len(whole)):
        outcome = bed.run(whole[:size])
        assert outcome.verdict == "pass"
        assert outcome.frame == whole[:size]


def test_solicitations_for_others_are_the_kernels(bed):
    for target in (bed.home_agent, bed.correspondent, IPv6Address("2001:db8:100::77"), LINK_LOCAL):
        frame = bytes(solicitation(target, source_mac()))
        outcome = bed.run(frame)
        assert (outcome.verdict, outcome.reason, outcome.frame) == ("pass", Reason.PASS_GROUP_FRAME, frame)


def test_a_home_address_that_is_bound_no_more_is_not_defended(bed):
    bed.bindings.remove(bed.home)

    assert bed.run(bytes(solicitation(bed.home, source_mac()))).reason is Reason.PASS_GROUP_FRAME


def test_other_interfaces_are_no_home_links(bed):
    assert bed.run(bytes(solicitation(bed.home, source_mac())), "core").reason is Reason.PASS_GROUP_FRAME
    asked_alone = bytes(solicitation(bed.home, source_mac(), destination=bed.home))
    assert bed.run(asked_alone, "core").reason is Reason.PASS_NEIGHBOUR_DISCOVERY


def test_link_local_addresses_are_defended_where_that_is_wanted(bed):
    frame = bytes(solicitation(LINK_LOCAL, source_mac()))
    bed.maps.defend(replace(bed.link, index=bed.index["core"]), LINK_LOCAL)
    assert bed.run(frame).reason is Reason.PASS_GROUP_FRAME  # that is another link

    bed.maps.defend(bed.link, LINK_LOCAL)
    assert bed.run(frame).frame == advertisement(bed, LINK_LOCAL, to=HOST)

    assert bed.maps.special_addresses() == {(LINK_LOCAL, bed.link.index), (LINK_LOCAL, bed.index["core"])}
    bed.maps.abandon([(LINK_LOCAL, bed.link.index)])
    assert bed.run(frame).reason is Reason.PASS_GROUP_FRAME


@pytest.mark.parametrize("to", [HOST, None])
def test_a_mobile_router_is_advertised_as_one(bed, to):
    """RFC 3963 section 6.2: the R bit, of its home address while that is bound and of its link-local address."""
    for address in (bed.home, LINK_LOCAL):
        bed.maps.defend(bed.link, address, router=True)
        asked = solicitation(address, source_mac()) if to else solicitation(address, source=UNSPECIFIED)
        assert bed.run(bytes(asked)).frame == advertisement(bed, address, to=to, router=1)
    other = bytes(solicitation(bed.other_home, source_mac()))
    assert bed.run(other).frame == advertisement(bed, bed.other_home, to=HOST)

    bed.bindings.remove(bed.home)

    assert bed.run(bytes(solicitation(bed.home, source_mac()))).reason is Reason.PASS_GROUP_FRAME


def test_nothing_is_answered_once_the_right_to_has_lapsed(bed):
    frame = bytes(solicitation(bed.home, source_mac()))
    bed.maps.answer(bed.link, bed.link.address, time.monotonic() + 3600)
    assert bed.run(frame).reason is Reason.REPLY_NEIGHBOUR_ADVERTISEMENT

    bed.maps.answer(bed.link, bed.link.address, time.monotonic() - 1)

    assert bed.run(frame).reason is Reason.PASS_GROUP_FRAME


def test_answers_to_all_nodes_are_few_in_a_second(bed):
    to_all = bytes(solicitation(bed.home, source=UNSPECIFIED))
    to_one = bytes(solicitation(bed.home, source_mac()))
    limited = Reason.DROP_ADVERTISEMENT_RATE_LIMITED
    before = bed.counters.read()[limited]

    for _ in range(100):
        # Without a look at the counters each time: one more is allowed after a millisecond.
        for _ in range(200):
            program_test_run(bed.program, to_all, interface=bed.index["cn0"])
        if bed.counters.read()[limited] > before:
            break

    assert bed.counters.read()[limited] > before
    assert bed.run(to_one).reason is Reason.REPLY_NEIGHBOUR_ADVERTISEMENT


def test_packets_for_the_home_address_are_tunnelled_as_before(bed):
    packet = Ether(src=HOST_MAC, dst="02:00:00:00:00:03") / IPv6(
        src=str(bed.correspondent), dst=str(bed.home), hlim=255
    )

    assert bed.run(bytes(packet)).reason is Reason.FORWARD_ENCAPSULATED


def test_a_home_link_receives_all_multicast_frames_while_it_is_one(network, pin_path):
    network.interface("given")
    network.run("ip link set given allmulticast on")

    def options(*home_links: str) -> LoaderOptions:
        interfaces = ["cn0", "core", "given"]
        return LoaderOptions(interfaces, pin_path, [Testbed.home_agent], 16, home_links=home_links)

    def raised() -> list[bool]:
        return [interface_state(name).all_multicast for name in ("cn0", "core", "given")]

    load(options("cn0", "given"))
    assert raised() == [True, False, True]
    load(options("cn0", "given"))
    with Map.open(pin_directory(pin_path) / "home_links") as entries:
        assert {HOME_LINK.unpack(key)[0] for key in entries.keys()} == {  # noqa: SIM118
            interface_state(name).index for name in ("cn0", "given")
        }
    counted = {each["name"]: each["entries"] for each in show(pin_path)["maps"]}
    assert counted["home_links"] == 2
    load(options("core"))
    assert raised() == [False, True, True]
    unload(pin_path)
    assert raised() == [False, False, True]


def test_a_home_link_is_one_of_the_interfaces(network, pin_path):
    with pytest.raises(DatapathError, match="cn0 is a home link but not among the interfaces"):
        load(LoaderOptions(["core"], pin_path, [Testbed.home_agent], 16, home_links=["cn0"]))
