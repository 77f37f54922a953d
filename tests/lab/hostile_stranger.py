"""Everything a stranger can send at a home agent, a bounded amount of it; run inside the stranger's namespace.

Usage: hostile_stranger.py STRANGER HOME_AGENT VICTIM_HOME_ADDRESS VICTIM_CARE_OF_ADDRESS SEED
"""

from __future__ import annotations

import random
import socket
import sys
import time
from ipaddress import IPv6Address

from control.ikev2.address import SocketAddress
from control.ikev2.child import ChildPolicy, ChildRequest
from control.ikev2.endpoint import IkeEndpoint
from control.ikev2.payloads import Identity
from control.ikev2.policy import IkeConfiguration
from control.ipsec.traffic_selector import TrafficSelector
from control.mobility.extension_headers import build_from_mobile_node, build_ipv6, encapsulate
from control.mobility.header import build_mobility_message
from control.mobility.messages import BindingUpdate, HomeAgentSwitch, UnknownMobilityMessage

ROUNDS = 400
ESP, MOBILITY, ICMPV6, FRAGMENT, DESTINATION_OPTIONS = 50, 135, 58, 44, 60


class Anyone:
    """A policy that would talk to anybody."""

    def shared_key(self, local, remote):
        return b"guessed"

    def accept_peer(self, remote, as_initiator):
        return True

    def select_child(self, sa, local_selectors, remote_selectors):
        return ChildPolicy(local_selectors, remote_selectors)

    def configuration_reply(self, sa, request):
        return None


def handshake(me: IPv6Address, agent: IPv6Address, dice: random.Random) -> IkeEndpoint:
    """An endpoint that has begun a real exchange under somebody's name, with a guessed key."""
    configuration = IkeConfiguration(Identity.from_text("mn1@mn.example.org"), wall_clock=time.time)
    endpoint = IkeEndpoint(configuration, Anyone(), dice.randbytes, lambda: dice.randrange(256, 2**32))
    child = ChildRequest((TrafficSelector.host(me, MOBILITY),), (TrafficSelector.host(agent, MOBILITY),))
    endpoint.connect(
        SocketAddress(me),
        SocketAddress(agent),
        0.0,
        first_child=child,
        remote_identity=Identity.from_text("ha1.example.org"),
    )
    return endpoint


def mutated(data: bytes, dice: random.Random) -> bytes:
    copy = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        copy[dice.randrange(len(copy))] = dice.randrange(256)
    return bytes(copy[: dice.choice((len(copy), dice.randrange(len(copy)), len(copy)))])


def attack_ike(me: IPv6Address, agent: IPv6Address, dice: random.Random) -> None:
    """Mutated and whole IKE messages; whole ones are answered, so that IKE_AUTH gets its turn."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.bind((str(me), 500))
        sock.settimeout(0.05)
        for _ in range(ROUNDS):
            endpoint = handshake(me, agent, dice)
            for datagram in endpoint.datagrams_to_send():
                sock.sendto(mutated(datagram.data, dice), (str(agent), 500))
                sock.sendto(datagram.data, (str(agent), 500))
            try:
                answer = sock.recv(65_535)
            except TimeoutError:
                continue
            endpoint.receive_datagram(answer, SocketAddress(me), SocketAddress(agent), 0.0)
            for datagram in endpoint.datagrams_to_send():
                sock.sendto(mutated(datagram.data, dice), (str(agent), 500))
                sock.sendto(datagram.data, (str(agent), 500))
            sock.sendto(dice.randbytes(dice.randint(0, 200)), (str(agent), 500))


def attack_mobility(
    me: IPv6Address, agent: IPv6Address, home: IPv6Address, care_of: IPv6Address, dice: random.Random
) -> None:
    """Unprotected and garbled signalling, forged tunnels, odd extension headers."""
    update = build_mobility_message(BindingUpdate(60_000, 100, True, True), home, agent)
    switch = build_mobility_message(HomeAgentSwitch((me,), bootstrap=True), home, agent)
    unknown = build_mobility_message(UnknownMobilityMessage(99, bytes(10)), me, agent)
    inner = build_ipv6(home, IPv6Address("2001:db8:c::1"), ICMPV6, bytes(8))
    packets = [
        build_from_mobile_node(me, agent, home, MOBILITY, update),
        build_from_mobile_node(care_of, agent, home, MOBILITY, update),
        build_from_mobile_node(me, agent, home, MOBILITY, switch),
        build_from_mobile_node(me, agent, home, ESP, dice.randbytes(64)),
        build_ipv6(me, agent, ESP, dice.randbytes(32)),
        build_ipv6(me, agent, MOBILITY, unknown),
        encapsulate(me, agent, inner),
        build_ipv6(me, agent, FRAGMENT, bytes((41, 0, 0, 1)) + dice.randbytes(60)),
        build_ipv6(me, agent, DESTINATION_OPTIONS, bytes((ESP, 2, 1, 2, 0, 0, 0x1E, 16)) + home.packed + bytes(16)),
    ]
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        for _ in range(ROUNDS):
            for packet in packets:
                sock.sendto(packet, (str(agent), 0))
                garbled = packet[:40] + mutated(packet[40:], dice)
                sock.sendto(garbled[:4] + (len(garbled) - 40).to_bytes(2, "big") + garbled[6:], (str(agent), 0))


if __name__ == "__main__":
    stranger, home_agent, home_address, care_of_address = map(IPv6Address, sys.argv[1:5])
    randomness = random.Random(int(sys.argv[5]))
    attack_ike(stranger, home_agent, randomness)
    attack_mobility(stranger, home_agent, home_address, care_of_address, randomness)
