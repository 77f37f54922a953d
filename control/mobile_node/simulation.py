"""Thousands of mobile nodes in one process, without I/O: whole IPv6 packets in and out, time and events.

No kernel stack stands behind a node: the simulation speaks UDP for IKE itself, and answers echo requests on the home
address through the tunnel, so that a prober at a correspondent node sees when a node is reachable.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from random import Random

from control.ikev2.address import IKE_PORT, NAT_TRAVERSAL_PORT, SocketAddress
from control.ipsec.udp_encapsulation import KEEPALIVE, NON_ESP_MARKER, UdpContent, content_of
from control.mobile_node.events import NodeEvent, Registered, RegistrationFailed
from control.mobile_node.fragmentation import Reassembler, fragment
from control.mobile_node.node import MobileNode
from control.mobile_node.pace import Pace
from control.mobile_node.simulated_node import SimulatedNode
from control.mobile_node.upper_layers import PROTOCOL_UDP, build_udp, echo, parse_udp
from control.mobile_node.weather import Weather
from control.mobility.extension_headers import IPV6_HEADER_SIZE, PROTOCOL_FRAGMENT
from control.wire import WireError


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """How a simulation goes.

    Attributes:
        home_agent: where nodes register at the start; None: they wait for a home agent to come.
        home_agent_identity: the identity it has to prove, None for any trusted one.
        rate_per_s: first registrations started per second.
        concurrency: first registrations in flight.
        loss_percent: of packets, in each direction.
        delay_s: of each packet, in each direction.
        jitter_s: further delay of each packet, at most.
        moves_per_s: how many of the nodes, drawn at random, go to another care-of address per second.
        care_of_prefix: where the other addresses are; without it nobody moves.
    """

    home_agent: IPv6Address | None = None
    home_agent_identity: str | None = None
    rate_per_s: float = 200.0
    concurrency: int = 128
    loss_percent: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    moves_per_s: float = 0.0
    care_of_prefix: IPv6Network | None = None


class Simulation:
    """All nodes and the network between them and the outside.

    Attributes:
        nodes: by care-of address as 16 bytes.
        counters: packets by slug.
        all_registered_at: monotonic seconds when the last node had been registered once; None before.
        started_at: monotonic seconds of the start.
    """

    def __init__(
        self, nodes: Iterable[MobileNode], settings: SimulationSettings, random: Random, now: float, wall: float
    ) -> None:
        """Nodes that know nothing yet; the first registrations start with the first timer.

        Args:
            nodes: with care-of addresses of their own.
            settings: how it goes.
            random: loss and jitter.
            now: monotonic seconds.
            wall: seconds since the epoch at the same moment.
        """
        self.nodes = {node.settings.care_of_address.packed: SimulatedNode(node) for node in nodes}
        self.counters: Counter[str] = Counter()
        self.all_registered_at: float | None = None
        self.started_at = now
        self._settings = settings
        self._wall_offset = wall - now
        self._random = random
        self._moves = Pace(settings.moves_per_s, now) if settings.moves_per_s else None
        self._refreshes: Pace | None = None
        self._to_refresh: deque[SimulatedNode] = deque()
        self._movable = list(self.nodes.values())
        conditions = (settings.loss_percent, settings.delay_s, settings.jitter_s)
        self._inwards = Weather(*conditions, random)
        self._outwards = Weather(*conditions, random)
        self._reassembler = Reassembler()
        self._identification = random.getrandbits(32)
        self._to_start = deque(self.nodes.values() if settings.home_agent is not None else ())
        self._starting: set[int] = set()
        self._starts = Pace(settings.rate_per_s, now)
        self._unregistered = len(self.nodes)
        self._timers: list[tuple[float, int, SimulatedNode]] = []
        self._timer_count = 0
        self._packets: list[bytes] = []
        self._events: list[tuple[str, NodeEvent]] = []

    # Inputs

    def receive_packet(self, packet: bytes, now: float) -> None:
        """A whole IPv6 packet from outside."""
        self.counters["packets-received"] += 1
        arriving = self._inwards.send(packet, now)
        if arriving is not None:
            self._deliver(arriving, now)

    def handle_timer(self, now: float) -> None:
        """Let time pass: packets under way, timers of nodes, registrations to start."""
        for packet in self._inwards.arrived(now):
            self._deliver(packet, now)
        while self._timers and self._timers[0][0] <= now:
            when, _, simulated = heapq.heappop(self._timers)
            if simulated.timer == when:
                simulated.timer = None
                simulated.node.handle_timer(now)
                self._after(simulated, now)
        self._start_registrations(now)
        self._move_some(now)
        self._refresh_some(now)
        self._packets += self._outwards.arrived(now)

    def move(self, simulated: SimulatedNode, care_of_address: IPv6Address, now: float) -> None:
        """A node goes elsewhere; what is under way to where it was is lost.

        Args:
            simulated: the node.
            care_of_address: an address that no other node has.
            now: monotonic seconds.
        """
        del self.nodes[simulated.care_of_address.packed]
        self.nodes[care_of_address.packed] = simulated
        self.counters["moves"] += 1
        simulated.node.care_of_address_changed(care_of_address, now)
        self._after(simulated, now)

    def vanish(self, identities: Iterable[str]) -> None:
        """Take nodes off the network: from now on nothing comes from them, and nothing reaches them.

        Args:
            identities: of the nodes; those that are not there are passed over.
        """
        wanted = set(identities)
        for simulated in [each for each in self.nodes.values() if each.node.identity in wanted]:
            del self.nodes[simulated.care_of_address.packed]
            simulated.vanished = True
            simulated.timer = None
            self._starting.discard(id(simulated))
            self._unregistered -= simulated.first_registered is None
        self._movable = list(self.nodes.values())

    def refresh(self, rate_per_s: float, now: float) -> None:
        """Have registered nodes send Binding Updates before it is time, in turn, so many a second; 0: no longer.

        A node whose last Binding Update has not been answered yet is left out.
        """
        self._refreshes = Pace(rate_per_s, now) if rate_per_s else None
        self._to_refresh = deque(self.nodes.values())

    # Outputs

    def next_timer(self) -> float | None:
        """When :meth:`handle_timer` wants to be called (monotonic seconds), None for never."""
        times = [self._inwards.next_arrival, self._outwards.next_arrival]
        if self._timers:
            times.append(self._timers[0][0])
        if self._to_start and len(self._starting) < self._settings.concurrency:
            times.append(self._starts.next_at)
        if self._moves is not None and self._can_move:
            times.append(self._moves.next_at)
        if self._refreshes is not None:
            times.append(self._refreshes.next_at)
        return min((time for time in times if time is not None), default=None)

    def packets_to_send(self) -> list[bytes]:
        """Whole IPv6 packets for the outside, drained."""
        packets, self._packets = self._packets, []
        return packets

    def events(self) -> list[tuple[str, NodeEvent]]:
        """What happened, with the identity of the node, drained."""
        events, self._events = self._events, []
        return events

    def summary(self) -> dict[str, int]:
        """How the nodes stand, in numbers."""
        states = Counter(simulated.state for simulated in self.nodes.values())
        return {
            "nodes": len(self.nodes),
            "registered": states["registered"],
            "registering": states["registering"],
            "idle": states["idle"],
            "switched": sum(simulated.switches > 0 for simulated in self.nodes.values()),
            "failures": sum(simulated.failures for simulated in self.nodes.values()),
            "packets_received": self.counters["packets-received"],
            "packets_sent": self.counters["packets-sent"],
            "lost": self._inwards.lost + self._outwards.lost,
        }

    def report(self) -> dict[str, object]:
        """Every node's history, and all counters."""
        counters = Counter(self.counters)
        for simulated in self.nodes.values():
            counters.update(simulated.node.statistics)
            counters.update({f"ike-{slug}": count for slug, count in simulated.node.endpoint.statistics.items()})
        counters.update({"lost-inwards": self._inwards.lost, "lost-outwards": self._outwards.lost})
        return {
            "summary": self.summary(),
            "nodes": [simulated.report() for simulated in self.nodes.values()],
            "counters": dict(sorted(counters.items())),
        }

    # Inside

    def _deliver(self, packet: bytes, now: float) -> None:
        simulated = self.nodes.get(packet[24:40]) if len(packet) >= IPV6_HEADER_SIZE else None
        if simulated is None:
            self.counters["no-such-node"] += 1
            return
        if packet[6] == PROTOCOL_FRAGMENT:
            self.counters["fragments-received"] += 1
            whole = self._reassembler.add(packet, now)
            if whole is None:
                return
            packet = whole
        if packet[6] == PROTOCOL_UDP:
            self._deliver_udp(simulated, packet, now)
        else:
            inner = simulated.node.receive_packet(packet, now)
            if inner is not None:
                self._receive_inner(simulated, inner, now)
        self._after(simulated, now)

    def _deliver_udp(self, simulated: SimulatedNode, packet: bytes, now: float) -> None:
        source = IPv6Address(packet[8:24])
        try:
            datagram = parse_udp(source, simulated.care_of_address, packet[IPV6_HEADER_SIZE:])
        except WireError as error:
            self.counters[f"udp-{error.reason}"] += 1
            return
        port, data = datagram.destination_port, datagram.data
        if port == NAT_TRAVERSAL_PORT:
            if content_of(data) is not UdpContent.IKE:
                self.counters["udp-no-ike"] += 1
                return
            data = data[len(NON_ESP_MARKER) :]
        elif port != IKE_PORT:
            self.counters["udp-closed-port"] += 1
            return
        remote = SocketAddress(source, datagram.source_port)
        simulated.node.receive_ike(data, SocketAddress(simulated.care_of_address, port), remote, now)

    def _receive_inner(self, simulated: SimulatedNode, inner: bytes, now: float) -> None:
        simulated.last_tunnelled_packet = now + self._wall_offset
        answer = echo(inner)
        if answer is None:
            self.counters["tunnelled-unanswered"] += 1
            return
        outer = simulated.node.tunnel(answer)
        if outer is not None:
            self._send(outer, now)

    def _after(self, simulated: SimulatedNode, now: float) -> None:
        """Collect what a node wants to send and say, and when it wants to be woken."""
        node = simulated.node
        for datagram in node.datagrams_to_send():
            local, remote = datagram.local, datagram.remote
            has_marker = local.port == NAT_TRAVERSAL_PORT and datagram.data != KEEPALIVE
            data = NON_ESP_MARKER + datagram.data if has_marker else datagram.data
            whole = build_udp(local.ipv6_address, local.port, remote.ipv6_address, remote.port, data)
            self._identification = (self._identification + 1) & 0xFFFF_FFFF
            for part in fragment(whole, self._identification):
                self._send(part, now)
        for packet in node.packets_to_send():
            self._send(packet, now)
        for event in node.events():
            self._note(simulated, event, now)
        when = node.next_timer()
        if when is not None and when != simulated.timer:
            self._timer_count += 1
            heapq.heappush(self._timers, (when, self._timer_count, simulated))
        simulated.timer = when

    def _note(self, simulated: SimulatedNode, event: NodeEvent, now: float) -> None:
        first = isinstance(event, Registered) and simulated.first_registered is None
        simulated.note(event, now + self._wall_offset)
        self._events.append((simulated.node.identity, event))
        if isinstance(event, Registered | RegistrationFailed):
            self._starting.discard(id(simulated))
        if first:
            self._unregistered -= 1
            if not self._unregistered:
                self.all_registered_at = now

    def _send(self, packet: bytes, now: float) -> None:
        self.counters["packets-sent"] += 1
        leaving = self._outwards.send(packet, now)
        if leaving is not None:
            self._packets.append(leaving)

    @property
    def _can_move(self) -> bool:
        """Nodes begin to move when all of them have been registered."""
        return bool(self._settings.care_of_prefix and self.nodes and not self._unregistered)

    def _move_some(self, now: float) -> None:
        prefix = self._settings.care_of_prefix
        if self._moves is None or not self._can_move or prefix is None:
            return
        self._moves.catch_up(now)
        while self._moves.take(now):
            simulated = self._random.choice(self._movable)
            address = prefix[self._random.randrange(1, min(prefix.num_addresses, 1 << 62))]
            if address.packed not in self.nodes:
                self.move(simulated, address, now)

    def _refresh_some(self, now: float) -> None:
        if self._refreshes is None:
            return
        self._refreshes.catch_up(now)
        while self._refreshes.take(now):
            for _ in range(len(self._to_refresh)):
                simulated = self._to_refresh[0]
                self._to_refresh.rotate(-1)
                if self._refresh(simulated, now):
                    break
            else:
                self.counters["refreshes-omitted"] += 1

    def _refresh(self, simulated: SimulatedNode, now: float) -> bool:
        node, settings = simulated.node, self._settings
        home_agent = settings.home_agent
        if home_agent is None or node.home_agent != home_agent or not node.registered:
            return False
        if simulated.vanished or simulated.awaits_acknowledgement:
            return False
        node.register(home_agent, settings.home_agent_identity, now)
        self._after(simulated, now)
        return True

    def _start_registrations(self, now: float) -> None:
        settings = self._settings
        if settings.home_agent is None:
            return
        self._starts.catch_up(now)
        while self._to_start and len(self._starting) < settings.concurrency and self._starts.take(now):
            simulated = self._to_start.popleft()
            if simulated.first_registered is not None or simulated.vanished:
                continue
            self._starting.add(id(simulated))
            simulated.node.register(settings.home_agent, settings.home_agent_identity, now)
            self._after(simulated, now)
