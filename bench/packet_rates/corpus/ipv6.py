"""Frames of IPv6 and of nothing the program knows, and what becomes of each; see :class:`Sample`."""

from __future__ import annotations

from ipaddress import IPv6Address

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import (
    MIP6MH_BU,
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6PacketTooBig,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import ARP
from scapy.packet import Raw

from bench.packet_rates.corpus.addresses import (
    CORRESPONDENT,
    HOME,
    HOME_AGENT,
    IPV4_HOME,
    MOBILE_NETWORK_HOST,
    NAT_HOME,
    OTHER_CARE_OF,
    OTHER_HOME,
    UNBOUND_HOME,
)
from bench.packet_rates.corpus.headers import (
    DATA,
    IKE_REQUEST,
    from_home,
    home_address_option,
    link,
    packet,
    quoting,
    to_agent,
    to_home,
    tunnelled,
)
from datapath.reasons import Reason

IPV6: dict[str, tuple[bytes, Reason] | tuple[bytes, Reason, Reason | None]] = {
    "to-a-home-address": (to_home(), Reason.FORWARD_ENCAPSULATED),
    "to-a-home-address-marked": (to_home(tc=3, fl=9), Reason.FORWARD_ENCAPSULATED),
    "to-a-home-address-full-size": (to_home(Raw(bytes(1420))), Reason.FORWARD_ENCAPSULATED),
    "too-big": (to_home(UDP() / Raw(bytes(1440))), Reason.REPLY_PACKET_TOO_BIG),
    "too-big-error": (to_home(ICMPv6DestUnreach() / Raw(bytes(1440))), Reason.DROP_TOO_BIG),
    "hop-limit-used-up": (to_home(hlim=1), Reason.REPLY_TIME_EXCEEDED),
    "hop-limit-used-up-by-an-error": (to_home(ICMPv6DestUnreach(), hlim=1), Reason.DROP_HOP_LIMIT),
    "neighbour-discovery": (to_home(ICMPv6ND_NS(tgt=str(HOME)), hlim=255), Reason.PASS_NEIGHBOUR_DISCOVERY),
    "link-local-source": (to_home(source=IPv6Address("fe80::1")), Reason.PASS_UNROUTABLE_SOURCE),
    "to-a-mobile-network": (
        bytes(link() / packet(CORRESPONDENT, MOBILE_NETWORK_HOST) / DATA),
        Reason.PASS_NOT_OURS,
        Reason.FORWARD_ENCAPSULATED,
    ),
    "to-a-node-over-ipv4": (
        bytes(link() / packet(CORRESPONDENT, IPV4_HOME, tc=5) / DATA),
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
    "elsewhere": (
        bytes(link() / packet(CORRESPONDENT, IPv6Address("2001:db8:77::1")) / DATA),
        Reason.PASS_NOT_OURS,
    ),
    "tunnelled-to-a-correspondent": (tunnelled(from_home(CORRESPONDENT)), Reason.FORWARD_DECAPSULATED),
    "tunnelled-tcp": (tunnelled(from_home(CORRESPONDENT, TCP(), tc=2), tc=3), Reason.FORWARD_DECAPSULATED),
    "tunnelled-through-congestion": (tunnelled(from_home(CORRESPONDENT), tc=3), Reason.DROP_TUNNEL_CONGESTION),
    "tunnelled-to-another-node": (tunnelled(from_home(OTHER_HOME)), Reason.FORWARD_REENCAPSULATED),
    "tunnelled-to-another-node-too-big": (
        tunnelled(from_home(OTHER_HOME, Raw(bytes(1421)))),
        Reason.REPLY_PACKET_TOO_BIG,
    ),
    "tunnelled-to-another-node-at-its-last-hop": (
        tunnelled(from_home(OTHER_HOME, hlim=1)),
        Reason.REPLY_TIME_EXCEEDED,
    ),
    "tunnelled-to-the-home-agent": (
        tunnelled(from_home(HOME_AGENT, ICMPv6EchoRequest(), hlim=255)),
        Reason.PASS_DECAPSULATED_LOCAL,
    ),
    "tunnelled-at-its-last-hop": (tunnelled(from_home(CORRESPONDENT, hlim=1)), Reason.PASS_DECAPSULATED_HOP_LIMIT),
    "tunnelled-by-a-stranger": (
        tunnelled(packet(UNBOUND_HOME, CORRESPONDENT) / DATA),
        Reason.DROP_TUNNEL_NO_BINDING,
    ),
    "tunnelled-from-a-mobile-network": (
        tunnelled(packet(MOBILE_NETWORK_HOST, CORRESPONDENT) / DATA),
        Reason.DROP_TUNNEL_NO_BINDING,
        Reason.FORWARD_DECAPSULATED,
    ),
    "tunnelled-to-the-own-network": (
        tunnelled(from_home(MOBILE_NETWORK_HOST)),
        Reason.PASS_DECAPSULATED_SLOW_PATH,
        Reason.DROP_TUNNEL_BACK,
    ),
    "tunnelled-to-a-node-over-ipv4": (
        tunnelled(from_home(IPV4_HOME)),
        Reason.PASS_DECAPSULATED_SLOW_PATH,
        Reason.FORWARD_REENCAPSULATED,
    ),
    "tunnelled-for-another": (
        tunnelled(packet(OTHER_HOME, CORRESPONDENT) / DATA),
        Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS,
    ),
    "tunnelled-to-a-group": (tunnelled(from_home(IPv6Address("ff0e::1"))), Reason.DROP_TUNNEL_DESTINATION),
    "tunnelled-ipv4": (tunnelled(IP() / UDP()), Reason.DROP_TUNNEL_MALFORMED),
    "ike": (to_agent(UDP(sport=500, dport=500), IKE_REQUEST), Reason.PASS_HOME_AGENT),
    "ike-with-marker": (to_agent(UDP(sport=4500, dport=4500), Raw(bytes(4)), IKE_REQUEST), Reason.PASS_HOME_AGENT),
    "ike-behind-options": (
        to_agent(IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]), UDP(sport=500, dport=500), IKE_REQUEST),
        Reason.PASS_EXTENSION_HEADERS,
    ),
    "ike-in-a-fragment": (
        to_agent(IPv6ExtHdrFragment(id=7, m=1), UDP(sport=500, dport=500), IKE_REQUEST),
        Reason.PASS_FRAGMENT,
    ),
    "esp": (to_agent(Raw(bytes(range(1, 41))), nh=50), Reason.PASS_HOME_AGENT),
    "mobility-header": (to_agent(MIP6MH_BU(seq=1)), Reason.PASS_HOME_AGENT),
    "echo": (to_agent(ICMPv6EchoRequest(data=b"x")), Reason.PASS_HOME_AGENT),
    "destination-options": (
        to_agent(IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]), UDP()),
        Reason.PASS_DESTINATION_OPTIONS,
    ),
    "home-address-and-esp": (to_agent(home_address_option(nh=50), Raw(bytes(40))), Reason.PASS_HOME_ADDRESS_SWAPPED),
    "home-address-and-esp-in-udp": (
        to_agent(home_address_option(), UDP(sport=4500, dport=4500, chksum=0xABCD), Raw(b"\0\0\1\0" + bytes(30))),
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "home-address-and-mobility-header": (
        to_agent(home_address_option(UNBOUND_HOME), MIP6MH_BU(seq=1)),
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "home-address-and-echo": (to_agent(home_address_option(), ICMPv6EchoRequest()), Reason.PASS_HOME_ADDRESS_SWAPPED),
    "home-address-behind-hop-by-hop-options": (
        to_agent(IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]), home_address_option(nh=50), Raw(bytes(40))),
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "home-address-behind-other-options-and-a-routing-header": (
        to_agent(
            IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]),
            IPv6ExtHdrRouting(type=200, segleft=0, addresses=[]),
            home_address_option(nh=50),
            Raw(bytes(40)),
        ),
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "home-address-unbound": (to_agent(home_address_option(UNBOUND_HOME), DATA), Reason.REPLY_BINDING_ERROR),
    "home-address-unbound-and-esp-in-a-fragment": (
        to_agent(home_address_option(UNBOUND_HOME), IPv6ExtHdrFragment(nh=50, offset=5), Raw(bytes(40))),
        Reason.PASS_HOME_ADDRESS_SWAPPED,
    ),
    "home-address-of-a-group": (
        to_agent(home_address_option(IPv6Address("ff02::1")), DATA),
        Reason.DROP_HOME_ADDRESS_NOT_UNICAST,
    ),
    "home-address-unbound-from-nowhere": (
        to_agent(home_address_option(UNBOUND_HOME), DATA, source=IPv6Address("::")),
        Reason.DROP_UNKNOWN_BINDING,
    ),
    "forged-care-of-address": (
        to_agent(Raw(bytes([50, 2, 1, 2, 0, 0, 0x1E, 16]) + OTHER_CARE_OF.packed + bytes(32)), nh=60),
        Reason.DROP_FORGED_CARE_OF_ADDRESS,
    ),
    "trouble-in-the-tunnel": (
        quoting(ICMPv6DestUnreach(), packet(CORRESPONDENT, HOME) / DATA),
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "trouble-in-another-tunnel": (
        quoting(ICMPv6DestUnreach(), packet(CORRESPONDENT, OTHER_HOME) / DATA),
        Reason.PASS_TUNNEL_ERROR_UNKNOWN,
    ),
    "too-big-in-the-tunnel": (
        quoting(ICMPv6PacketTooBig(mtu=1400), packet(CORRESPONDENT, HOME) / UDP() / Raw(bytes(1412))),
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "small-and-too-big-in-the-tunnel": (
        quoting(ICMPv6PacketTooBig(mtu=1300), packet(CORRESPONDENT, HOME) / UDP() / Raw(bytes(1230))),
        Reason.DROP_TUNNEL_ERROR,
    ),
    "too-small-an-mtu-in-the-tunnel": (
        quoting(ICMPv6PacketTooBig(mtu=600), packet(CORRESPONDENT, HOME) / DATA),
        Reason.DROP_TUNNEL_MTU_INVALID,
    ),
    "arp": (bytes(link() / ARP()), Reason.PASS_NOT_IPV6),
    "group-frame": (bytes(link(dst="33:33:00:00:00:01") / packet(CORRESPONDENT, HOME)), Reason.PASS_GROUP_FRAME),
    "jumbogram": (to_home(Raw(bytes(64)), plen=0, nh=0), Reason.PASS_MALFORMED),
}
