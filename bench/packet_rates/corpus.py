"""A well-formed frame of every way through the program, from the core unless it says otherwise, built with scapy.

The tests of the program mutate them, `bench.datapath` times them. A feature adds its frames here, and to
``tests/datapath/expected`` what becomes of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from scapy.contrib.ikev2 import IKEv2
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    HAO,
    MIP6MH_BU,
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptUnknown,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    in6_getnsma,
    in6_getnsmac,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from datapath.reasons import Reason

HOME_AGENT = IPv6Address("2001:db8:f::1")
OTHER_HOME_AGENT = IPv6Address("2001:db8:f::2")
CORRESPONDENT = IPv6Address("2001:db8:c::2")
HOME = IPv6Address("2001:db8:100::5")
CARE_OF = IPv6Address("2001:db8:f::5")
OTHER_HOME = IPv6Address("2001:db8:100::6")
OTHER_CARE_OF = IPv6Address("2001:db8:f::6")
UNBOUND_HOME = IPv6Address("2001:db8:100::99")
MOBILE_NETWORK_HOST = IPv6Address("2001:db8:700:12::7")
"""Of the network behind the mobile router with the home address HOME, where there are mobile networks."""
IPV4_HOME_AGENT = IPv4Address("192.0.2.1")
IPV4_HOME = IPv6Address("2001:db8:100::7")
IPV4_CARE_OF = IPv4Address("192.0.2.5")
"""Where there are tunnels over IPv4, the care-of address of IPV4_HOME."""
NAT_HOME = IPv6Address("2001:db8:100::8")
NAT = IPv4Address("192.0.2.6")
NAT_PORT = 20_000
"""The care-of address and port of NAT_HOME, whose tunnel is in UDP."""

VLAN_OF_HOSTS, VLAN_OF_NODES, UNKNOWN_VLAN = 10, 20, 77
VLAN_CORRESPONDENT = IPv6Address("2001:db8:aa::2")
VLAN_HOME = IPv6Address("2001:db8:100::9")
VLAN_CARE_OF = IPv6Address("2001:db8:bb::5")
"""Where there are VLANs: a host in one, and a binding whose care-of address is in the other."""

CORE_MAC = "02:00:00:00:00:04"
NODE_MAC = "02:00:00:00:0f:05"

_UDP = UDP(sport=1000, dport=2000) / Raw(b"payload!")


@dataclass(frozen=True)
class Sample:
    """A frame and what becomes of it.

    Attributes:
        reason: in a data path without limits, mobile networks, home links, tunnels over IPv4 and VLANs.
        with_networks: in one with limits, mobile networks and tunnels over IPv4, if it is certain and something else.
        with_links: in one with home links, VLANs and mobile networks, if it is something else.
    """

    frame: bytes
    reason: Reason
    with_networks: Reason | None = None
    with_links: Reason | None = None


def link(**fields: object) -> Packet:
    """The Ethernet header of a frame from the next hop to the interface ``core``."""
    return Ether(**({"src": NODE_MAC, "dst": CORE_MAC} | fields))


def packet(source: IPv6Address, destination: IPv6Address, **fields: object) -> Packet:
    """An IPv6 header."""
    return IPv6(src=str(source), dst=str(destination), **({"hlim": 60} | fields))


def _tunnelled(inner: Packet, **fields: object) -> bytes:
    return bytes(link() / packet(CARE_OF, HOME_AGENT, nh=41, **fields) / inner)


def _to_home(payload: Packet = _UDP, source: IPv6Address = CORRESPONDENT, **fields: object) -> bytes:
    return bytes(link() / packet(source, HOME, **fields) / payload)


def _from_home(destination: IPv6Address, payload: Packet = _UDP, **fields: object) -> Packet:
    return packet(HOME, destination, **fields) / payload


def _to_agent(*payload: Packet, source: IPv6Address = CARE_OF, **fields: object) -> bytes:
    whole: Packet = packet(source, HOME_AGENT, **fields)
    for part in payload:
        whole /= part
    return bytes(link() / whole)


def _option(home_address: IPv6Address = HOME, **fields: object) -> Packet:
    return IPv6ExtHdrDestOpt(options=[HAO(hoa=str(home_address))], **fields)


def _quoting(error: Packet, inner: Packet) -> bytes:
    quoted = bytes(packet(HOME_AGENT, CARE_OF, nh=41, hlim=64) / inner)[:1000]
    return bytes(link() / packet(IPv6Address("2001:db8:f::9"), HOME_AGENT) / error / Raw(quoted))


def _over_ipv4(payload: Packet, source: IPv4Address = IPV4_CARE_OF, **fields: object) -> bytes:
    return bytes(link() / IP(src=str(source), dst=str(IPV4_HOME_AGENT), **fields) / payload)


def _icmp(error: Packet, inner: Packet, node: IPv4Address = IPV4_CARE_OF) -> bytes:
    """The error of a router about what is on its way to a node over IPv4."""
    outer = IP(src=str(IPV4_HOME_AGENT), dst=str(node), proto=41 if node is IPV4_CARE_OF else 17, flags="DF", id=0)
    if node is not IPV4_CARE_OF:
        outer /= UDP(sport=4191, dport=NAT_PORT, chksum=0)
    return _over_ipv4(error / Raw(bytes(outer / inner)[:500]), IPv4Address("198.18.0.1"))


def _solicitation(
    target: IPv6Address, *options: Packet, source: str = "fe80::9", to: IPv6Address | None = None
) -> Packet:
    group = IPv6Address(in6_getnsma(target.packed))
    asked: Packet = IPv6(src=source, dst=str(to or group), hlim=255) / ICMPv6ND_NS(tgt=str(target))
    for option in options:
        asked /= option
    return Ether(src=NODE_MAC, dst=CORE_MAC if to else in6_getnsmac(group.packed)) / asked


def _tagged(frame: Packet | bytes, identifier: int, **fields: object) -> bytes:
    whole = Ether(bytes(frame))
    header = {"src": whole.src, "dst": whole.dst}
    return bytes(Ether(**header) / Dot1Q(vlan=identifier, type=whole.type, **fields) / Raw(bytes(whole.payload)))


def _in_udp(inner: Packet, port: int = NAT_PORT) -> bytes:
    return _over_ipv4(UDP(sport=port, dport=4191) / inner, NAT)


_ike = IKEv2(init_SPI=b"initiate", next_payload=33, exch_type=34, flags=8, length=228) / Raw(bytes(200))

_SOURCE = ICMPv6NDOptSrcLLAddr(lladdr=NODE_MAC)
_NONCE = ICMPv6NDOptUnknown(type=14, data=b"abcdef")
_from_vlan_home = packet(VLAN_CARE_OF, HOME_AGENT, nh=41) / packet(VLAN_HOME, VLAN_CORRESPONDENT) / _UDP

_SAMPLES: dict[str, tuple[bytes, Reason] | tuple[bytes, Reason, Reason | None]] = {
    "to-a-home-address": (_to_home(), Reason.FORWARD_ENCAPSULATED),
    "to-a-home-address-marked": (_to_home(tc=3, fl=9), Reason.FORWARD_ENCAPSULATED),
    "to-a-home-address-full-size": (_to_home(Raw(bytes(1420))), Reason.FORWARD_ENCAPSULATED),
    "too-big": (_to_home(UDP() / Raw(bytes(1440))), Reason.REPLY_PACKET_TOO_BIG),
    "too-big-error": (_to_home(ICMPv6DestUnreach() / Raw(bytes(1440))), Reason.DROP_TOO_BIG),
    "hop-limit-used-up": (_to_home(hlim=1), Reason.REPLY_TIME_EXCEEDED),
    "hop-limit-used-up-by-an-error": (_to_home(ICMPv6DestUnreach(), hlim=1), Reason.DROP_HOP_LIMIT),
    "neighbour-discovery": (_to_home(ICMPv6ND_NS(tgt=str(HOME)), hlim=255), Reason.PASS_NEIGHBOUR_DISCOVERY),
    "link-local-source": (_to_home(source=IPv6Address("fe80::1")), Reason.PASS_UNROUTABLE_SOURCE),
    "to-a-mobile-network": (
        bytes(link() / packet(CORRESPONDENT, MOBILE_NETWORK_HOST) / _UDP),
        Reason.PASS_NOT_OURS,
        Reason.FORWARD_ENCAPSULATED,
    ),
    "to-a-node-over-ipv4": (
        bytes(link() / packet(CORRESPONDENT, IPV4_HOME, tc=5) / _UDP),
        Reason.PASS_NOT_OURS,
        Reason.FORWARD_ENCAPSULATED,
    ),
    "to-a-node-behind-a-nat": (
        bytes(link() / packet(CORRESPONDENT, NAT_HOME) / UDP() / Raw(bytes(1424))),
        Reason.PASS_NOT_OURS,
        Reason.FORWARD_ENCAPSULATED,
    ),
    "too-big-for-a-tunnel-in-udp": (
        bytes(link() / packet(CORRESPONDENT, NAT_HOME) / UDP() / Raw(bytes(1425))),
        Reason.PASS_NOT_OURS,
        Reason.REPLY_PACKET_TOO_BIG,
    ),
    "elsewhere": (bytes(link() / packet(CORRESPONDENT, IPv6Address("2001:db8:77::1")) / _UDP), Reason.PASS_NOT_OURS),
    "tunnelled-to-a-correspondent": (_tunnelled(_from_home(CORRESPONDENT)), Reason.FORWARD_DECAPSULATED),
    "tunnelled-tcp": (_tunnelled(_from_home(CORRESPONDENT, TCP(), tc=2), tc=3), Reason.FORWARD_DECAPSULATED),
    "tunnelled-through-congestion": (_tunnelled(_from_home(CORRESPONDENT), tc=3), Reason.DROP_TUNNEL_CONGESTION),
    "tunnelled-to-another-node": (_tunnelled(_from_home(OTHER_HOME)), Reason.FORWARD_REENCAPSULATED),
    "tunnelled-to-another-node-too-big": (
        _tunnelled(_from_home(OTHER_HOME, Raw(bytes(1421)))),
        Reason.REPLY_PACKET_TOO_BIG,
    ),
    "tunnelled-to-another-node-at-its-last-hop": (
        _tunnelled(_from_home(OTHER_HOME, hlim=1)),
        Reason.REPLY_TIME_EXCEEDED,
    ),
    "tunnelled-to-the-home-agent": (
        _tunnelled(_from_home(HOME_AGENT, ICMPv6EchoRequest(), hlim=255)),
        Reason.PASS_DECAPSULATED_LOCAL,
    ),
    "tunnelled-at-its-last-hop": (_tunnelled(_from_home(CORRESPONDENT, hlim=1)), Reason.PASS_DECAPSULATED_HOP_LIMIT),
    "tunnelled-by-a-stranger": (_tunnelled(packet(UNBOUND_HOME, CORRESPONDENT) / _UDP), Reason.DROP_TUNNEL_NO_BINDING),
    "tunnelled-from-a-mobile-network": (
        _tunnelled(packet(MOBILE_NETWORK_HOST, CORRESPONDENT) / _UDP),
        Reason.DROP_TUNNEL_NO_BINDING,
        Reason.FORWARD_DECAPSULATED,
    ),
    "tunnelled-to-the-own-network": (
        _tunnelled(_from_home(MOBILE_NETWORK_HOST)),
        Reason.PASS_DECAPSULATED_SLOW_PATH,
        Reason.DROP_TUNNEL_BACK,
    ),
    "tunnelled-to-a-node-over-ipv4": (
        _tunnelled(_from_home(IPV4_HOME)),
        Reason.PASS_DECAPSULATED_SLOW_PATH,
        Reason.FORWARD_REENCAPSULATED,
    ),
    "tunnelled-for-another": (
        _tunnelled(packet(OTHER_HOME, CORRESPONDENT) / _UDP),
        Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS,
    ),
    "tunnelled-to-a-group": (_tunnelled(_from_home(IPv6Address("ff0e::1"))), Reason.DROP_TUNNEL_DESTINATION),
    "tunnelled-ipv4": (_tunnelled(IP() / UDP()), Reason.DROP_TUNNEL_MALFORMED),
    "ike": (_to_agent(UDP(sport=500, dport=500), _ike), Reason.PASS_HOME_AGENT),
    "ike-with-marker": (_to_agent(UDP(sport=4500, dport=4500), Raw(bytes(4)), _ike), Reason.PASS_HOME_AGENT),
    "ike-behind-options": (
        _to_agent(IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]), UDP(sport=500, dport=500), _ike),
        Reason.PASS_EXTENSION_HEADERS,
    ),
    "ike-in-a-fragment": (
        _to_agent(IPv6ExtHdrFragment(id=7, m=1), UDP(sport=500, dport=500), _ike),
        Reason.PASS_FRAGMENT,
    ),
    "esp": (_to_agent(Raw(bytes(range(1, 41))), nh=50), Reason.PASS_HOME_AGENT),
    "mobility-header": (_to_agent(MIP6MH_BU(seq=1)), Reason.PASS_HOME_AGENT),
    "echo": (_to_agent(ICMPv6EchoRequest(data=b"x")), Reason.PASS_HOME_AGENT),
    "destination-options": (
        _to_agent(IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]), UDP()),
        Reason.PASS_DESTINATION_OPTIONS,
    ),
    "home-address-and-esp": (_to_agent(_option(nh=50), Raw(bytes(40))), Reason.PASS_HOME_ADDRESS_SWAPPED),
    "home-address-and-esp-in-udp": (
        _to_agent(_option(), UDP(sport=4500, dport=4500, chksum=0xABCD), Raw(b"\0\0\1\0" + bytes(30))),
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "home-address-and-mobility-header": (
        _to_agent(_option(UNBOUND_HOME), MIP6MH_BU(seq=1)),
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "home-address-and-echo": (_to_agent(_option(), ICMPv6EchoRequest()), Reason.PASS_HOME_ADDRESS_SWAPPED),
    "home-address-behind-hop-by-hop-options": (
        _to_agent(IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]), _option(nh=50), Raw(bytes(40))),
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "home-address-behind-other-options-and-a-routing-header": (
        _to_agent(
            IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]),
            IPv6ExtHdrRouting(type=200, segleft=0, addresses=[]),
            _option(nh=50),
            Raw(bytes(40)),
        ),
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "home-address-unbound": (_to_agent(_option(UNBOUND_HOME), _UDP), Reason.REPLY_BINDING_ERROR),
    "home-address-unbound-and-esp-in-a-fragment": (
        _to_agent(_option(UNBOUND_HOME), IPv6ExtHdrFragment(nh=50, offset=5), Raw(bytes(40))),
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "home-address-of-a-group": (_to_agent(_option(IPv6Address("ff02::1")), _UDP), Reason.DROP_HOME_ADDRESS_NOT_UNICAST),
    "home-address-unbound-from-nowhere": (
        _to_agent(_option(UNBOUND_HOME), _UDP, source=IPv6Address("::")),
        Reason.DROP_UNKNOWN_BINDING,
    ),
    "forged-care-of-address": (
        _to_agent(Raw(bytes([50, 2, 1, 2, 0, 0, 0x1E, 16]) + OTHER_CARE_OF.packed + bytes(32)), nh=60),
        Reason.DROP_FORGED_CARE_OF_ADDRESS,
    ),
    "trouble-in-the-tunnel": (
        _quoting(ICMPv6DestUnreach(), packet(CORRESPONDENT, HOME) / _UDP),
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "trouble-in-another-tunnel": (
        _quoting(ICMPv6DestUnreach(), packet(CORRESPONDENT, OTHER_HOME) / _UDP),
        Reason.PASS_TUNNEL_ERROR_UNKNOWN,
    ),
    "too-big-in-the-tunnel": (
        _quoting(ICMPv6PacketTooBig(mtu=1400), packet(CORRESPONDENT, HOME) / UDP() / Raw(bytes(1412))),
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "small-and-too-big-in-the-tunnel": (
        _quoting(ICMPv6PacketTooBig(mtu=1300), packet(CORRESPONDENT, HOME) / UDP() / Raw(bytes(1230))),
        Reason.DROP_TUNNEL_ERROR,
    ),
    "too-small-an-mtu-in-the-tunnel": (
        _quoting(ICMPv6PacketTooBig(mtu=600), packet(CORRESPONDENT, HOME) / _UDP),
        Reason.DROP_TUNNEL_MTU_INVALID,
    ),
    "arp": (bytes(link() / ARP()), Reason.PASS_NOT_IPV6),
    "group-frame": (bytes(link(dst="33:33:00:00:00:01") / packet(CORRESPONDENT, HOME)), Reason.PASS_GROUP_FRAME),
    "jumbogram": (_to_home(Raw(bytes(64)), plen=0, nh=0), Reason.PASS_MALFORMED),
}
_OVER_IPV4: dict[str, tuple[bytes, Reason]] = {
    "ipv4": (_over_ipv4(packet(IPV4_HOME, CORRESPONDENT) / _UDP), Reason.FORWARD_DECAPSULATED),
    "ipv4-marked": (
        _over_ipv4(packet(IPV4_HOME, CORRESPONDENT, tc=2) / _UDP, tos=3),
        Reason.FORWARD_DECAPSULATED,
    ),
    "ipv4-in-udp": (_in_udp(packet(NAT_HOME, CORRESPONDENT) / _UDP), Reason.FORWARD_DECAPSULATED),
    "ipv4-from-another-port": (
        _in_udp(packet(NAT_HOME, CORRESPONDENT) / _UDP, NAT_PORT + 1),
        Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS,
    ),
    "ipv4-for-another": (
        _over_ipv4(packet(HOME, CORRESPONDENT) / _UDP),
        Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS,
    ),
    "ipv4-to-a-node-over-ipv6": (
        _over_ipv4(packet(IPV4_HOME, HOME) / _UDP),
        Reason.FORWARD_REENCAPSULATED,
    ),
    "ipv4-to-a-node-behind-a-nat": (
        _over_ipv4(packet(IPV4_HOME, NAT_HOME) / _UDP),
        Reason.FORWARD_REENCAPSULATED,
    ),
    "ipv4-to-itself": (
        _over_ipv4(packet(IPV4_HOME, IPV4_HOME) / _UDP),
        Reason.DROP_TUNNEL_BACK,
    ),
    "ipv4-at-its-last-hop": (
        _in_udp(packet(NAT_HOME, HOME, hlim=1) / _UDP),
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
        _over_ipv4(packet(IPV4_HOME, CORRESPONDENT) / _UDP, flags="MF"),
        Reason.PASS_IPV4_FRAGMENT,
    ),
    "ipv4-options": (
        _over_ipv4(packet(IPV4_HOME, CORRESPONDENT) / _UDP, options=[IPOption_Router_Alert()]),
        Reason.PASS_IPV4_OPTIONS,
    ),
    "ipv4-trouble-in-the-tunnel": (
        _icmp(ICMP(type=3, code=1), packet(CORRESPONDENT, IPV4_HOME) / _UDP),
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "ipv4-trouble-in-a-tunnel-between-nodes": (
        _icmp(ICMP(type=11, code=0), packet(NAT_HOME, NAT_HOME) / _UDP, NAT),
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "ipv4-trouble-in-another-tunnel": (
        _icmp(ICMP(type=3, code=1), packet(CORRESPONDENT, HOME) / _UDP),
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
    "ipv4-ike": (_over_ipv4(UDP(sport=500, dport=500) / _ike), Reason.PASS_HOME_AGENT),
}
_ON_LINKS: dict[str, tuple[bytes, Reason, Reason]] = {
    "solicitation": (
        bytes(_solicitation(HOME, _SOURCE)),
        Reason.PASS_GROUP_FRAME,
        Reason.REPLY_NEIGHBOUR_ADVERTISEMENT,
    ),
    "solicitation-of-one-who-wants-the-address": (
        bytes(_solicitation(HOME, _NONCE, source="::")),
        Reason.PASS_GROUP_FRAME,
        Reason.REPLY_NEIGHBOUR_ADVERTISEMENT,
    ),
    "solicitation-of-one-who-asks-again": (
        bytes(_solicitation(HOME, _NONCE, _SOURCE, to=HOME)),
        Reason.PASS_NEIGHBOUR_DISCOVERY,
        Reason.REPLY_NEIGHBOUR_ADVERTISEMENT,
    ),
    "solicitation-for-another": (
        bytes(_solicitation(UNBOUND_HOME, _SOURCE)),
        Reason.PASS_GROUP_FRAME,
        Reason.PASS_GROUP_FRAME,
    ),
    "to-a-node-in-a-vlan": (
        bytes(link() / packet(CORRESPONDENT, VLAN_HOME) / _UDP),
        Reason.PASS_NOT_OURS,
        Reason.FORWARD_ENCAPSULATED,
    ),
    "tagged-to-a-home-address": (
        _tagged(_to_home(tc=3), VLAN_OF_HOSTS, prio=5),
        Reason.PASS_NOT_IPV6,
        Reason.FORWARD_ENCAPSULATED,
    ),
    "tagged-to-a-node-in-a-vlan": (
        _tagged(link() / packet(VLAN_CORRESPONDENT, VLAN_HOME) / _UDP, VLAN_OF_HOSTS),
        Reason.PASS_NOT_IPV6,
        Reason.FORWARD_ENCAPSULATED,
    ),
    "tagged-too-big": (
        _tagged(link() / packet(VLAN_CORRESPONDENT, VLAN_HOME) / Raw(bytes(1421)), VLAN_OF_HOSTS),
        Reason.PASS_NOT_IPV6,
        Reason.REPLY_PACKET_TOO_BIG,
    ),
    "tagged-out-of-a-tunnel": (
        _tagged(link() / _from_vlan_home, VLAN_OF_NODES),
        Reason.PASS_NOT_IPV6,
        Reason.FORWARD_DECAPSULATED,
    ),
    "tagged-to-another-node": (
        _tagged(_tunnelled(_from_home(VLAN_HOME)), VLAN_OF_HOSTS),
        Reason.PASS_NOT_IPV6,
        Reason.FORWARD_REENCAPSULATED,
    ),
    "tagged-trouble-in-the-tunnel": (
        _tagged(_quoting(ICMPv6DestUnreach(), packet(CORRESPONDENT, HOME) / _UDP), VLAN_OF_NODES),
        Reason.PASS_NOT_IPV6,
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "tagged-home-address-and-esp": (
        _tagged(_to_agent(_option(nh=50), Raw(bytes(40))), VLAN_OF_NODES, id=1),
        Reason.PASS_NOT_IPV6,
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "tagged-solicitation": (
        _tagged(_solicitation(VLAN_HOME, _SOURCE), VLAN_OF_HOSTS),
        Reason.PASS_NOT_IPV6,
        Reason.REPLY_NEIGHBOUR_ADVERTISEMENT,
    ),
    "tagged-solicitation-where-there-is-no-home-link": (
        _tagged(_solicitation(VLAN_HOME, _SOURCE), VLAN_OF_NODES),
        Reason.PASS_NOT_IPV6,
        Reason.PASS_GROUP_FRAME,
    ),
    "tagged-for-its-priority": (_tagged(_to_home(), 0, prio=6), Reason.PASS_NOT_IPV6, Reason.FORWARD_ENCAPSULATED),
    "tagged-for-its-priority-to-the-home-agent": (
        _tagged(_to_agent(ICMPv6EchoRequest(data=b"x")), 0, prio=6),
        Reason.PASS_NOT_IPV6,
        Reason.PASS_HOME_AGENT,
    ),
    "tagged-unknown": (_tagged(_to_home(), UNKNOWN_VLAN), Reason.PASS_NOT_IPV6, Reason.PASS_UNKNOWN_VLAN),
    "tagged-twice": (
        _tagged(_tagged(_to_home(), VLAN_OF_HOSTS), VLAN_OF_HOSTS),
        Reason.PASS_NOT_IPV6,
        Reason.PASS_NOT_IPV6,
    ),
    "tagged-by-a-provider": (
        bytes(link() / Dot1AD(vlan=VLAN_OF_HOSTS) / packet(CORRESPONDENT, HOME) / _UDP),
        Reason.PASS_NOT_IPV6,
        Reason.PASS_NOT_IPV6,
    ),
}
CORPUS = {name: Sample(*sample) for name, sample in _SAMPLES.items()}
CORPUS |= {name: Sample(frame, Reason.PASS_NOT_IPV6, reason) for name, (frame, reason) in _OVER_IPV4.items()}
CORPUS |= {name: Sample(frame, plain, with_links=reason) for name, (frame, plain, reason) in _ON_LINKS.items()}
for _name, _reason in {
    "neighbour-discovery": Reason.REPLY_NEIGHBOUR_ADVERTISEMENT,
    "to-a-mobile-network": Reason.FORWARD_ENCAPSULATED,
    "tunnelled-from-a-mobile-network": Reason.FORWARD_DECAPSULATED,
    "tunnelled-to-the-own-network": Reason.DROP_TUNNEL_BACK,
}.items():
    CORPUS[_name] = replace(CORPUS[_name], with_links=_reason)
