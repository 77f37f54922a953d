"""A small home agent made of the real engines, and a network in memory between it and mobile nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from random import Random

import pytest
from msgspec.structs import replace

import control.ikev2.events as ike
from control.ikev2.address import SocketAddress
from control.ikev2.child import ChildPolicy, ChildRequest
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.numbers import ConfigurationType
from control.ikev2.payloads import ConfigurationPayload, Identity
from control.ikev2.payloads.configuration import ConfigurationAttribute
from control.ikev2.policy import IkeConfiguration
from control.ipsec.errors import EspError
from control.ipsec.security_association import security_association_pair
from control.ipsec.traffic_selector import PROTOCOL_ICMPV6, PROTOCOL_MOBILITY, TrafficSelector
from control.ipsec.udp_encapsulation import PROTOCOL_UDP, unwrap_from_udp
from control.ipsec.userspace import UserspaceIpsec
from control.mobile_node.events import NodeEvent
from control.mobile_node.node import MobileNode
from control.mobile_node.settings import NodeSettings
from control.mobility.binding_cache import BindingCache
from control.mobility.extension_headers import build_ipv6, build_to_mobile_node, encapsulate, parse_ipv6
from control.mobility.header import build_mobility_message, parse_mobility_message
from control.mobility.home_registration import HomeRegistration
from control.mobility.messages import BindingUpdate, HomeAgentSwitch, MobilityMessage

EPOCH = 1_800_000_000.0
KEY = b"a key shared by the node and its home agents"
CARE_OF_ADDRESS = IPv6Address("2001:db8:c0::11")
HOME_ADDRESS = IPv6Address("2001:db8:100::11")
OTHER_HOME_ADDRESS = IPv6Address("2001:db8:200::11")
HA1 = IPv6Address("2001:db8:a1::1")
HA2 = IPv6Address("2001:db8:a2::1")
CORRESPONDENT = IPv6Address("2001:db8:cc::1")
NODE_IDENTITY = "mn1@mn.example.org"
ESP = 50


def ike_configuration(identity, **changes):
    arguments = {"wall_clock": lambda: EPOCH, **changes}
    return IkeConfiguration(local_identity=Identity.from_text(identity), **arguments)


@dataclass
class HomeAgentPolicy:
    address: IPv6Address
    home_addresses: IPv6Network
    key: bytes | None

    def shared_key(self, local, remote):
        return self.key

    def accept_peer(self, remote, as_initiator):
        return str(remote).endswith("@mn.example.org")

    def select_child(self, sa, local_selectors, remote_selectors):
        home_address = remote_selectors[0].first_address
        if home_address not in self.home_addresses:
            return None
        return ChildPolicy(
            (TrafficSelector.host(self.address, PROTOCOL_MOBILITY),),
            (TrafficSelector.host(home_address, PROTOCOL_MOBILITY),),
        )

    def configuration_reply(self, sa, request):
        return None


class SmallHomeAgent:
    """IKEv2, ESP and home registration, driven by the test where initiative is needed."""

    def __init__(self, address, identity, prefix, key=KEY, seed=0, max_lifetime_s=3600.0, networks=None, **ike):
        random = Random(f"{address} {seed}")
        self.address = address
        self.identity = identity
        self.ipsec = UserspaceIpsec(random.randbytes)
        self.policy = HomeAgentPolicy(address, IPv6Network("2001:db8::/32"), key)
        configuration = ike_configuration(identity, **ike)
        self.endpoint = IkeEndpoint(configuration, self.policy, random.randbytes, self.ipsec.allocate_spi)
        self.cache = BindingCache(10_000)
        self.rules = HomeRegistration(
            address,
            [IPv6Network(prefix)],
            max_lifetime_s,
            self.cache,
            mobile_networks=None if networks is None else lambda identity: networks,
        )
        self.care_of_addresses: dict[IPv6Address, IPv6Address] = {}
        self.packets: list[bytes] = []
        self.inner: list[bytes] = []
        self.received: list[MobilityMessage] = []
        self.ike_events: list[ike.Event] = []
        self.counters: Counter[str] = Counter()
        self.established: list[object] = []
        self.silent = False
        self.addresses_in_switch: tuple[IPv6Address, ...] = (address,)
        self.status_to_answer: int | None = None

    # Initiative

    def bootstrap(
        self,
        now,
        home_address=HOME_ADDRESS,
        *,
        assign=False,
        care_of_address=CARE_OF_ADDRESS,
        identity=NODE_IDENTITY,
    ):
        """IKEv2 towards the node; when it is up, the child SA for the Mobility Header and a Home Agent Switch."""
        reply = None
        if assign:
            attribute = ConfigurationAttribute.internal_ip6_address(home_address, 64)
            reply = ConfigurationPayload(ConfigurationType.REPLY, (attribute,))
        self.care_of_addresses[home_address] = care_of_address
        self.endpoint.connect(
            SocketAddress(self.address),
            SocketAddress(care_of_address),
            now,
            remote_identity=Identity.from_text(identity),
            first_child=self._child(home_address, PROTOCOL_ICMPV6),
            configuration=reply,
            context=home_address,
        )

    def send(self, message, now, home_address=HOME_ADDRESS, *, protect=True, care_of_address=CARE_OF_ADDRESS):
        header = build_mobility_message(message, self.address, home_address)
        protocol, payload = PROTOCOL_MOBILITY, header
        if protect:
            pair = self.ipsec.outbound_for(self.address, home_address, PROTOCOL_MOBILITY, message.message_type << 8)
            wire_ends = (self.address, care_of_address)
            protocol, payload = self.ipsec.seal(pair, PROTOCOL_MOBILITY, header, now, wire_ends)
        self.packets.append(build_to_mobile_node(self.address, care_of_address, home_address, protocol, payload))

    def send_switch(self, now, home_address=HOME_ADDRESS):
        switch = HomeAgentSwitch(self.addresses_in_switch, bootstrap=True)
        self.send(switch, now, home_address, care_of_address=self.care_of_addresses[home_address])

    def _child(self, home_address, protocol):
        return ChildRequest(
            (TrafficSelector.host(self.address, protocol),), (TrafficSelector.host(home_address, protocol),)
        )

    # Inputs

    def receive_ike(self, data, local, remote, now):
        self.endpoint.receive_datagram(data, local, remote, now)
        self.process_ike_events(now)

    def process_ike_events(self, now):
        while events := self.endpoint.events():
            for sa, event in events:
                self.ike_events.append(event)
                match event:
                    case ike.IkeEstablished():
                        self.established.append(sa)
                        if sa.context is not None:
                            sa.create_child(self._child(sa.context, PROTOCOL_MOBILITY), now)
                    case ike.ChildEstablished(child=child):
                        home_address = child.remote_selectors[0].first_address
                        pair = security_association_pair(child, self.address, home_address)
                        self.ipsec.install(*pair)
                        if sa.context is not None and child.local_selectors[0].protocol == PROTOCOL_MOBILITY:
                            self.send_switch(now, home_address)
                    case ike.ChildClosed(child=child):
                        self.ipsec.remove(child.inbound_spi)

    def receive_packet(self, packet, now):
        parsed = parse_ipv6(packet)
        if parsed.next_header == 41:
            self.inner.append(parsed.payload)
            return
        if parsed.next_header == PROTOCOL_UDP:
            self.counters["esp-in-udp"] += 1
            parsed = replace(parsed, next_header=ESP, payload=unwrap_from_udp(parsed.payload)[2])
        if parsed.next_header != ESP or parsed.home_address_option is None:
            self.counters["other"] += 1
            return
        home_address = parsed.home_address_option
        try:
            opened = self.ipsec.unprotect(home_address, self.address, parsed.payload, now)
        except EspError as error:
            self.counters[error.reason] += 1
            return
        message = parse_mobility_message(opened.payload, home_address, self.address)
        self.received.append(message)
        if self.silent or not isinstance(message, BindingUpdate):
            return
        outcome = self.rules.process(message, home_address, parsed.source, NODE_IDENTITY, EPOCH + now)
        self.rules.commit(outcome)
        answer = outcome.acknowledgement
        if answer is not None and self.status_to_answer is not None:
            answer = type(answer)(self.status_to_answer, answer.sequence_number)
        if answer is not None:
            self.send(answer, now, home_address, care_of_address=parsed.source)

    def handle_timer(self, now):
        self.endpoint.handle_timer(now)
        self.process_ike_events(now)

    def next_timer(self):
        return self.endpoint.next_timer()

    def datagrams_to_send(self):
        return self.endpoint.datagrams_to_send()

    def packets_to_send(self):
        packets, self.packets = self.packets, []
        return packets

    @property
    def binding_updates(self):
        return [message for message in self.received if isinstance(message, BindingUpdate)]


class Time:
    """Lets time pass, for something that has `now`, `settle()` and `parties()`."""

    def run(self, seconds):
        """Let time pass from timer to timer."""
        end = self.now + seconds
        self.settle()
        while True:
            parties = self.parties()
            times = [at for party in parties if (at := party.next_timer()) is not None]
            if not times or min(times) > end:
                break
            self.now = max(self.now, min(times))
            for party in parties:
                party.handle_timer(self.now)
            self.settle()
        self.now = end


@dataclass
class World(Time):
    """Delivers between nodes and home agents at once, or not at all."""

    now: float = 1000.0
    nodes: dict[IPv6Address, MobileNode] = field(default_factory=dict)
    home_agents: dict[IPv6Address, SmallHomeAgent] = field(default_factory=dict)
    dead: set[IPv6Address] = field(default_factory=set)
    lose: Callable[[], bool] = lambda: False
    events: list[NodeEvent] = field(default_factory=list)
    inner: list[bytes] = field(default_factory=list)
    to_home_agents: list[bytes] = field(default_factory=list)

    def settle(self):
        """Deliver until nobody has anything to say."""
        while self._exchange():
            pass

    def parties(self):
        return [*self.nodes.values(), *self._alive()]

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def _alive(self):
        return [agent for address, agent in self.home_agents.items() if address not in self.dead]

    def _exchange(self):
        busy = False
        for party in (*self.nodes.values(), *self._alive()):
            for datagram in party.datagrams_to_send():
                busy = True
                receiver = self._receiver(datagram.remote.address)
                if receiver is not None and not self.lose():
                    receiver.receive_ike(datagram.data, datagram.remote, datagram.local, self.now)
            for packet in party.packets_to_send():
                busy = True
                self.deliver(packet)
        for node in self.nodes.values():
            self.events += node.events()
        return busy

    def deliver(self, packet):
        destination = IPv6Address(packet[24:40])
        receiver = self._receiver(destination)
        if receiver is None or self.lose():
            return
        if isinstance(receiver, MobileNode):
            inner = receiver.receive_packet(packet, self.now)
            if inner is not None:
                self.inner.append(inner)
        else:
            self.to_home_agents.append(packet)
            receiver.receive_packet(packet, self.now)

    def _receiver(self, address):
        if address in self.dead:
            return None
        return self.nodes.get(address) or self.home_agents.get(address)

    # What the tests build with

    def add_node(self, ike=None, **changes):
        settings = NodeSettings(
            **{
                "home_address": HOME_ADDRESS,
                "care_of_address": CARE_OF_ADDRESS,
                "trusted_home_agents": ("*.example.org",),
                "shared_key": KEY,
                "lifetime_s": 600.0,
                **changes,
            }
        )
        node = MobileNode(settings, ike_configuration(NODE_IDENTITY, **(ike or {})), Random(7))
        self.nodes[settings.care_of_address] = node
        return node

    def add_home_agent(self, address=HA1, identity="ha1.example.org", prefix="2001:db8:100::/64", **arguments):
        agent = SmallHomeAgent(address, identity, prefix, **arguments)
        self.home_agents[address] = agent
        return agent


def tunnelled(home_agent, inner_destination=HOME_ADDRESS, payload=b"payload of nobody"):
    inner = build_ipv6(CORRESPONDENT, inner_destination, 59, payload)
    return inner, encapsulate(home_agent, CARE_OF_ADDRESS, inner)


@pytest.fixture
def small_home_agent():
    """Makes home agents for those who bring sockets for them."""
    return SmallHomeAgent


@pytest.fixture
def world():
    return World()


@pytest.fixture
def registered(world):
    """A world with a node registered at HA1, and HA2 ready."""
    node = world.add_node()
    world.add_home_agent()
    world.add_home_agent(HA2, "ha2.example.org")
    node.register(HA1, "ha1.example.org", world.now)
    world.settle()
    assert node.registered
    return world
