"""A mobile node behind a NAT registers: IKE on port 4500, Binding Updates and their answers under ESP in UDP."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address

import pytest
from msgspec import structs

from control.home_agent.engine import HomeAgent
from control.ikev2.address import NAT_TRAVERSAL_PORT, SocketAddress
from control.ikev2.nat import NatTraversal
from control.ipsec.udp_encapsulation import KEEPALIVE, PROTOCOL_UDP, unwrap_from_udp
from control.mobile_node.events import Registered
from control.mobility.extension_headers import Ipv6Packet, parse_ipv6
from control.wire import internet_checksum, ipv6_pseudo_header

INSIDE = IPv6Address("fd00::7")
OUTSIDE = IPv6Address("2001:db8:e::1")


def checksum_is_right(packet: Ipv6Packet) -> bool:
    """By the addresses in the IPv6 header, as a NAT or a firewall on the way sees them."""
    pseudo_header = ipv6_pseudo_header(packet.source, packet.destination, len(packet.payload), PROTOCOL_UDP)
    return internet_checksum(pseudo_header + packet.payload) == 0


def retouch(checksum: int, old: bytes, new: bytes) -> int:
    """What a NAT does to a checksum (RFC 1624 equation 3)."""
    total = ~checksum & 0xFFFF
    for before, after in zip(old[::2], new[::2], strict=True):
        total += (~(before << 8) & 0xFFFF) + (after << 8)
    for before, after in zip(old[1::2], new[1::2], strict=True):
        total += (~before & 0xFFFF) + after
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass
class Nat:
    """Translates one node's flows; joins it and a home agent."""

    scene: object
    outside: IPv6Address = OUTSIDE
    ports: dict[int, int] = field(default_factory=dict)
    forward: list[Ipv6Packet] = field(default_factory=list)
    backward: list[Ipv6Packet] = field(default_factory=list)
    keepalives: int = 0

    def __post_init__(self) -> None:
        self.node, self.agent, self.network = self.scene.nodes[0], self.scene.ha1, self.scene.network
        self.network._exchange = self.exchange

    def port_for(self, inside: int) -> int:
        return self.ports.setdefault(inside, 30_000 + inside)

    def inside_port(self, outside: int) -> int | None:
        return next((inside for inside, port in self.ports.items() if port == outside), None)

    def exchange(self) -> bool:
        now, wall, agent, node = self.network.now, self.network.wall, self.agent, self.node
        self.network._settle(agent)
        outgoing = node.datagrams_to_send(), node.packets_to_send()
        incoming = agent.datagrams_to_send(), agent.packets_to_send()
        self.network.node_events += node.events()
        for datagram in outgoing[0]:
            origin = SocketAddress(self.outside, self.port_for(datagram.local.port))
            if datagram.data == KEEPALIVE:
                self.keepalives += 1
            else:
                agent.receive_ike(datagram.data, origin, now, datagram.remote.port)
        for datagram in incoming[0]:
            port = self.inside_port(datagram.remote.port)
            if datagram.remote.address == self.outside and port is not None:
                local = SocketAddress(node.care_of_address, port)
                node.receive_ike(datagram.data, local, datagram.local, now)
        for packet in outgoing[1]:
            self.to_agent(agent, parse_ipv6(packet), now, wall)
        for packet in incoming[1]:
            self.to_node(packet, now)
        return any(map(bool, (*outgoing, *incoming)))

    def to_agent(self, agent: HomeAgent, packet: Ipv6Packet, now: float, wall: float) -> None:
        assert packet.next_header == PROTOCOL_UDP, "no NAT lets plain ESP through"
        assert checksum_is_right(packet)
        port, to, esp = unwrap_from_udp(packet.payload)
        outside = SocketAddress(self.outside, self.port_for(port))
        old = packet.source.packed + port.to_bytes(2, "big")
        new = outside.address.packed + outside.port.to_bytes(2, "big")
        checksum = retouch(int.from_bytes(packet.payload[6:8], "big"), old, new).to_bytes(2, "big")
        udp = new[16:] + packet.payload[2:6] + checksum + packet.payload[8:]
        translated = structs.replace(packet, source=self.outside, payload=udp)
        assert checksum_is_right(translated)
        assert to == NAT_TRAVERSAL_PORT
        self.forward.append(translated)
        agent.receive_protected(esp, packet.home_address_option, self.outside, now, wall, outside)

    def to_node(self, packet: bytes, now: float) -> None:
        parsed = parse_ipv6(packet)
        assert parsed.next_header == PROTOCOL_UDP
        assert checksum_is_right(parsed)
        self.backward.append(parsed)
        port, to, _ = unwrap_from_udp(parsed.payload)
        inside = self.inside_port(to)
        if parsed.destination == self.outside and inside is not None:
            assert (port, inside) == (NAT_TRAVERSAL_PORT, NAT_TRAVERSAL_PORT)
            # UDP stands behind IPv6 (40) and the type 2 routing header (24); nobody looks at its checksum any more.
            translated = packet[:24] + self.node.care_of_address.packed + packet[40:66] + inside.to_bytes(2, "big")
            self.node.receive_packet(translated + packet[68:], now)


