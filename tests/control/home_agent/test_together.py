"""Packets and registrations that have come together: each counts as it would alone, and none is lost or done twice."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

import pytest

from control.home_agent.engine import ProtectedPacket
from control.home_agent.events import TimelineEvent
from control.ipsec.traffic_selector import PROTOCOL_MOBILITY
from control.mobile_node.node import MobileNode
from control.mobility.extension_headers import parse_ipv6
from control.mobility.home_registration import Change
from tests.control.home_agent.conftest import Scene

ACCEPTED = ("out", "binding-acknowledgement", "0")


class Together:
    """A home agent whose registered nodes all send at once."""

    def __init__(self, scene: Scene) -> None:
        scene.register_all()
        self.scene, self.agent, self.now = scene, scene.ha1, scene.network.now
        self.registrations = self.agent.registrations
        self.ipsec = self.agent.sessions._signalling._ipsec
        self.agent.happenings()
        self.registrations.messages.clear()
        self.ipsec.statistics.clear()

    def sent_by(self, node: MobileNode) -> list[ProtectedPacket]:
        packets = [parse_ipv6(packet) for packet in node.packets_to_send()]
        return [ProtectedPacket(each.payload, each.home_address_option, each.source) for each in packets]

    def update(self, node: MobileNode) -> ProtectedPacket:
        """Another Binding Update of a node."""
        node._registrar.registration.update_now(self.now)
        node._enrolment.run(self.now)
        (packet,) = self.sent_by(node)
        return packet

    def last(self, node: MobileNode) -> ProtectedPacket:
        """The Binding Update by which a node de-registers."""
        node._registrar.registration.leave(self.now)
        node._registrar.run(self.now)
        (packet,) = self.sent_by(node)
        return packet

    def malformed(self, node: MobileNode) -> ProtectedPacket:
        """A genuine packet of a node with a Mobility Header in it whose checksum is wrong."""
        agent, home_address = self.agent.address, IPv6Address(node.home_address)
        header = bytes((59, 1, 5, 0, 1, 2)) + bytes(10)
        packet = node._registrar._signalling._ipsec.protect(home_address, agent, PROTOCOL_MOBILITY, header, self.now)
        return ProtectedPacket(packet, home_address, node.care_of_address)

    def receive(self, *packets: ProtectedPacket) -> None:
        self.agent.receive_protected_packets(packets, self.now, self.scene.network.wall)

    def store(self) -> list[int]:
        """What waits is stored. Returns the sequence numbers."""
        pending = self.registrations.pending()
        self.agent.stored(pending, self.now)
        return [each.outcome.sequence_number for each in pending]

    def answer(self) -> None:
        """What the agent sends reaches the nodes."""
        for packet in self.agent.packets_to_send():
            assert isinstance(packet, bytes)
            self.scene.network.nodes[parse_ipv6(packet).destination].receive_packet(packet, self.now)


@pytest.fixture
def together(make_scene: Callable[..., Scene]) -> Together:
    return Together(make_scene(4))


def test_what_is_wrong_with_one_packet_is_no_matter_of_the_others(together: Together) -> None:
    first, second, third, fourth = together.scene.nodes
    good, altered = together.update(first), together.update(second)
    altered = altered._replace(packet=altered.packet[:-1] + bytes((altered.packet[-1] ^ 1,)))
    together.receive(altered, good, together.malformed(third), good, together.update(fourth))
    assert (together.agent.statistics["esp-bad-icv"], together.agent.statistics["esp-replay"]) == (1, 1)
    assert together.registrations.statistics["bad-checksum"] == 1
    assert together.ipsec.statistics == {"unprotected": 3, "bad-icv": 1, "replay": 1}
    assert len(together.store()) == 2
    together.answer()
    assert together.registrations.messages == {("in", "binding-update", ""): 2, ACCEPTED: 2}
    updated = [each for each in together.agent.happenings() if each.event == TimelineEvent.BINDING_UPDATE]
    assert [each.node for each in updated] == [first.identity, fourth.identity]
    assert together.agent.packets_to_send() == []
    assert [node.registered for node in (first, fourth)] == [True, True]


@pytest.mark.parametrize("newest_first", [False, True])
def test_of_two_binding_updates_of_one_node_the_newer_one_counts(together: Together, newest_first: bool) -> None:
    node = together.scene.nodes[0]
    packets = [together.update(node), together.update(node)]
    number = node._registrar.registration.binding_update(node.care_of_address, together.now).sequence_number
    together.receive(*reversed(packets) if newest_first else packets)
    assert together.store() == [(number - 1) % 65536]
    assert together.registrations.statistics["overtaken"] == newest_first
    together.answer()
    assert together.registrations.messages == {("in", "binding-update", ""): 2, ACCEPTED: 1}
    assert node.registered


def test_nodes_that_come_and_nodes_that_go_are_stored_together(together: Together) -> None:
    first, second, third, _ = together.scene.nodes
    cache, before = together.registrations.rules.cache, len(together.registrations.rules.cache)
    together.receive(together.last(first), together.update(second), together.last(third))
    pending = together.registrations.pending()
    assert [each.outcome.change for each in pending] == [Change.REMOVE, Change.REFRESH, Change.REMOVE]
    together.agent.stored(pending, together.now)
    assert len(cache) == before - 2
    assert [(each.event, each.node) for each in together.agent.happenings()] == [
        (TimelineEvent.DEREGISTERED, first.identity),
        (TimelineEvent.BINDING_UPDATE, second.identity),
        (TimelineEvent.DEREGISTERED, third.identity),
    ]
    together.agent.stored(pending, together.now)
    together.answer()
    assert together.registrations.messages == {("in", "binding-update", ""): 3, ACCEPTED: 3}
    assert together.agent.happenings() == []
