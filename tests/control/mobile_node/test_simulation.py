"""Many nodes in one process, against a small home agent in memory."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from random import Random

import pytest

from control.ikev2.address import NAT_TRAVERSAL_PORT, Datagram, SocketAddress
from control.ikev2.nat import NatTraversal
from control.ikev2.payloads import Identity
from control.ikev2.policy import IkeConfiguration
from control.mobile_node.events import (
    BindingUpdateSent,
    FirstTunnelledPacket,
    HomeAgentSwitched,
    IkeStarted,
    Registered,
)
from control.mobile_node.fragmentation import Reassembler, fragment
from control.mobile_node.node import MobileNode
from control.mobile_node.settings import NodeSettings
from control.mobile_node.simulation import Simulation, SimulationSettings
from control.mobile_node.upper_layers import build_udp, parse_udp
from control.mobility.extension_headers import build_ipv6, encapsulate, parse_ipv6
from control.wire import internet_checksum, ipv6_pseudo_header
from tests.control.mobile_node.conftest import Time

HA1 = IPv6Address("2001:db8:a1::1")
HA2 = IPv6Address("2001:db8:a2::1")
CORRESPONDENT = IPv6Address("2001:db8:cc::1")
CARE_OF = IPv6Address("2001:db8:c0::1000")
HOME = IPv6Address("2001:db8:100::1000")
KEY = b"a key shared by the node and its home agents"
EPOCH = 1_800_000_000.0


def make_nodes(count, seed=3, **ike_settings):
    random = Random(seed)
    for index in range(count):
        identity = Identity.from_text(f"mn{index}@mn.example.org")
        ike = IkeConfiguration(local_identity=identity, wall_clock=lambda: EPOCH, **ike_settings)
        yield MobileNode(NodeSettings(HOME + index, CARE_OF + index, ("*.example.org",), KEY), ike, random)


class Outside(Time):
    """The home agents at the other end of the simulation's packets."""

    def __init__(self, world, count, seed=3, ike_settings=None, **settings):
        self.world = world
        self.now = 50.0
        self.events = []
        self.answers = []
        chosen = {"home_agent": HA1, "home_agent_identity": "ha1.example.org", **settings}
        nodes = make_nodes(count, seed, **(ike_settings or {}))
        self.simulation = Simulation(nodes, SimulationSettings(**chosen), Random(seed), self.now, EPOCH)

    def settle(self):
        busy = True
        while busy:
            busy = False
            for packet in self.simulation.packets_to_send():
                busy = True
                self._receive(packet)
            for agent in self.world.home_agents.values():
                for datagram in agent.datagrams_to_send():
                    busy = True
                    ends = (*datagram.local, *datagram.remote)
                    marker = bytes(4) if datagram.local.port == NAT_TRAVERSAL_PORT else b""
                    self.simulation.receive_packet(build_udp(*ends, marker + datagram.data), self.now)
                for packet in agent.packets_to_send():
                    busy = True
                    self.simulation.receive_packet(packet, self.now)
            self.events += self.simulation.events()

    def parties(self):
        return [self.simulation, *self.world.home_agents.values()]

    def _receive(self, packet):
        parsed = parse_ipv6(packet)
        agent = self.world.home_agents.get(parsed.destination)
        if agent is None:
            return
        if parsed.next_header == 17 and parsed.home_address_option is None:
            datagram = parse_udp(parsed.source, parsed.destination, parsed.payload)
            remote = SocketAddress(parsed.source, datagram.source_port)
            local, data = SocketAddress(agent.address, datagram.destination_port), datagram.data
            if local.port == NAT_TRAVERSAL_PORT:
                assert data[:4] == bytes(4)
                data = data[4:]
            agent.receive_ike(data, local, remote, self.now)
        elif parsed.next_header == 41:
            self.answers.append(parsed.payload)
        else:
            agent.receive_packet(packet, self.now)

    def of(self, kind):
        return [event for _, event in self.events if isinstance(event, kind)]


