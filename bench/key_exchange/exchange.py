"""Runs key exchanges between home agents and all their nodes in step, and measures the home agent's share.

Every node takes one step, then the home agent answers all of them in one measured segment. So the clock is read a few
times per hundred exchanges only, and what the home agent does finds its caches as cold as in a real takeover.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from bench.key_exchange.links import Arrived, Link
from bench.key_exchange.meter import Meter
from bench.key_exchange.scene import FAILED, Scene
from bench.lab.errors import LabError
from control.bootstrap.takeover import NodeToRecover
from control.daemon.ike_traffic import turn_size
from control.home_agent.engine import HomeAgent, ProtectedPacket
from control.ikev2.address import SocketAddress
from control.ikev2.child import ChildRequest
from control.ikev2.payloads import Identity
from control.ipsec.traffic_selector import PROTOCOL_ICMPV6, TrafficSelector
from control.mobile_node.node import MobileNode
from control.mobility.extension_headers import parse_ipv6
from control.wire import address_text, ipv6_address


@dataclass(slots=True)
class Traffic:
    """Sizes, in bytes, of what one node and the home agent exchanged, from the home agent's side."""

    ike_sent: list[int] = field(default_factory=list)
    ike_received: list[int] = field(default_factory=list)


class Run:
    """One home agent against all nodes of a scene.

    Attributes:
        meter: the home agent's CPU time so far.
        traffic: with the first node of the scene.
    """

    def __init__(self, scene: Scene, agent: HomeAgent, link: Link, now: float) -> None:
        self.meter = Meter()
        self.traffic = Traffic()
        self._scene, self._agent, self._link, self._now = scene, agent, link, now
        self._wall = time.time()
        self._witness = next(iter(scene.nodes))
        self._turn = turn_size()
        self._packets: list[ProtectedPacket] = []

    def complete(self, begin: Callable[[], object] | None = None) -> None:
        """Let everything happen that follows from ``begin``, the home agent's own and measured first step."""
        self._collect_from_nodes()
        while self._step(begin):
            begin = None

    def _step(self, begin: Callable[[], object] | None) -> bool:
        agent, now = self._agent, self._now
        with self.meter.running():
            if begin is not None:
                begin()
            arrived = self._link.receive()
            self._receive(arrived)
            agent.receive_protected_packets(self._packets, now, self._wall)
            # No store and no data path here: what was accepted is acknowledged.
            agent.stored(agent.registrations.pending(), now)
            packets = agent.packets_to_send()
            agent.replace_used_up(now)
            datagrams = agent.datagrams_to_send()
            agent.happenings()
        self._packets = []
        addressed = self._link.address(datagrams)
        with self.meter.running():
            self._link.send(addressed)
        self.traffic.ike_received += [len(data) for data, peer in arrived if peer.address == self._witness]
        self.traffic.ike_sent += [len(each.data) for each in datagrams if each.remote.address == self._witness]
        for original, datagram in zip(datagrams, self._link.arrived(datagrams), strict=True):
            node = self._scene.nodes[original.remote.ipv6_address]
            node.receive_ike(datagram.data, original.remote, original.local, now)
        for packet in packets:
            if isinstance(packet, bytes):  # nothing is left to the kernel here
                self._scene.nodes[parse_ipv6(packet).destination].receive_packet(packet, now)
        return self._collect_from_nodes()

    def _receive(self, arrived: list[Arrived]) -> None:
        """Take messages as many at a time as the daemon does."""
        start = 0
        while start < len(arrived):
            began = time.monotonic()
            messages = arrived[start : start + self._turn.size]
            self._agent.receive_ike_messages(messages, self._now)
            self._turn.took(len(messages), time.monotonic() - began)
            start += len(messages)

    def _collect_from_nodes(self) -> bool:
        """Fetch what the nodes send, at most a batch of the daemon's socket. Returns whether there was anything."""
        moved = False
        for node in self._scene.nodes.values():
            datagrams = [each for each in node.datagrams_to_send() if each.remote.address == self._agent.address]
            self._link.deliver(datagrams)
            moved = moved or bool(datagrams)
            for packet in node.packets_to_send():
                parsed = parse_ipv6(packet)
                if parsed.destination == self._agent.address and parsed.home_address_option is not None:
                    self._packets.append(ProtectedPacket(parsed.payload, parsed.home_address_option, parsed.source))
                    moved = True
            node.events()
        return moved


