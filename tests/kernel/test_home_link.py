"""The whole way of signalling with the kernel's IPsec: XDP, XFRM, raw socket and back by the home link.

The mobile node does its own ESP and reads frames from the wire.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from bench.lab.entering import inside
from control.daemon.kernel_ipsec import KernelIpsec
from control.ipsec.algorithms import AES_128_GCM
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.userspace import UserspaceIpsec
from control.mobility.extension_headers import build_from_mobile_node, parse_swapped_destination_options
from datapath.bpf_syscall import Map
from datapath.layout import pin_directory
from datapath.loader import LoaderOptions, load
from datapath.unload import unload
from datapath.xfrm.channel import XfrmChannel
from tests.control.ipsec.associations import association_between
from tests.kernel.ipsec_wire import mobility_header, raw_socket
from tests.kernel.network import run

pytestmark = pytest.mark.kernel

PIN_PATH = Path("/sys/fs/bpf/homeagent-link")
AGENT, CARE_OF, HOME = IPv6Address("2001:db8:f::1"), IPv6Address("2001:db8:f::5"), IPv6Address("2001:db8:100::5")
PREFIX = IPv6Network("2001:db8:100::/64")
MOBILITY, ESP, ROUTING = 135, 50, 43
BINDING_UPDATE, HOME_AGENT_SWITCH = 5, 12


class Scene:
    """A home agent with everything loaded, and a node one hop away."""

    def __init__(self) -> None:
        for name in ("agent", "node"):
            run(f"ip netns add {name}")
        run("ip -n agent link add core type veth peer name core netns node")
        for name, address in (("agent", AGENT), ("node", CARE_OF)):
            with inside(name):
                run("ip link set lo up")
                run("sysctl -qw net.ipv6.conf.all.forwarding=1")
                Path("/proc/sys/net/ipv6/conf/core/accept_dad").write_text("0")
                run("ip link set core up")
                run(f"ip addr add {address}/64 dev core nodad")
        with inside("agent"):
            self.report = load(LoaderOptions(["core"], PIN_PATH, [AGENT], 64, home_prefixes=[PREFIX]))
            self.channel = XfrmChannel()
            self.ipsec = KernelIpsec(self.channel, random.Random(1).randbytes)
            self.mobility = raw_socket(MOBILITY, AGENT)
            self.mobility.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVDSTOPTS, 1)
        with inside("node"):
            self.raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
            self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
            self.wire.bind(("core", 0))
            self.wire.settimeout(60)
        self.node = UserspaceIpsec(random.Random(2).randbytes)
        up, down = self.ipsec.allocate_spi(), self.node.allocate_spi()
        inbound, outbound = (
            association_between(up, HOME, AGENT, AES_128_GCM),
            association_between(down, AGENT, HOME, AES_128_GCM),
        )
        self.ipsec.install(inbound, outbound)
        self.node.install(outbound, inbound)
        self.spi = up

    def close(self) -> None:
        for one in (self.channel, self.mobility, self.raw, self.wire):
            one.close()
        with inside("agent"):
            unload(PIN_PATH)
        for name in ("agent", "node"):
            run(f"ip netns del {name}")

    def send(self, next_header: int, payload: bytes) -> None:
        self.raw.sendto(build_from_mobile_node(CARE_OF, AGENT, HOME, next_header, payload), (str(AGENT), 0))

    def receive(self) -> tuple[bytes, SecurityAssociation | None, IPv6Address | None]:
        """The next Mobility Header, the association that opened it, and the care-of address it came from."""
        payload, ancillary, _, _ = self.mobility.recvmsg(2000, 500)
        found = {(level, kind): data for level, kind, data in ancillary}
        opened_by = self.ipsec.opened_by(struct.unpack("=I", found[socket.SOL_SOCKET, 36])[0])
        options = found.get((socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS))
        return payload, opened_by, None if options is None else parse_swapped_destination_options(options)

    def counter(self, name: str) -> int:
        with inside("agent"):
            lines = Path("/proc/thread-self/net/xfrm_stat").read_text().splitlines()
        return {line.split()[0]: int(line.split()[1]) for line in lines}[name]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.close()


def test_the_home_link_is_a_dummy_device(scene: Scene) -> None:
    assert scene.report.home_link is not None
    assert scene.report.home_link.kind == "dummy"


def test_a_binding_update_arrives_opened_and_one_in_the_clear_does_not(scene: Scene) -> None:
    before = scene.counter("XfrmInTmplMismatch")
    scene.send(MOBILITY, mobility_header(HOME, AGENT, BINDING_UPDATE, 66))
    protected = scene.node.protect(HOME, AGENT, MOBILITY, mobility_header(HOME, AGENT, BINDING_UPDATE, 7), 0.0)
    scene.send(ESP, protected)
    payload, opened_by, care_of_address = scene.receive()
    assert payload == mobility_header(HOME, AGENT, BINDING_UPDATE, 7)
    assert opened_by is not None
    assert (opened_by.spi, opened_by.source) == (scene.spi, HOME)
    assert care_of_address == CARE_OF
    assert scene.counter("XfrmInTmplMismatch") == before + 1


def test_a_node_without_a_binding_gets_what_is_sent_to_it_protected_and_with_a_routing_header(scene: Scene) -> None:
    with Map.open(pin_directory(PIN_PATH) / "reply_addresses") as replies:
        replies.update(HOME.packed, CARE_OF.packed)
    scene.mobility.sendto(mobility_header(AGENT, HOME, HOME_AGENT_SWITCH, 8), (str(HOME), 0))
    while (frame := scene.wire.recv(2000))[20] != ROUTING:
        pass
    assert frame[22:54] == AGENT.packed + CARE_OF.packed
    assert frame[54:62] == bytes([ESP, 2, 2, 1, 0, 0, 0, 0])
    assert frame[62:78] == HOME.packed
    opened = scene.node.unprotect(AGENT, HOME, frame[78 : 54 + int.from_bytes(frame[18:20], "big")], 0.0)
    assert opened.payload == mobility_header(AGENT, HOME, HOME_AGENT_SWITCH, 8)
    ((inbound, outbound),) = scene.ipsec.list()
    assert (inbound.usage.packets, outbound.usage.packets) == (1, 1)
