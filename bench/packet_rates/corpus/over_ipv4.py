"""Frames of tunnels over IPv4, and what becomes of each where there are any; elsewhere the kernel gets them."""

from __future__ import annotations

from ipaddress import IPv4Address

from scapy.layers.inet import ICMP, IP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import ICMPv6EchoRequest
from scapy.packet import Packet, Raw

from bench.packet_rates.corpus.addresses import (
    CORRESPONDENT,
    HOME,
    HOME_AGENT,
    IPV4_CARE_OF,
    IPV4_HOME,
    IPV4_HOME_AGENT,
    NAT,
    NAT_HOME,
    NAT_PORT,
)
from bench.packet_rates.corpus.headers import DATA, IKE_REQUEST, link, packet
from datapath.reasons import Reason


def _over_ipv4(payload: Packet, source: IPv4Address = IPV4_CARE_OF, **fields: object) -> bytes:
    return bytes(link() / IP(src=str(source), dst=str(IPV4_HOME_AGENT), **fields) / payload)


def _icmp(error: Packet, inner: Packet, node: IPv4Address = IPV4_CARE_OF) -> bytes:
    """The error of a router about what is on its way to a node over IPv4."""
    outer = IP(src=str(IPV4_HOME_AGENT), dst=str(node), proto=41 if node is IPV4_CARE_OF else 17, flags="DF", id=0)
    if node is not IPV4_CARE_OF:
        outer /= UDP(sport=4191, dport=NAT_PORT, chksum=0)
    return _over_ipv4(error / Raw(bytes(outer / inner)[:500]), IPv4Address("198.18.0.1"))


def _in_udp(inner: Packet, port: int = NAT_PORT) -> bytes:
    return _over_ipv4(UDP(sport=port, dport=4191) / inner, NAT)


OVER_IPV4: dict[str, tuple[bytes, Reason]] = {
    "ipv4": (_over_ipv4(packet(IPV4_HOME, CORRESPONDENT) / DATA), Reason.FORWARD_DECAPSULATED),
    "ipv4-marked": (
        _over_ipv4(packet(IPV4_HOME, CORRESPONDENT, tc=2) / DATA, tos=3),
        Reason.FORWARD_DECAPSULATED,
    ),
    "ipv4-in-udp": (_in_udp(packet(NAT_HOME, CORRESPONDENT) / DATA), Reason.FORWARD_DECAPSULATED),
    "ipv4-from-another-port": (
        _in_udp(packet(NAT_HOME, CORRESPONDENT) / DATA, NAT_PORT + 1),
        Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS,
    ),
    "ipv4-for-another": (
        _over_ipv4(packet(HOME, CORRESPONDENT) / DATA),
        Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS,
    ),
    "ipv4-to-a-node-over-ipv6": (
        _over_ipv4(packet(IPV4_HOME, HOME) / DATA),
        Reason.FORWARD_REENCAPSULATED,
    ),
    "ipv4-to-a-node-behind-a-nat": (
        _over_ipv4(packet(IPV4_HOME, NAT_HOME) / DATA),
        Reason.FORWARD_REENCAPSULATED,
    ),
    "ipv4-to-itself": (
        _over_ipv4(packet(IPV4_HOME, IPV4_HOME) / DATA),
        Reason.DROP_TUNNEL_BACK,
    ),
    "ipv4-at-its-last-hop": (
        _in_udp(packet(NAT_HOME, HOME, hlim=1) / DATA),
        Reason.REPLY_TIME_EXCEEDED,
    ),
    "ipv4-to-the-home-agent": (
        _over_ipv4(packet(IPV4_HOME, HOME_AGENT) / ICMPv6EchoRequest()),
        Reason.PASS_DECAPSULATED_LOCAL,
    ),
    "ipv4-signalling": (
        _in_udp(packet(NAT_HOME, HOME_AGENT, nh=50) / Raw(bytes(40))),
        Reason.PASS_UDP_SIGNALLING,
    ),
    "ipv4-fragment": (
        _over_ipv4(packet(IPV4_HOME, CORRESPONDENT) / DATA, flags="MF"),
        Reason.PASS_IPV4_FRAGMENT,
    ),
    "ipv4-options": (
        _over_ipv4(packet(IPV4_HOME, CORRESPONDENT) / DATA, options=[IPOption_Router_Alert()]),
        Reason.PASS_IPV4_OPTIONS,
    ),
    "ipv4-trouble-in-the-tunnel": (
        _icmp(ICMP(type=3, code=1), packet(CORRESPONDENT, IPV4_HOME) / DATA),
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "ipv4-trouble-in-a-tunnel-between-nodes": (
        _icmp(ICMP(type=11, code=0), packet(NAT_HOME, NAT_HOME) / DATA, NAT),
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "ipv4-trouble-in-another-tunnel": (
        _icmp(ICMP(type=3, code=1), packet(CORRESPONDENT, HOME) / DATA),
        Reason.PASS_TUNNEL_ERROR_UNKNOWN,
    ),
    "ipv4-too-big-in-the-tunnel": (
        _icmp(ICMP(type=3, code=4, nexthopmtu=1400), packet(HOME, IPV4_HOME) / Raw(bytes(1412))),
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "ipv4-too-big-in-a-tunnel-in-udp": (
        _icmp(ICMP(type=3, code=4, nexthopmtu=1400), packet(CORRESPONDENT, NAT_HOME) / Raw(bytes(1412)), NAT),
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "ipv4-small-and-too-big-in-the-tunnel": (
        _icmp(ICMP(type=3, code=4, nexthopmtu=1200), packet(CORRESPONDENT, IPV4_HOME) / Raw(bytes(1240))),
        Reason.DROP_TUNNEL_ERROR,
    ),
    "ipv4-too-big-for-a-link-that-it-fits": (
        _icmp(ICMP(type=3, code=4, nexthopmtu=1400), packet(CORRESPONDENT, IPV4_HOME) / Raw(bytes(1300))),
        Reason.DROP_TUNNEL_MTU_INVALID,
    ),
    "ipv4-ping": (_over_ipv4(ICMP() / Raw(bytes(80))), Reason.PASS_HOME_AGENT),
    "ipv4-ike": (_over_ipv4(UDP(sport=500, dport=500) / IKE_REQUEST), Reason.PASS_HOME_AGENT),
}