@pytest.fixture
def agents(world):
    world.add_home_agent()
    world.add_home_agent(HA2, "ha2.example.org")
    return world


def ping(home_address, data=b"ping"):
    body = b"\x80\0\0\0\x12\x34\0\x01" + data
    checksum = internet_checksum(ipv6_pseudo_header(CORRESPONDENT, home_address, len(body), 58) + body)
    body = body[:2] + checksum.to_bytes(2, "big") + body[4:]
    return build_ipv6(CORRESPONDENT, home_address, 58, body)


def test_nodes_told_to_do_so_speak_ike_and_esp_in_udp_on_port_4500(agents):
    outside = Outside(agents, 5, ike_settings={"nat_traversal": NatTraversal.FORCE})
    outside.run(3)
    assert len(outside.of(Registered)) == 5
    agent = agents.home_agents[HA1]
    assert agent.counters["esp-in-udp"] == 5
    assert {sa.remote.port for sa in agent.endpoint.sas()} == {NAT_TRAVERSAL_PORT}
    node = next(iter(outside.simulation.nodes.values()))
    for data in (b"\xff", b"\0\0\1\0" + bytes(20), b""):
        outside.simulation.receive_packet(build_udp(HA1, 4500, node.care_of_address, 4500, data), outside.now)
    assert outside.simulation.counters["udp-no-ike"] == 3


def test_all_nodes_register_no_faster_than_allowed(agents):
    outside = Outside(agents, 30, rate_per_s=10.0)
    outside.run(1.05)
    assert len(outside.of(IkeStarted)) == 11
    outside.run(3)
    assert len(outside.of(Registered)) == 30
    assert outside.simulation.all_registered_at == pytest.approx(52.9)
    assert outside.simulation.summary()["registered"] == 30
    assert len(agents.home_agents[HA1].cache) == 30


def test_no_more_registrations_are_in_flight_than_allowed(agents):
    outside = Outside(agents, 30, rate_per_s=1e5, concurrency=4)
    agents.home_agents[HA1].silent = True
    outside.run(5)
    assert len(outside.of(IkeStarted)) == 4
    agents.home_agents[HA1].silent = False
    outside.run(10)
    assert len(outside.of(Registered)) == 30


def test_loss_is_overcome_and_counted(agents):
    outside = Outside(agents, 40, loss_percent=10.0)
    outside.run(120)
    summary = outside.simulation.summary()
    assert summary["registered"] == 40
    assert 0.05 < summary["lost"] / (summary["packets_received"] + summary["packets_sent"]) < 0.15


def test_the_same_seed_loses_the_same_packets(world):
    stories = []
    for seed in (3, 3, 4):
        fresh = type(world)()
        fresh.add_home_agent()
        outside = Outside(fresh, 10, seed, loss_percent=20.0)
        outside.run(3)
        assert outside.simulation.summary()["lost"] > 0
        stories.append([(identity, type(event)) for identity, event in outside.events])
    assert stories[0] == stories[1]
    assert stories[0] != stories[2]


def test_packets_take_their_time(agents):
    outside = Outside(agents, 1, delay_s=0.05)
    outside.run(0.299)
    assert not outside.of(Registered)
    outside.run(0.002)
    # Three round trips: IKE_SA_INIT, IKE_AUTH, Binding Update; two delays each.
    assert len(outside.of(Registered)) == 1


def test_jitter_reorders_and_nothing_breaks(agents):
    outside = Outside(agents, 20, delay_s=0.02, jitter_s=0.2)
    outside.run(30)
    assert outside.simulation.summary()["registered"] == 20


def test_all_nodes_are_taken_over(agents):
    outside = Outside(agents, 20)
    outside.run(5)
    del agents.home_agents[HA1]
    for index in range(20):
        identity = f"mn{index}@mn.example.org"
        agents.home_agents[HA2].bootstrap(outside.now, HOME + index, care_of_address=CARE_OF + index, identity=identity)
    outside.run(5)
    assert len(outside.of(HomeAgentSwitched)) == 20
    summary = outside.simulation.summary()
    assert (summary["registered"], summary["switched"]) == (20, 20)
    assert len(agents.home_agents[HA2].cache) == 20


