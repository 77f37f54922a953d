"""The home link: what this host sends to home addresses leaves for care-of addresses with a routing header."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from datapath import home_link, netlink
from datapath.bindings import BindingMap
from datapath.bpf_syscall import Map, object_get, program_info, program_test_run
from datapath.counters import Counters
from datapath.errors import AttachFailed, DatapathError, InterfaceBusy, NotLoaded
from datapath.layout import HOME_LINK_PROGRAM_NAME, pin_directory
from datapath.loader import LoaderOptions, load
from datapath.reasons import Reason
from datapath.show import show
from datapath.unload import unload

pytestmark = pytest.mark.namespaces

AGENT, STRANGER = IPv6Address("2001:db8:f::1"), IPv6Address("2001:db8:c::1")
CARE_OF, OTHER_CARE_OF = IPv6Address("2001:db8:f::5"), IPv6Address("2001:db8:f::6")
HOME, ANSWERED, UNKNOWN = (IPv6Address(f"2001:db8:100::{number}") for number in (5, 6, 7))
PREFIX, OTHER_PREFIX = IPv6Network("2001:db8:100::/64"), IPv6Network("2001:db8:200::/64")
SHOT, REDIRECT = 2, 7
ESP, MOBILITY = 50, 135


@pytest.fixture
def options(network, pin_path) -> LoaderOptions:
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    for address in (CARE_OF, OTHER_CARE_OF):
        network.run(f"ip -6 neigh add {address} dev core lladdr 02:00:00:00:0f:05 nud permanent")
    network.run(f"ip -6 route add unreachable {PREFIX}")
    return LoaderOptions(["cn0", "core"], pin_path, [AGENT], max_bindings=32, home_prefixes=[PREFIX])


@pytest.fixture
def loaded(options) -> Iterator[LoaderOptions]:
    load(options)
    with BindingMap.open(options.pin_path) as bindings:
        bindings.install(HOME, CARE_OF, AGENT)
    with Map.open(pin_directory(options.pin_path) / "reply_addresses") as replies:
        replies.update(ANSWERED.packed, OTHER_CARE_OF.packed)
    return options


class Program:
    def __init__(self, pin_path: Path) -> None:
        self.descriptor = object_get(pin_directory(pin_path) / HOME_LINK_PROGRAM_NAME)
        self.counters = Counters.open(pin_path)

    def run(self, frame: Packet) -> tuple[int, bytes, Reason]:
        """Verdict, frame, and the one reason that was counted."""
        for _ in range(10):
            before = self.counters.read()
            result = program_test_run(self.descriptor, bytes(frame))
            after = self.counters.read()
            changed = [reason for reason in Reason if after[reason] != before[reason]]
            # The kernel's own multicast listener reports go through the same program while the link is new.
            if len(changed) == 1:
                return result.verdict, result.frame, changed[0]
        raise AssertionError(changed)


@pytest.fixture
def program(loaded) -> Iterator[Program]:
    program = Program(loaded.pin_path)
    yield program
    os.close(program.descriptor)
    program.counters.close()


def packet(destination: IPv6Address, source: IPv6Address = AGENT, protocol: int = 50, size: int = 40) -> Packet:
    return Ether() / IPv6(src=str(source), dst=str(destination), nh=protocol, hlim=64, fl=77) / Raw(b"\x5a" * size)


@pytest.mark.parametrize(("home_address", "care_of_address"), [(HOME, CARE_OF), (ANSWERED, OTHER_CARE_OF)])
@pytest.mark.parametrize("size", [0, 1, 40, 1400])
def test_a_node_bound_or_answered_gets_a_routing_header(program, home_address, care_of_address, size):
    sent = packet(home_address, size=size)
    verdict, frame, reason = program.run(sent)

    header = IPv6(src=str(AGENT), dst=str(care_of_address), hlim=64, fl=77)
    routing = IPv6ExtHdrRouting(type=2, segleft=1, addresses=[str(home_address)], nh=50)
    assert frame == bytes(Ether() / header / routing / Raw(b"\x5a" * size))
    assert (verdict, reason) == (REDIRECT, Reason.FORWARD_WITH_ROUTING_HEADER)


def test_an_answer_goes_where_the_question_came_from(program, loaded):
    with Map.open(pin_directory(loaded.pin_path) / "reply_addresses") as replies:
        replies.update(HOME.packed, OTHER_CARE_OF.packed)
    _, frame, _ = program.run(packet(HOME))
    assert frame[38:54] == OTHER_CARE_OF.packed


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (packet(UNKNOWN), Reason.DROP_HOME_LINK_NO_BINDING),
        (packet(HOME, source=STRANGER), Reason.DROP_HOME_LINK_UNSUITABLE),
        (packet(IPv6Address("ff02::1")), Reason.DROP_HOME_LINK_UNSUITABLE),
        (packet(HOME, protocol=0), Reason.DROP_HOME_LINK_UNSUITABLE),
        (packet(HOME, protocol=MOBILITY), Reason.DROP_HOME_LINK_UNPROTECTED),
        (Ether() / IPv6(src=str(AGENT), dst=str(HOME)) / IPv6ExtHdrHopByHop(), Reason.DROP_HOME_LINK_UNSUITABLE),
        (Ether() / IP() / UDP(), Reason.DROP_HOME_LINK_UNSUITABLE),
        (Ether() / ARP(), Reason.DROP_HOME_LINK_UNSUITABLE),
    ],
)
def test_anything_else_goes_nowhere(program, sent, expected):
    verdict, frame, reason = program.run(sent)
    assert (verdict, reason) == (SHOT, expected)
    assert frame == bytes(sent)


def test_a_care_of_address_without_a_route_is_told_apart(program, loaded):
    with BindingMap.open(loaded.pin_path) as bindings:
        bindings.install(HOME, IPv6Address("2001:db8:dead::1"), AGENT)
    assert program.run(packet(HOME))[::2] == (SHOT, Reason.DROP_NO_ROUTE)


def test_a_node_at_home_gets_none(program, loaded, network):
    with Map.open(pin_directory(loaded.pin_path) / "reply_addresses") as replies:
        replies.update(HOME.packed, HOME.packed)
    network.run(f"ip -6 route replace {PREFIX} dev core")
    sent = packet(HOME)
    assert program.run(sent) == (REDIRECT, bytes(sent), Reason.FORWARD_AT_HOME)


def received(peer: socket.socket) -> IPv6:
    """The next packet on the wire that has a routing header."""
    while True:
        frame = Ether(peer.recv(2000))
        if IPv6 in frame and frame[IPv6].nh == 43:
            return frame[IPv6]


@pytest.mark.parametrize(("home_address", "care_of_address"), [(HOME, CARE_OF), (ANSWERED, OTHER_CARE_OF)])
def test_what_a_socket_sends_to_a_home_address_reaches_the_wire(loaded, home_address, care_of_address):
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD)) as peer,
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, ESP) as protected,
        socket.socket(socket.AF_INET6, socket.SOCK_RAW, MOBILITY) as mobility,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams,
    ):
        peer.bind(("core-peer", 0))
        peer.settimeout(10)
        for one in (protected, mobility, datagrams):
            one.bind((str(AGENT), 0))
        with pytest.raises(OSError, match="buffer space"):  # in the clear it stays here
            mobility.sendto(bytes.fromhex("3b01060000000000") + bytes(8), (str(home_address), 0))
        protected.sendto(b"y" * 40, (str(home_address), 0))
        first = received(peer)
        datagrams.sendto(b"x" * 100, (str(home_address), 7))
        second = received(peer)

    for seen, protocol in ((first, ESP), (second, socket.IPPROTO_UDP)):
        routing = seen[IPv6ExtHdrRouting]
        assert (seen.src, seen.dst) == (str(AGENT), str(care_of_address))
        assert (routing.type, routing.segleft, routing.nh, routing.addresses) == (2, 1, protocol, [str(home_address)])
    assert bytes(first[IPv6ExtHdrRouting].payload) == b"y" * 40
    assert bytes(second[IPv6ExtHdrRouting].payload).endswith(b"x" * 100)


def test_what_is_forwarded_keeps_its_routes(loaded, network):
    assert "dev mip0" in network.run(f"ip -6 route get {HOME} from {AGENT}")
    forwarded = f"ip -6 route get {HOME} from 2001:db8:c::9 iif cn0"
    with pytest.raises(AssertionError, match="No route to host"):
        network.run(forwarded)
    network.run(f"ip -6 route replace blackhole {PREFIX}")
    with pytest.raises(AssertionError, match="Invalid argument"):
        network.run(forwarded)


def test_is_shown_kept_changed_and_removed(options, network):
    report = load(options)
    assert json.loads(json.dumps(report.to_dict()))["home_link"] == show(options.pin_path)["home_link"]
    assert report.home_link is not None
    assert (report.home_link.mtu, report.home_link.prefixes) == (1476, [PREFIX])
    index = netlink.interface_state(home_link.DEVICE).index

    assert load(options).home_link == report.home_link
    changed = load(replace(options, home_prefixes=[OTHER_PREFIX])).home_link
    assert changed is not None
    assert changed.prefixes == [OTHER_PREFIX]
    assert netlink.interface_state(home_link.DEVICE).index == index
    assert str(PREFIX) not in network.run("ip -6 rule")
    assert network.run(f"ip -6 route show table {home_link.TABLE}").split()[0] == str(OTHER_PREFIX)

    assert load(replace(options, home_prefixes=[])).home_link is None
    assert home_link.find(options.pin_path) is None
    assert str(home_link.TABLE) not in network.run("ip -6 rule")

    load(options)
    assert unload(options.pin_path).home_link_removed
    assert home_link.find(options.pin_path) is None
    assert not options.pin_path.exists()


def test_somebody_else_s_device_is_let_be(options, network):
    network.run("ip link add mip0 type veth peer name other")
    with pytest.raises(InterfaceBusy, match="mip0"):
        load(options)
    with pytest.raises(NotLoaded):
        show(options.pin_path)
    load(replace(options, home_prefixes=[]))
    assert not unload(options.pin_path).home_link_removed
    assert netlink.interface_state("mip0").name == "mip0"


def test_a_load_that_fails_leaves_none_behind(options, network):
    network.run("ip link set core-peer mtu 9000")
    with pytest.raises(AttachFailed):
        load(replace(options, xdp_mode="native"))
    assert home_link.find(options.pin_path) is None
    assert not options.pin_path.exists()


def test_a_load_that_fails_leaves_the_one_before(loaded, monkeypatch):
    before = home_link.find(loaded.pin_path)
    pinned = object_get(pin_directory(loaded.pin_path) / HOME_LINK_PROGRAM_NAME)
    identifier = program_info(pinned).id
    monkeypatch.setattr(netlink, "attach", refuse)
    with pytest.raises(DatapathError):
        load(replace(loaded, home_prefixes=[PREFIX, OTHER_PREFIX]))
    assert home_link.find(loaded.pin_path) == before
    again = object_get(pin_directory(loaded.pin_path) / HOME_LINK_PROGRAM_NAME)
    assert program_info(again).id == identifier
    for descriptor in (pinned, again):
        os.close(descriptor)


def refuse(*_: object) -> None:
    raise DatapathError("no")