def register_all(scene: Scene, link: Link) -> Run:
    """Every node registers with the failed agent, which is the responder, then asks it for the second child SA."""
    agent, now = scene.failed, 1.0
    run = Run(scene, agent, link, now)
    for node in scene.nodes.values():
        node.register(agent.address, FAILED, now)
    run.complete()
    for node in scene.nodes.values():
        _ask_for_second_child(node, agent, now)
    run.complete()
    _check(scene, agent)
    return run


def take_over_all(scene: Scene, link: Link, key_pairs: int = 0) -> Run:
    """The survivor, as the initiator, bootstraps every node.

    Args:
        scene: its nodes are registered with the failed agent.
        link: between survivor and nodes.
        key_pairs: made before the clock runs.
    """
    agent, now = scene.survivor, 2.0
    address_text.cache_clear()  # the failed agent, which is another process in life, has filled it
    ipv6_address.cache_clear()
    run = Run(scene, agent, link, now)
    agent.prepare(key_pairs)
    nodes = [
        # As a daemon does, which asks its directory which home address a node shall have.
        NodeToRecover(node.identity, agent.directory.assign(node.identity, node.home_address), care_of_address)
        for care_of_address, node in scene.nodes.items()
    ]

    def begin() -> None:
        agent.recover(nodes, now)
        agent.handle_timer(now)

    run.complete(begin)
    _check(scene, agent)
    return run


def authenticate_all(scene: Scene, link: Link, *, second_child: bool = False) -> Run:
    """The survivor begins an IKE SA with every node, and asks for a second child SA or leaves it at that.

    It knows the nodes' certificates: strongSwan, which is measured beside it, sees the same one over and over.
    """
    agent, now = scene.survivor, 2.0
    address_text.cache_clear()
    ipv6_address.cache_clear()
    scene.make_certificates_known()
    run = Run(scene, agent, link, now)

    def begin() -> None:
        for care_of_address, node in scene.nodes.items():
            agent.endpoint.connect(
                SocketAddress(agent.address),
                SocketAddress(care_of_address),
                now,
                remote_identity=Identity.from_text(node.identity),
                first_child=_child_request(agent.address, node.home_address),
                configuration=None,
                initial_contact=True,
                init_tries=None,
                context=None,
            )

    def ask_for_second_child() -> None:
        for sa in agent.sessions:
            home_address = scene.nodes[sa.remote.ipv6_address].home_address
            sa.create_child(_child_request(agent.address, home_address), now)

    run.complete(begin)
    if second_child:
        run.complete(ask_for_second_child)
    if [len(sa.children) for sa in agent.sessions] != [1 + second_child] * len(scene.nodes):
        raise LabError(f"{len(agent.sessions)} of {len(scene.nodes)} IKE SAs; {dict(agent.endpoint.statistics)}")
    return run


def _child_request(local: IPv6Address, remote: IPv6Address) -> ChildRequest:
    return ChildRequest(
        (TrafficSelector.host(local, PROTOCOL_ICMPV6),), (TrafficSelector.host(remote, PROTOCOL_ICMPV6),)
    )


def _ask_for_second_child(node: MobileNode, agent: HomeAgent, now: float) -> None:
    for sa in node.endpoint.sas_with(Identity.from_text(FAILED)):
        sa.create_child(_child_request(node.home_address, agent.address), now)


def _check(scene: Scene, agent: HomeAgent) -> None:
    count = len(scene.nodes)
    complete = sum(1 for node in scene.nodes.values() if node.registered and node.home_agent == agent.address)
    children = sum(len(sa.children) for sa in agent.sessions)
    if complete != count or len(agent.sessions) != count or children != 2 * count:
        raise LabError(
            f"{complete} of {count} nodes registered with {agent.address}, {len(agent.sessions)} IKE SAs, "
            f"{children} child SAs; {dict(agent.endpoint.statistics)}"
        )