def settings_of(party, **changes) -> None:
    environment = party.endpoint._environment
    environment.configuration = replace(environment.configuration, **changes)


@pytest.fixture
def scene(make_scene):
    scene = make_scene()
    scene.network.move(scene.nodes[0], INSIDE)
    return scene


@pytest.fixture
def nat(scene):
    nat = Nat(scene)
    scene.register_all()
    return nat


def binding(scene):
    (found,) = scene.ha1.registrations.rules.cache.bindings()
    return found


def test_a_node_behind_a_nat_registers_with_its_outside_address(scene, nat):
    assert binding(scene).care_of_address == OUTSIDE
    assert [packet.home_address_option for packet in nat.forward] == [binding(scene).home_address]
    assert [packet.routing_header_2 for packet in nat.backward] == [binding(scene).home_address]
    (sa,) = scene.ha1.endpoint.sas()
    assert sa.remote == SocketAddress(OUTSIDE, nat.ports[NAT_TRAVERSAL_PORT])


def test_the_node_keeps_the_mapping_and_the_home_agent_does_not(scene, nat):
    end = scene.network.now + 100
    scene.network.run(lambda: scene.network.now >= end, 200)
    assert nat.keepalives == 5
    assert scene.ha1.endpoint.statistics["nat-keepalives-sent"] == 0


@pytest.mark.parametrize("address", [OUTSIDE, IPv6Address("2001:db8:e::2")])
def test_a_binding_update_through_a_nat_that_has_forgotten_moves_the_sa(scene, nat, address):
    """The answer goes through the new mapping, and so do IKE and what the home agent says later."""
    nat.outside = address
    nat.ports = {NAT_TRAVERSAL_PORT: 44_444}
    scene.network.node_events.clear()
    refreshed = lambda: [event for event in scene.network.node_events if isinstance(event, Registered)]  # noqa: E731
    assert scene.network.run(refreshed, 700)
    (sa,) = (sa for sa in scene.ha1.endpoint.sas() if sa.is_established)
    assert sa.remote == SocketAddress(address, 44_444)
    assert binding(scene).care_of_address == address
    pairs = scene.ha1.sessions._signalling._ipsec.list()
    for pair in pairs:
        assert {association.encapsulation.remote_port for association in pair} == {44_444}
    sa.probe_liveness(scene.network.now)
    scene.network.run(lambda: sa.exchanges.current is None, 5)
    assert sa.exchanges.current is None


def test_a_replayed_binding_update_from_elsewhere_moves_nothing(scene, nat):
    (update,) = nat.forward
    (sa,) = scene.ha1.endpoint.sas()
    before = sa.remote
    elsewhere = SocketAddress(IPv6Address("2001:db8:bad::1"), 6666)
    _, _, esp = unwrap_from_udp(update.payload)
    for packet, reason in ((esp, "esp-replay"), (esp[:7] + b"\x09" + esp[8:], "esp-bad-icv")):
        scene.ha1.receive_protected(
            packet, update.home_address_option, elsewhere.address, 0.0, scene.network.wall, elsewhere
        )
        assert scene.ha1.statistics[reason] == 1
    assert sa.remote == before


@pytest.mark.parametrize("forced", ["agent", "node"])
def test_encapsulation_can_be_forced_where_there_is_no_nat(make_scene, forced):
    scene = make_scene()
    settings_of(scene.ha1 if forced == "agent" else scene.nodes[0], nat_traversal=NatTraversal.FORCE)
    agent, received = scene.ha1, []
    plain = agent.receive_protected

    def through_udp(payload, home_address, care_of_address, now, wall):
        port, _, esp = unwrap_from_udp(payload)
        received.append(port)
        plain(esp, home_address, care_of_address, now, wall, SocketAddress(care_of_address, port))

    agent.receive_protected = through_udp
    scene.register_all()
    assert received == [NAT_TRAVERSAL_PORT]
    answer = parse_ipv6(scene.network.wire[-1])
    assert (answer.next_header, answer.source) == (PROTOCOL_UDP, agent.address)
    assert checksum_is_right(answer)


def test_packets_of_other_ports_are_no_signalling(scene, nat):
    (answer,) = nat.backward
    node = scene.nodes[0]
    before = node.statistics["mobility-unexpected-port"]
    node.receive_packet(forged(node, answer), scene.network.now)
    assert node.statistics["mobility-unexpected-port"] == before + 1


def forged(node, answer) -> bytes:
    """The home agent's packet, to port 9."""
    udp = answer.payload[:2] + b"\x00\x09" + answer.payload[4:]
    routing = bytes((PROTOCOL_UDP, 2, 2, 1, 0, 0, 0, 0)) + answer.routing_header_2.packed
    header = b"\x60\0\0\0" + (len(routing) + len(udp)).to_bytes(2, "big") + bytes((43, 64))
    return header + answer.source.packed + node.care_of_address.packed + routing + udp
