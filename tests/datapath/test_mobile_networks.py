"""Packets to and from the networks behind mobile routers: whole frames, verdicts, reasons, and whose they count as."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from bench.lab.entering import own_network
from datapath.bindings import Usage
from datapath.bpf_syscall import MAP_NOT_PREALLOCATED, Map, MapType, map_create
from datapath.errors import MapFull, NotLoaded, StalePin
from datapath.layout import MOBILE_NETWORK, MOBILE_ROUTER, map_specifications, pin_directory
from datapath.loader import LoaderOptions, load
from datapath.mobile_networks import MobileNetworkMap
from datapath.reasons import Reason
from datapath.route_control import RouteControl
from datapath.show import show
from datapath.unload import unload
from tests.datapath.conftest import Testbed, loaded_testbed, make_interface

pytestmark = pytest.mark.namespaces

NETWORK = IPv6Network("2001:db8:700::/56")
OTHER_NETWORK = IPv6Network("2001:db8:701::/56")
HOST = IPv6Address("2001:db8:700:12::7")
OTHER_HOST = IPv6Address("2001:db8:701::8")


class RouterBed(Testbed):
    networks: MobileNetworkMap

    def give(self, router: IPv6Address, *networks: IPv6Network) -> None:
        self.networks.replace(router, networks, self.bindings.slot(router))


@pytest.fixture(scope="module")
def bed() -> Iterator[RouterBed]:
    with loaded_testbed(mobile_networks=True) as bed, closing(MobileNetworkMap.open(bed.pin_path)) as networks:
        bed.__class__ = RouterBed
        bed.networks = networks  # type: ignore[attr-defined]
        yield bed  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _start(request: pytest.FixtureRequest) -> None:
    if "bed" in request.fixturenames:
        bed = request.getfixturevalue("bed")
        bed.reset_bindings()
        bed.networks.reconcile({})
        bed.give(bed.home, NETWORK)
        bed.give(bed.other_home, OTHER_NETWORK)


def to_host(bed: Testbed, **fields: object) -> Packet:
    header = {"src": str(bed.correspondent), "dst": str(HOST), "hlim": 61} | fields
    return IPv6(**header) / ICMPv6EchoRequest(id=7, seq=1, data=b"hello")


def from_host(bed: Testbed, **fields: object) -> Packet:
    header = {"src": str(HOST), "dst": str(bed.correspondent), "hlim": 64, "tc": 7, "fl": 5} | fields
    return IPv6(**header) / UDP(sport=1000, dport=2000) / Raw(b"data")


def arriving(bed: Testbed, packet: Packet) -> bytes:
    return bytes(Ether(src=bed.correspondent_mac, dst=bed.correspondent_side_mac) / packet)


def tunnelled(bed: Testbed, inner: Packet, **fields: object) -> bytes:
    header = {"src": str(bed.care_of), "dst": str(bed.home_agent), "hlim": 50, "nh": 41} | fields
    return bytes(Ether(src=bed.care_of_mac, dst=bed.core_mac) / IPv6(**header) / inner)


def with_hop_limit(packet: Packet, hop_limit: int) -> Packet:
    changed = packet.copy()
    changed.hlim = hop_limit
    return changed


@pytest.mark.parametrize("kept", [False, True], ids=["asked of the kernel", "kept next hop"])
def test_a_packet_to_the_network_goes_to_the_router(bed: RouterBed, kept: bool) -> None:
    packet = to_host(bed, tc=0xB8, fl=0x12345)
    if kept:
        with closing(RouteControl.open(bed.pin_path)) as control:
            control.permit(time.monotonic(), 60.0)
            bed.run(arriving(bed, packet))
    before = bed.bindings.usage(bed.home)

    outcome = bed.run(arriving(bed, packet))

    expected = (
        Ether(src=bed.core_mac, dst=bed.care_of_mac)
        / IPv6(src=str(bed.home_agent), dst=str(bed.care_of), tc=0xB8, fl=0x12345, hlim=64, nh=41)
        / with_hop_limit(packet, 60)
    )
    assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_ENCAPSULATED)
    assert outcome.frame == bytes(expected)
    after = bed.bindings.usage(bed.home)
    assert after.encapsulated_packets == before.encapsulated_packets + 1
    assert after.encapsulated_bytes == before.encapsulated_bytes + len(packet)
    assert bed.bindings.usage(bed.other_home) == Usage()


def test_a_packet_out_of_the_network_leaves_the_tunnel(bed: RouterBed) -> None:
    inner = from_host(bed)

    outcome = bed.run(tunnelled(bed, inner), "core")

    expected = Ether(src=bed.correspondent_side_mac, dst=bed.correspondent_mac) / with_hop_limit(inner, 63)
    assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_DECAPSULATED)
    assert outcome.frame == bytes(expected)
    usage = bed.bindings.usage(bed.home)
    assert (usage.decapsulated_packets, usage.decapsulated_bytes) == (1, len(inner))


def test_a_destination_that_comes_to_be_in_a_network_is_no_longer_routed(bed: RouterBed) -> None:
    frame = tunnelled(bed, from_host(bed))
    with closing(RouteControl.open(bed.pin_path)) as control:
        control.begin_generation()
        control.permit(time.monotonic(), 60.0)
        assert [bed.run(frame, "core").reason for _ in range(2)] == [Reason.FORWARD_DECAPSULATED] * 2
        bed.give(bed.other_home, IPv6Network(f"{bed.correspondent}/128"))
        assert bed.run(frame, "core").reason is Reason.FORWARD_REENCAPSULATED
        control.forbid()


@pytest.mark.parametrize(
    ("source", "destination"),
    [(HOST, OTHER_HOST), (HOST, Testbed.other_home), (Testbed.home, OTHER_HOST)],
    ids=["network to network", "network to node", "node to network"],
)
def test_from_one_tunnel_into_another(bed: RouterBed, source: IPv6Address, destination: IPv6Address) -> None:
    inner = from_host(bed, src=str(source), dst=str(destination))

    outcome = bed.run(tunnelled(bed, inner), "core")

    expected = (
        Ether(src=bed.core_mac, dst=bed.other_care_of_mac)
        / IPv6(src=str(bed.other_home_agent), dst=str(bed.other_care_of), hlim=64, nh=41, tc=7, fl=5)
        / with_hop_limit(inner, 63)
    )
    assert (outcome.verdict, outcome.reason) == ("redirect", Reason.FORWARD_REENCAPSULATED)
    assert outcome.frame == bytes(expected)
    assert bed.bindings.usage(bed.home).decapsulated_packets == 1
    assert bed.bindings.usage(bed.other_home).encapsulated_packets == 1


@pytest.mark.parametrize("source", [HOST, Testbed.home], ids=["its network", "its home address"])
def test_what_would_go_back_into_the_same_tunnel_ends_here(bed: RouterBed, source: IPv6Address) -> None:
    unknown = from_host(bed, src=str(source), dst="2001:db8:700:ff::1")

    outcome = bed.run(tunnelled(bed, unknown), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_BACK)
    assert bed.bindings.usage(bed.home) == Usage()


@pytest.mark.parametrize(
    "fields",
    [{"src": "2001:db8:f::6"}, {"src": "2001:db8:f::77"}],
    ids=["another router's care-of address", "a stranger"],
)
def test_a_source_of_the_network_counts_only_from_its_router(bed: RouterBed, fields: dict[str, object]) -> None:
    outcome = bed.run(tunnelled(bed, from_host(bed), **fields), "core")

    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS)


@pytest.mark.parametrize("outside", ["2001:db8:6ff:ffff::1", "2001:db8:700:100::1"])
def test_beside_the_prefix_is_outside(bed: RouterBed, outside: str) -> None:
    assert bed.run(arriving(bed, to_host(bed, dst=outside))).reason is Reason.PASS_NOT_OURS
    outcome = bed.run(tunnelled(bed, from_host(bed, src=outside)), "core")
    assert (outcome.verdict, outcome.reason) == ("drop", Reason.DROP_TUNNEL_NO_BINDING)


def test_the_longer_prefix_counts_in_both_directions(bed: RouterBed) -> None:
    part = IPv6Network("2001:db8:700:12::/64")
    bed.give(bed.other_home, OTHER_NETWORK, part)

    assert Ether(bed.run(arriving(bed, to_host(bed))).frame)[IPv6].dst == str(bed.other_care_of)
    assert bed.run(tunnelled(bed, from_host(bed)), "core").reason is Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS
    elsewhere = to_host(bed, dst="2001:db8:700:13::7")
    assert Ether(bed.run(arriving(bed, elsewhere)).frame)[IPv6].dst == str(bed.care_of)


def test_a_binding_of_the_address_itself_comes_first(bed: RouterBed) -> None:
    bed.bindings.install(HOST, bed.other_care_of, bed.home_agent)

    assert Ether(bed.run(arriving(bed, to_host(bed))).frame)[IPv6].dst == str(bed.other_care_of)


def test_without_the_routers_binding_the_prefix_leads_nowhere(bed: RouterBed) -> None:
    bed.bindings.remove(bed.home)
    frame = arriving(bed, to_host(bed))

    outcome = bed.run(frame)

    assert (outcome.verdict, outcome.reason, outcome.frame) == ("pass", Reason.PASS_NOT_OURS, frame)
    assert bed.run(tunnelled(bed, from_host(bed)), "core").reason is Reason.DROP_TUNNEL_NO_BINDING


def test_a_binding_in_another_slot_is_not_the_routers(bed: RouterBed) -> None:
    bed.networks.replace(bed.home, [NETWORK], bed.bindings.slot(bed.other_home))

    assert bed.run(arriving(bed, to_host(bed))).reason is Reason.PASS_NOT_OURS
    assert bed.run(tunnelled(bed, from_host(bed)), "core").reason is Reason.DROP_TUNNEL_NO_BINDING
    bed.give(bed.home, NETWORK)
    assert bed.run(arriving(bed, to_host(bed))).reason is Reason.FORWARD_ENCAPSULATED


def test_a_slot_that_is_not_there_leads_nowhere(bed: RouterBed) -> None:
    bed.networks.replace(bed.home, [NETWORK], 0xFFFFFFFF)

    assert bed.run(arriving(bed, to_host(bed))).reason is Reason.PASS_NOT_OURS


def test_the_network_moves_with_the_binding(bed: RouterBed) -> None:
    bed.bindings.install(bed.home, bed.other_care_of, bed.other_home_agent)

    outer = Ether(bed.run(arriving(bed, to_host(bed))).frame)[IPv6]
    assert (outer.src, outer.dst) == (str(bed.other_home_agent), str(bed.other_care_of))
    assert bed.run(tunnelled(bed, from_host(bed)), "core").reason is Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS


def test_a_prefix_over_the_home_agent_does_not_hide_it(bed: RouterBed) -> None:
    bed.give(bed.home, IPv6Network("2001:db8::/32"))

    frame = arriving(bed, to_host(bed, dst=str(bed.home_agent)))
    assert bed.run(frame).reason is Reason.PASS_HOME_AGENT
    inner = from_host(bed, dst=str(bed.home_agent))
    assert bed.run(tunnelled(bed, inner), "core").reason is Reason.PASS_DECAPSULATED_LOCAL


def test_too_big_for_the_tunnel_is_answered(bed: RouterBed) -> None:
    packet = IPv6(src=str(bed.correspondent), dst=str(HOST), hlim=61) / UDP(sport=1, dport=2) / Raw(b"x" * 1413)

    outcome = bed.run(arriving(bed, packet))

    expected = (
        Ether(src=bed.correspondent_side_mac, dst=bed.correspondent_mac)
        / IPv6(src=str(bed.home_agent), dst=str(bed.correspondent), hlim=64)
        / ICMPv6PacketTooBig(mtu=1460)
        / Raw(bytes(packet)[:1232])
    )
    assert (outcome.verdict, outcome.reason) == ("tx", Reason.REPLY_PACKET_TOO_BIG)
    assert outcome.frame == bytes(expected)


def test_without_the_feature_no_prefix_is_looked_up(testbed: Testbed) -> None:
    with Map.open(pin_directory(testbed.pin_path) / "mobile_networks") as entries:
        MobileNetworkMap(entries).replace(testbed.home, [NETWORK], testbed.bindings.slot(testbed.home))
    assert testbed.run(arriving(testbed, to_host(testbed))).reason is Reason.PASS_NOT_OURS
    outcome = testbed.run(tunnelled(testbed, from_host(testbed)), "core")
    assert outcome.reason is Reason.DROP_TUNNEL_NO_BINDING
    with pytest.raises(NotLoaded, match="knows no mobile networks"):
        MobileNetworkMap.open(testbed.pin_path)


def test_the_program_stays_small_for_the_verifier(bed: RouterBed) -> None:
    assert 0 < bed.report.verified_instructions < 500_000
    shown = {entry["name"]: entry["entries"] for entry in show(bed.pin_path)["maps"]}
    assert shown["mobile_networks"] == 2


def test_the_feature_comes_and_goes_with_a_load_and_the_prefixes_stay(pin_path: Path) -> None:
    with own_network():
        make_interface("cn0", "2001:db8:c::1/64")
        options = LoaderOptions(["cn0"], pin_path, [Testbed.home_agent], 64, mobile_networks=True)
        try:
            load(options)
            with closing(MobileNetworkMap.open(pin_path)) as networks:
                networks.replace(Testbed.home, [NETWORK], 0)
            load(LoaderOptions(["cn0"], pin_path, [Testbed.home_agent], 64))
            with pytest.raises(NotLoaded):
                MobileNetworkMap.open(pin_path)
            load(options)
            with closing(MobileNetworkMap.open(pin_path)) as networks:
                assert networks.entries() == {NETWORK: Testbed.home}
        finally:
            unload(pin_path)


# The map alone


@pytest.fixture
def trie() -> Iterator[Map]:
    descriptor = map_create(
        MapType.LPM_TRIE, MOBILE_NETWORK.size, MOBILE_ROUTER.size, 3, "networks", MAP_NOT_PREALLOCATED
    )
    with Map(descriptor) as entries:
        yield entries


PARTS = [IPv6Network(f"2001:db8:700:{number}::/64") for number in range(6)]
ROUTER, OTHER_ROUTER = Testbed.home, Testbed.other_home


def test_prefixes_are_replaced_and_found_again(trie: Map) -> None:
    networks = MobileNetworkMap(trie)
    networks.replace(ROUTER, PARTS[:2], 7)
    networks.replace(ROUTER, PARTS[1:3], 7)
    networks.replace(OTHER_ROUTER, [NETWORK], 7)

    again = MobileNetworkMap(trie)
    assert again.entries() == {PARTS[1]: ROUTER, PARTS[2]: ROUTER, NETWORK: OTHER_ROUTER}
    assert again.networks(ROUTER) == {PARTS[1], PARTS[2]}
    again.remove(ROUTER)
    again.remove(ROUTER)
    assert (len(again), again.networks(ROUTER)) == (1, frozenset())
    assert MobileNetworkMap(trie).entries() == {NETWORK: OTHER_ROUTER}


def test_a_slot_is_replaced_and_found_again(trie: Map) -> None:
    networks = MobileNetworkMap(trie)
    networks.replace(ROUTER, PARTS[:2], 7)
    networks.replace(ROUTER, PARTS[:1], 8)
    (key,) = trie.keys()
    assert MOBILE_ROUTER.unpack(trie.lookup(key) or b"") == (ROUTER.packed, 8)
    assert MobileNetworkMap(trie).entries() == {PARTS[0]: ROUTER}


def test_a_prefix_that_another_router_has_by_now_outlasts_the_first(trie: Map) -> None:
    networks = MobileNetworkMap(trie)
    networks.replace(ROUTER, PARTS[:2], 7)
    networks.replace(OTHER_ROUTER, PARTS[:1], 7)
    networks.remove(ROUTER)

    assert networks.entries() == MobileNetworkMap(trie).entries() == {PARTS[0]: OTHER_ROUTER}


def test_where_not_all_fit_nothing_changes(trie: Map) -> None:
    networks = MobileNetworkMap(trie)
    networks.replace(ROUTER, PARTS[:2], 7)
    with pytest.raises(MapFull):
        networks.replace(OTHER_ROUTER, PARTS[1:], 7)

    assert networks.entries() == MobileNetworkMap(trie).entries() == {PARTS[0]: ROUTER, PARTS[1]: ROUTER}


def test_reconcile_leaves_exactly_what_is_expected(trie: Map) -> None:
    networks = MobileNetworkMap(trie)
    networks.replace(ROUTER, PARTS[:3], 7)
    networks.reconcile({OTHER_ROUTER: ([PARTS[0], NETWORK], 3)})

    assert MobileNetworkMap(trie).entries() == {PARTS[0]: OTHER_ROUTER, NETWORK: OTHER_ROUTER}


def test_a_map_of_another_layout_is_refused() -> None:
    with (
        Map(map_create(MapType.HASH, MOBILE_NETWORK.size, MOBILE_ROUTER.size, 4, "networks")) as entries,
        pytest.raises(StalePin),
    ):
        MobileNetworkMap(entries)


def test_the_trie_takes_memory_only_for_what_is_in_it() -> None:
    (wanted,) = (each for each in map_specifications(64) if each.name == "mobile_networks")
    assert wanted.flags == MAP_NOT_PREALLOCATED