def test_echo_requests_are_answered_through_the_tunnel(agents):
    outside = Outside(agents, 3)
    outside.run(5)
    outside.simulation.receive_packet(encapsulate(HA1, CARE_OF + 1, ping(HOME + 1)), outside.now)
    outside.settle()
    answer = parse_ipv6(outside.answers[0])
    assert (answer.source, answer.destination) == (HOME + 1, CORRESPONDENT)
    assert answer.payload[0] == 129
    assert answer.payload[4:] == b"\x12\x34\0\x01ping"
    assert not internet_checksum(
        ipv6_pseudo_header(answer.source, answer.destination, len(answer.payload), 58) + answer.payload
    )
    assert outside.of(FirstTunnelledPacket) == [FirstTunnelledPacket(HA1)]


def test_udp_echo_is_answered_through_the_tunnel(agents):
    outside = Outside(agents, 1)
    outside.run(1)
    inner = build_udp(CORRESPONDENT, 4000, HOME, 7, b"are you there?")
    outside.simulation.receive_packet(encapsulate(HA1, CARE_OF, inner), outside.now)
    outside.settle()
    answer = parse_ipv6(outside.answers[0])
    datagram = parse_udp(answer.source, answer.destination, answer.payload)
    assert (datagram.source_port, datagram.destination_port, datagram.data) == (7, 4000, b"are you there?")


def test_the_report_tells_each_nodes_story(agents):
    outside = Outside(agents, 2)
    outside.run(1)
    outside.simulation.receive_packet(encapsulate(HA1, CARE_OF, ping(HOME)), outside.now)
    outside.run(4)
    del agents.home_agents[HA1]
    agents.home_agents[HA2].bootstrap(outside.now, HOME, care_of_address=CARE_OF, identity="mn0@mn.example.org")
    outside.run(1)
    outside.simulation.receive_packet(encapsulate(HA2, CARE_OF, ping(HOME)), outside.now)
    report = outside.simulation.report()
    moved, stayed = report["nodes"]
    assert moved["identity"] == "mn0@mn.example.org"
    assert (moved["state"], moved["home_agent"], moved["switches"]) == ("registered", str(HA2), 1)
    times = moved["times"]
    order = ("last_tunnelled_packet_before_switch", "ike_started", "home_agent_switch", "registered")
    assert [times[name] for name in order] == sorted(times[name] for name in order)
    assert times["last_tunnelled_packet_before_switch"] == pytest.approx(EPOCH + 1)
    assert times["first_tunnelled_packet"] == pytest.approx(EPOCH + 6)
    assert (stayed["home_agent"], stayed["switches"]) == (str(HA1), 0)
    assert report["counters"]["tunnel-received"] == 2


def test_packets_for_nobody_and_broken_ones_are_counted(agents):
    outside = Outside(agents, 1)
    simulation = outside.simulation
    whole = build_udp(HA1, 500, CARE_OF, 500, b"x" * 30)
    for packet in (
        b"",
        whole[:39],
        build_udp(HA1, 500, CARE_OF + 9, 500, b"x"),
        build_udp(HA1, 500, CARE_OF, 501, b"x"),
        whole[:-1] + b"y",
        whole[:44] + b"\0\3" + whole[46:],
        build_ipv6(HA1, CARE_OF, 17, b"1234567"),
    ):
        simulation.receive_packet(packet, outside.now)
    assert simulation.counters == {
        "packets-received": 7,
        "no-such-node": 3,
        "udp-closed-port": 1,
        "udp-bad-checksum": 1,
        "udp-bad-length": 1,
        "udp-truncated": 1,
    }


def test_nodes_without_a_home_agent_wait(agents):
    outside = Outside(agents, 3, home_agent=None, home_agent_identity=None)
    outside.run(100)
    assert not outside.events
    assert outside.simulation.next_timer() is None
    assert outside.simulation.summary()["idle"] == 3


