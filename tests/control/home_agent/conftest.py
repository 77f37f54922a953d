"""A home agent engine and real mobile nodes, joined by a network that exists in memory only."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv6Address, IPv6Network

import pytest

from control.bootstrap.concurrency import FixedConcurrency
from control.bootstrap.job import SwitchTimeouts
from control.bootstrap.limits import Limits
from control.bootstrap.scheduler import Scheduler
from control.bootstrap.takeover import NodeToRecover, Takeover
from control.home_agent.directory import AuthorisedNode, NodeDirectory
from control.home_agent.engine import HomeAgent
from control.home_agent.home_links import HomeLinks
from control.home_agent.policy import HomeAgentPolicy
from control.home_agent.registrations import Registrations
from control.home_agent.signalling import UserspaceSignalling
from control.home_agent.unprotected import UnprotectedSignalling
from control.ikev2.address import SocketAddress
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.payloads import Identity
from control.ikev2.policy import IkeConfiguration, LifetimePolicy
from control.ipsec.security_association import SecurityAssociation
from control.ipsec.static import StaticPair
from control.ipsec.userspace import UserspaceIpsec
from control.mobile_node.node import MobileNode
from control.mobile_node.settings import NodeSettings
from control.mobility.addresses import UNSPECIFIED
from control.mobility.binding_cache import BindingCache
from control.mobility.binding_error import BindingErrorResponder
from control.mobility.extension_headers import parse_ipv6
from control.mobility.home_registration import HomeRegistration
from tests.control.home_agent.workers_in_memory import WorkersInMemory

HOME_PREFIX = IPv6Network("2001:db8:100::/64")
OTHER_PREFIX = IPv6Network("2001:db8:200::/64")
WALL_AT_START = 1_800_000_000.0


def shared_key(index: int) -> bytes:
    return bytes([index]) * 32


def make_home_agent(
    name: str,
    address: str,
    nodes: list[AuthorisedNode],
    prefix: IPv6Network,
    seed: int,
    lifetimes: LifetimePolicy,
    exported: list[tuple[SecurityAssociation, SecurityAssociation]],
    workers: int,
) -> HomeAgent:
    randomness = random.Random(seed)
    directory = NodeDirectory(nodes, [prefix])
    ipsec = UserspaceIpsec(randomness.randbytes)
    signalling = UserspaceSignalling(IPv6Address(address), ipsec, lambda *pair: exported.append(pair))
    configuration = IkeConfiguration(
        Identity.from_text(f"{name}.example.org"), wall_clock=lambda: WALL_AT_START, lifetimes=lifetimes
    )
    policy = HomeAgentPolicy(IPv6Address(address), directory)
    if workers == 1:
        endpoint = IkeEndpoint(configuration, policy, randomness.randbytes, ipsec.allocate_spi)
    else:
        endpoint = WorkersInMemory(
            configuration, policy, directory, lambda: NodeDirectory(nodes, [prefix]), randomness, workers
        )
    home_links = HomeLinks(100.0)
    rules = HomeRegistration(
        IPv6Address(address),
        [prefix],
        3600,
        BindingCache(1000),
        may_use=directory.may_use,
        is_duplicate=home_links.is_duplicate,
        keyed_by_hand=directory.keyed_by_hand,
    )
    agent = HomeAgent(
        IPv6Address(address),
        directory,
        endpoint,
        signalling,
        Registrations(rules, signalling, home_links),
        UnprotectedSignalling(IPv6Address(address), BindingErrorResponder(0.0)),
    )
    limits = Limits(rate_per_s=1000.0, attempts=3, backoff_initial_s=1.0, backoff_max_s=10.0, give_up_after_s=200.0)
    scheduler = Scheduler(FixedConcurrency(8), limits, randomness)
    agent.attach(Takeover(scheduler, agent, timeouts=SwitchTimeouts(1.0, 20.0)))
    agent.install_static(0.0)
    return agent


@dataclass
class MemoryNetwork:
    """Carries datagrams and packets between home agents and nodes; time moves only when nothing is under way."""

    agents: dict[IPv6Address, HomeAgent] = field(default_factory=dict)
    nodes: dict[IPv6Address, MobileNode] = field(default_factory=dict)
    loss: float = 0.0
    random: random.Random = field(default_factory=lambda: random.Random(7))
    now: float = 0.0
    store_works: bool = True
    store_hangs: bool = False
    storing: list = field(default_factory=list)
    wire: list[bytes] = field(default_factory=list)
    happenings: list = field(default_factory=list)
    node_events: list = field(default_factory=list)
    detached: list[MobileNode] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return WALL_AT_START + self.now

    def run(self, until, seconds: float = 120.0) -> bool:
        """Lets things happen until ``until()`` holds; False if it does not within the given (virtual) time."""
        end = self.now + seconds
        while self.now <= end:
            while self._exchange():
                pass
            if until():
                return True
            parties = (*self.agents.values(), *self.nodes.values(), *self.detached)
            timers = [timer for party in parties if (timer := party.next_timer()) is not None]
            if not timers:
                return until()
            if min(timers) > end:
                self.now = end
                return until()
            self.now = max(self.now, min(timers))
            for party in parties:
                party.handle_timer(self.now)
        return until()

    def move(self, node: MobileNode, care_of_address: IPv6Address | None) -> None:
        """A node leaves its link, for another one or for none."""
        if self.nodes.get(node.care_of_address) is node:
            del self.nodes[node.care_of_address]
        if care_of_address is None:
            self.detached.append(node)
        else:
            self.nodes[care_of_address] = node
            self.detached = [each for each in self.detached if each is not node]
        node.care_of_address_changed(care_of_address, self.now)

    def happened(self, event: str) -> list:
        return [happening for happening in self.happenings if happening.event == event]

    def _lost(self) -> bool:
        return self.random.random() < self.loss

    def _exchange(self) -> bool:
        moved = False
        for agent in self.agents.values():
            self._settle(agent)
            for datagram in agent.datagrams_to_send():
                moved = True
                node = self.nodes.get(datagram.remote.address)
                if node is not None and not self._lost():
                    node.receive_ike(datagram.data, datagram.remote, datagram.local, self.now)
            for packet in agent.packets_to_send():
                moved = True
                self.wire.append(packet)
                node = self.nodes.get(parse_ipv6(packet).destination)
                if node is not None and not self._lost():
                    node.receive_packet(packet, self.now)
            agent.replace_used_up(self.now)
            self.happenings += agent.happenings()
        for node in self.nodes.values():
            self.node_events += node.events()
            for datagram in node.datagrams_to_send():
                moved = True
                agent = self.agents.get(datagram.remote.address)
                if agent is not None and not self._lost():
                    agent.receive_ike(datagram.data, SocketAddress(*datagram.local), self.now, datagram.remote.port)
            for packet in node.packets_to_send():
                moved = True
                self.wire.append(packet)
                parsed = parse_ipv6(packet)
                agent = self.agents.get(parsed.destination)
                if agent is not None and not self._lost():
                    agent.receive_protected(
                        parsed.payload, parsed.home_address_option, parsed.source, self.now, self.wall
                    )
        return moved

    def _settle(self, agent: HomeAgent) -> None:
        self.storing += ((agent, each) for each in agent.registrations.pending())
        if self.store_hangs:
            return
        storing, self.storing = self.storing, []
        for agent, registration in storing:
            if self.store_works:
                agent.stored([registration], self.now)
            else:
                agent.not_stored(registration)


class Scene:
    """Two home agents and some nodes of the first."""

    def __init__(
        self,
        count: int = 1,
        *,
        same_prefix: bool = True,
        agent_lifetimes: LifetimePolicy | None = None,
        node_lifetimes: LifetimePolicy | None = None,
        pooled: bool = False,
        other_home_agents: bool = False,
        static: dict[str, tuple[IPv6Address, list[StaticPair]]] | None = None,
        workers: int = 1,
    ) -> None:
        self.network = MemoryNetwork()
        agent_lifetimes = agent_lifetimes or LifetimePolicy()
        self.exported: list[tuple[SecurityAssociation, SecurityAssociation]] = []
        authorised = [
            AuthorisedNode(f"mn{index}@example.org", None if pooled else HOME_PREFIX[index], shared_key(index))
            for index in range(1, count + 1 + pooled)
        ]
        by_hand: list[list[AuthorisedNode]] = [[], []]
        for identity, (home_address, pairs) in (static or {}).items():
            for nodes, pair in zip(by_hand, pairs, strict=True):
                nodes.append(AuthorisedNode(identity, home_address, static=(pair,)))
        self.ha1 = make_home_agent(
            "ha1", "2001:db8:a1::1", authorised + by_hand[0], HOME_PREFIX, 1, agent_lifetimes, self.exported, workers
        )
        second_prefix = HOME_PREFIX if same_prefix else OTHER_PREFIX
        self.ha2 = make_home_agent(
            "ha2", "2001:db8:a2::1", authorised + by_hand[1], second_prefix, 2, agent_lifetimes, self.exported, workers
        )
        self.network.agents = {self.ha1.address: self.ha1, self.ha2.address: self.ha2}
        self.nodes = []
        for index, entry in enumerate(authorised[:count], 1):
            care_of_address = IPv6Address(f"2001:db8:c::{index}")
            node = MobileNode(
                NodeSettings(
                    home_address=entry.home_address or UNSPECIFIED,
                    care_of_address=care_of_address,
                    trusted_home_agents=("*.example.org",),
                    shared_key=entry.shared_key,
                    home_agent_identities={self.ha2.address: "ha2.example.org"} if other_home_agents else {},
                ),
                IkeConfiguration(
                    Identity.from_text(entry.identity),
                    wall_clock=lambda: WALL_AT_START,
                    lifetimes=node_lifetimes or LifetimePolicy(),
                ),
                random.Random(100 + index),
            )
            self.network.nodes[care_of_address] = node
            self.nodes.append(node)

    def register_all(self) -> None:
        for node in self.nodes:
            node.register(self.ha1.address, "ha1.example.org", self.network.now)
        assert self.network.run(lambda: all(node.registered for node in self.nodes))

    def fail_first(self) -> None:
        del self.network.agents[self.ha1.address]

    def to_recover(self) -> list[NodeToRecover]:
        result = []
        for binding in self.ha1.registrations.rules.cache.bindings():
            home_address = self.ha2.directory.assign(binding.identity, binding.home_address)
            result.append(
                NodeToRecover(
                    binding.identity,
                    home_address,
                    binding.care_of_address,
                    new_home_address=home_address != binding.home_address,
                )
            )
        return result


@pytest.fixture
def make_scene():
    return Scene


@pytest.fixture(params=[1, 3], ids=["one-process", "three-workers"])
def make_scene_of_any_workers(request):
    """Makes scenes whose home agents do IKEv2 themselves, and such whose workers do."""
    return partial(Scene, workers=request.param)
