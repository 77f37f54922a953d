"""Frames of home links and VLANs, and what becomes of each where there are none and where there are some."""

from __future__ import annotations

from ipaddress import IPv6Address

from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptUnknown,
    IPv6,
    in6_getnsma,
    in6_getnsmac,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from bench.packet_rates.corpus.addresses import (
    CORE_MAC,
    CORRESPONDENT,
    HOME,
    HOME_AGENT,
    NODE_MAC,
    UNBOUND_HOME,
    UNKNOWN_VLAN,
    VLAN_CARE_OF,
    VLAN_CORRESPONDENT,
    VLAN_HOME,
    VLAN_OF_HOSTS,
    VLAN_OF_NODES,
)
from bench.packet_rates.corpus.headers import (
    DATA,
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

_SOURCE = ICMPv6NDOptSrcLLAddr(lladdr=NODE_MAC)
_NONCE = ICMPv6NDOptUnknown(type=14, data=b"abcdef")
_from_vlan_home = packet(VLAN_CARE_OF, HOME_AGENT, nh=41) / packet(VLAN_HOME, VLAN_CORRESPONDENT) / DATA


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


ON_LINKS: dict[str, tuple[bytes, Reason, Reason]] = {
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
        bytes(link() / packet(CORRESPONDENT, VLAN_HOME) / DATA),
        Reason.PASS_NOT_OURS,
        Reason.FORWARD_ENCAPSULATED,
    ),
    "tagged-to-a-home-address": (
        _tagged(to_home(tc=3), VLAN_OF_HOSTS, prio=5),
        Reason.PASS_NOT_IPV6,
        Reason.FORWARD_ENCAPSULATED,
    ),
    "tagged-to-a-node-in-a-vlan": (
        _tagged(link() / packet(VLAN_CORRESPONDENT, VLAN_HOME) / DATA, VLAN_OF_HOSTS),
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
        _tagged(tunnelled(from_home(VLAN_HOME)), VLAN_OF_HOSTS),
        Reason.PASS_NOT_IPV6,
        Reason.FORWARD_REENCAPSULATED,
    ),
    "tagged-trouble-in-the-tunnel": (
        _tagged(quoting(ICMPv6DestUnreach(), packet(CORRESPONDENT, HOME) / DATA), VLAN_OF_NODES),
        Reason.PASS_NOT_IPV6,
        Reason.PASS_TUNNEL_ERROR_RELAYED,
    ),
    "tagged-home-address-and-esp": (
        _tagged(to_agent(home_address_option(nh=50), Raw(bytes(40))), VLAN_OF_NODES, id=1),
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
    "tagged-for-its-priority": (_tagged(to_home(), 0, prio=6), Reason.PASS_NOT_IPV6, Reason.FORWARD_ENCAPSULATED),
    "tagged-for-its-priority-to-the-home-agent": (
        _tagged(to_agent(ICMPv6EchoRequest(data=b"x")), 0, prio=6),
        Reason.PASS_NOT_IPV6,
        Reason.PASS_HOME_AGENT,
    ),
    "tagged-unknown": (_tagged(to_home(), UNKNOWN_VLAN), Reason.PASS_NOT_IPV6, Reason.PASS_UNKNOWN_VLAN),
    "tagged-twice": (
        _tagged(_tagged(to_home(), VLAN_OF_HOSTS), VLAN_OF_HOSTS),
        Reason.PASS_NOT_IPV6,
        Reason.PASS_NOT_IPV6,
    ),
    "tagged-by-a-provider": (
        bytes(link() / Dot1AD(vlan=VLAN_OF_HOSTS) / packet(CORRESPONDENT, HOME) / DATA),
        Reason.PASS_NOT_IPV6,
        Reason.PASS_NOT_IPV6,
    ),
}