def test_large_messages_travel_in_fragments(agents):
    """A message larger than the network takes, in both directions."""
    outside = Outside(agents, 1, home_agent=None, home_agent_identity=None)
    simulation = outside.simulation
    node = simulation.nodes[CARE_OF.packed].node
    received = []
    node.receive_ike = lambda data, *_: received.append(data)
    node.datagrams_to_send = lambda: [Datagram(received[-1], SocketAddress(CARE_OF), SocketAddress(HA1))]
    message = Random(1).randbytes(3000)
    for part in fragment(build_udp(HA1, 500, CARE_OF, 500, message), 1):
        simulation.receive_packet(part, outside.now)
    assert received == [message]
    sent = simulation.packets_to_send()
    assert len(sent) == 3
    reassembler = Reassembler()
    whole = [reassembler.add(part, 0.0) for part in sent][-1]
    assert parse_udp(CARE_OF, HA1, whole[40:]).data == message


def test_nodes_move_once_all_are_registered_and_stay_reachable(world):
    agent = world.add_home_agent()
    prefix = IPv6Network("2001:db8:c0::/64")
    outside = Outside(world, 8, moves_per_s=6.0, care_of_prefix=prefix, delay_s=0.15)
    outside.run(20.0)
    simulation = outside.simulation
    assert simulation.counters["moves"] >= 80
    assert simulation.counters["no-such-node"] > 0, "what was under way to where a node was is lost"
    for care_of_address, simulated in simulation.nodes.items():
        assert simulated.care_of_address.packed == care_of_address
        assert simulated.care_of_address in prefix
        assert simulated.node.registered
    refreshed = [event for event in outside.of(Registered) if event.refresh]
    assert len(refreshed) >= simulation.counters["moves"] / 2
    assert all(binding.care_of_address in prefix for binding in agent.cache.bindings())
    assert agent.endpoint.statistics["established"] == 8, "nobody needed another IKE SA"


def test_nobody_moves_unasked(world):
    world.add_home_agent()
    outside = Outside(world, 3, care_of_prefix=IPv6Network("2001:db8:c0::/64"))
    outside.run(30.0)
    assert outside.simulation.counters["moves"] == 0


def test_a_node_that_vanished_neither_answers_nor_speaks(agents):
    outside = Outside(agents, 3)
    outside.run(5)
    outside.simulation.vanish(["mn1@mn.example.org", "nobody@mn.example.org"])
    outside.run(4000)
    heard = {identity for identity, event in outside.events if isinstance(event, Registered) and event.refresh}
    assert heard == {"mn0@mn.example.org", "mn2@mn.example.org"}
    for index in range(3):
        outside.simulation.receive_packet(encapsulate(HA1, CARE_OF + index, ping(HOME + index)), outside.now)
    outside.settle()
    assert {parse_ipv6(answer).source for answer in outside.answers} == {HOME, HOME + 2}


def test_registered_nodes_refresh_in_turn_and_know_how_long_it_took(agents):
    outside = Outside(agents, 4, delay_s=0.05)
    outside.run(5)
    outside.events.clear()
    outside.simulation.refresh(2.0, outside.now)
    outside.run(9.9)
    refreshed = [(identity, event) for identity, event in outside.events if isinstance(event, Registered)]
    assert [identity for identity, _ in refreshed] == [f"mn{index % 4}@mn.example.org" for index in range(20)]
    assert all(event.refresh for _, event in refreshed)
    assert all(event.answered_after_s == pytest.approx(0.1) for _, event in refreshed)
    outside.simulation.refresh(0, outside.now)
    outside.events.clear()
    outside.run(10)
    assert not outside.of(Registered)


def test_a_node_that_still_waits_for_its_acknowledgement_is_not_asked_again(agents):
    outside = Outside(agents, 2)
    outside.run(5)
    del agents.home_agents[HA1]
    outside.events.clear()
    outside.simulation.refresh(10.0, outside.now)
    outside.run(0.95)
    assert len(outside.of(BindingUpdateSent)) == 2
    assert outside.simulation.counters["refreshes-omitted"] == 8
