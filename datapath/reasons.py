"""What became of a frame.

Written by ``python -m datapath.generate_reasons`` from bpf/reasons.h: do not edit.
"""

from __future__ import annotations

from enum import IntEnum


class Verdict(IntEnum):
    """What the program had the kernel do with the frame."""

    FORWARD = 0
    REPLY = 1
    PASS = 2
    DROP = 3


class Reason(IntEnum):
    """An index of the map ``stats``."""

    FORWARD_ENCAPSULATED = 0
    FORWARD_DECAPSULATED = 1
    FORWARD_REENCAPSULATED = 2
    FORWARD_WITH_ROUTING_HEADER = 3
    FORWARD_AT_HOME = 4
    FORWARD_IN_FRAGMENTS = 5
    REPLY_PACKET_TOO_BIG = 32
    REPLY_TIME_EXCEEDED = 33
    REPLY_NEIGHBOUR_ADVERTISEMENT = 34
    REPLY_BINDING_ERROR = 35
    REPLY_IKE_COOKIE = 36
    PASS_NOT_IPV6 = 64
    PASS_GROUP_FRAME = 65
    PASS_MALFORMED = 66
    PASS_NOT_OURS = 67
    PASS_HOME_AGENT = 68
    PASS_HOME_ADDRESS_SWAPPED = 69
    PASS_DESTINATION_OPTIONS = 70
    PASS_NEIGHBOUR_DISCOVERY = 71
    PASS_UNROUTABLE_SOURCE = 72
    PASS_ENCAPSULATED_NO_NEIGHBOUR = 73
    PASS_ENCAPSULATED_SLOW_PATH = 74
    PASS_DECAPSULATED_LOCAL = 75
    PASS_DECAPSULATED_NO_NEIGHBOUR = 76
    PASS_DECAPSULATED_SLOW_PATH = 77
    PASS_DECAPSULATED_HOP_LIMIT = 78
    PASS_TUNNEL_ERROR_RELAYED = 79
    PASS_TUNNEL_ERROR_UNKNOWN = 80
    PASS_ENCAPSULATED_TO_FRAGMENT = 81
    PASS_UDP_SIGNALLING = 82
    PASS_IPV4_FRAGMENT = 83
    PASS_IPV4_OPTIONS = 84
    PASS_UNKNOWN_VLAN = 85
    PASS_FRAGMENT = 86
    PASS_EXTENSION_HEADERS = 87
    DROP_NO_ROUTE = 96
    DROP_FORWARDING_DISABLED = 97
    DROP_TOO_BIG = 98
    DROP_LINK_MTU_TOO_SMALL = 99
    DROP_HOP_LIMIT = 100
    DROP_ERROR_RATE_LIMITED = 101
    DROP_NO_ROOM = 102
    DROP_TUNNEL_MALFORMED = 103
    DROP_TUNNEL_NO_BINDING = 104
    DROP_TUNNEL_WRONG_CARE_OF_ADDRESS = 105
    DROP_TUNNEL_DESTINATION = 106
    DROP_FORGED_CARE_OF_ADDRESS = 107
    DROP_HOME_LINK_NO_BINDING = 108
    DROP_HOME_LINK_UNSUITABLE = 109
    DROP_HOME_LINK_UNPROTECTED = 110
    DROP_TUNNEL_CONGESTION = 111
    DROP_TUNNEL_BACK = 112
    DROP_ADVERTISEMENT_RATE_LIMITED = 113
    DROP_TUNNEL_ERROR = 114
    DROP_TUNNEL_MTU_INVALID = 115
    DROP_IKE_RATE_LIMITED = 116
    DROP_MOBILITY_RATE_LIMITED = 117
    DROP_HOME_ADDRESS_NOT_UNICAST = 118
    DROP_UNKNOWN_BINDING = 119
    DROP_FRAGMENTATION = 120

    @property
    def slug(self) -> str:
        """The name as a metric label and in JSON."""
        return self.name.lower().replace("_", "-")

    @property
    def verdict(self) -> Verdict:
        """What the program had the kernel do with the frame."""
        return Verdict(self >> 5)

    @property
    def description(self) -> str:
        """One sentence for people."""
        return _DESCRIPTIONS[self]


_DESCRIPTIONS = {
    Reason.FORWARD_ENCAPSULATED: "To a home address, encapsulated towards the care-of address and sent.",
    Reason.FORWARD_DECAPSULATED: "From a mobile node's tunnel, decapsulated and sent to its destination.",
    Reason.FORWARD_REENCAPSULATED: "From one mobile node's tunnel into another's.",
    Reason.FORWARD_WITH_ROUTING_HEADER: "From this host to a mobile node, to its care-of address by a routing header.",
    Reason.FORWARD_AT_HOME: "From this host to a mobile node that is at home: as it is.",
    Reason.FORWARD_IN_FRAGMENTS: "To a home address, encapsulated and sent in two fragments: its way is narrow.",
    Reason.REPLY_PACKET_TOO_BIG: "Did not fit the tunnel: answered with ICMPv6 Packet Too Big.",
    Reason.REPLY_TIME_EXCEEDED: "Hop limit used up before the tunnel: answered with ICMPv6 Time Exceeded.",
    Reason.REPLY_NEIGHBOUR_ADVERTISEMENT: "Solicited on a home link, for a bound home address: advertised there.",
    Reason.REPLY_BINDING_ERROR: "A Home Address option without a binding: answered with a Binding Error.",
    Reason.REPLY_IKE_COOKIE: "A stranger's IKE_SA_INIT above the limits: answered with a cookie.",
    Reason.PASS_NOT_IPV6: "Neither IPv6 nor, where tunnels over IPv4 end, IPv4; or behind a VLAN tag.",
    Reason.PASS_GROUP_FRAME: "Sent to an Ethernet group address, as neighbour discovery is.",
    Reason.PASS_MALFORMED: "Cut short, or lengths that contradict each other, or a jumbogram.",
    Reason.PASS_NOT_OURS: "To neither a bound home address nor the home agent.",
    Reason.PASS_HOME_AGENT: "To the home agent itself: IKE, Mobility Header, ICMPv6 and the rest.",
    Reason.PASS_HOME_ADDRESS_SWAPPED: "To the home agent with a Home Address option, source and option swapped.",
    Reason.PASS_DESTINATION_OPTIONS: "To the home agent with destination options, nothing to swap.",
    Reason.PASS_NEIGHBOUR_DISCOVERY: "Neighbour discovery sent to a bound home address: never tunnelled.",
    Reason.PASS_UNROUTABLE_SOURCE: "To a home address from a source no router may forward.",
    Reason.PASS_ENCAPSULATED_NO_NEIGHBOUR: "Encapsulated; the kernel forwards it and resolves the next hop.",
    Reason.PASS_ENCAPSULATED_SLOW_PATH: "Encapsulated; the kernel forwards it, for the way out has no XDP.",
    Reason.PASS_DECAPSULATED_LOCAL: "From a mobile node to the home agent itself, decapsulated.",
    Reason.PASS_DECAPSULATED_NO_NEIGHBOUR: "Decapsulated; the kernel forwards it and resolves the next hop.",
    Reason.PASS_DECAPSULATED_SLOW_PATH: "Decapsulated; the kernel forwards or answers it.",
    Reason.PASS_DECAPSULATED_HOP_LIMIT: "Decapsulated with the hop limit used up; the kernel answers it.",
    Reason.PASS_TUNNEL_ERROR_RELAYED: "From inside a tunnel: an ICMPv6 error, on its way to the inner source.",
    Reason.PASS_TUNNEL_ERROR_UNKNOWN: "An ICMPv6 error about a tunnel that is no binding's.",
    Reason.PASS_ENCAPSULATED_TO_FRAGMENT: "Encapsulated; the kernel forwards it in fragments over IPv4.",
    Reason.PASS_UDP_SIGNALLING: "Signalling in UDP over IPv4, as it came.",
    Reason.PASS_IPV4_FRAGMENT: "To the home agent, an IPv4 fragment.",
    Reason.PASS_IPV4_OPTIONS: "To the home agent over IPv4, with IPv4 options.",
    Reason.PASS_UNKNOWN_VLAN: "With the tag of a VLAN that has no device on this interface.",
    Reason.PASS_FRAGMENT: "To the home agent, a fragment: the kernel puts the packet together.",
    Reason.PASS_EXTENSION_HEADERS: "To the home agent behind options or a routing header: the kernel reads them.",
    Reason.DROP_NO_ROUTE: "No route to the care-of address.",
    Reason.DROP_FORWARDING_DISABLED: "IPv6 forwarding is off on the interface the frame came in by.",
    Reason.DROP_TOO_BIG: "Did not fit the tunnel, and no ICMPv6 error may answer it.",
    Reason.DROP_LINK_MTU_TOO_SMALL: "Too long for its way, and the device that makes fragments is not there.",
    Reason.DROP_HOP_LIMIT: "Hop limit used up, and no ICMPv6 error may answer it.",
    Reason.DROP_ERROR_RATE_LIMITED: "The home agent's limit on ICMPv6 errors is reached.",
    Reason.DROP_NO_ROOM: "The driver left too little room in front of or behind the frame.",
    Reason.DROP_TUNNEL_MALFORMED: "Tunnelled to the home agent; not well-formed IPv6 inside.",
    Reason.DROP_TUNNEL_NO_BINDING: "Tunnelled to the home agent; the inner source has no binding.",
    Reason.DROP_TUNNEL_WRONG_CARE_OF_ADDRESS: "Tunnelled from elsewhere than the care-of address.",
    Reason.DROP_TUNNEL_DESTINATION: "Tunnelled to a group, link-local or unspecified address.",
    Reason.DROP_FORGED_CARE_OF_ADDRESS: "A stranger used the option that replaces a Home Address option.",
    Reason.DROP_HOME_LINK_NO_BINDING: "From this host to a home address that is neither bound nor being answered.",
    Reason.DROP_HOME_LINK_UNSUITABLE: "From this host to a home address, but of a kind that gets no routing header.",
    Reason.DROP_HOME_LINK_UNPROTECTED: "From this host: a Mobility Header that IPsec has not protected.",
    Reason.DROP_TUNNEL_CONGESTION: "Marked as congested outside the tunnel, inside by a sender that does not use ECN.",
    Reason.DROP_TUNNEL_BACK: "Out of a mobile router's tunnel into the same one: a host its network does not have.",
    Reason.DROP_ADVERTISEMENT_RATE_LIMITED: "Solicited on a home link; advertised to all nodes too often lately.",
    Reason.DROP_TUNNEL_ERROR: "From inside a tunnel: about a packet that no ICMPv6 error may answer.",
    Reason.DROP_TUNNEL_MTU_INVALID: "From inside a tunnel: an MTU below 1280, or one that the packet fits.",
    Reason.DROP_IKE_RATE_LIMITED: "IKE_SA_INIT above the limits, of one who has returned a cookie or can get none.",
    Reason.DROP_MOBILITY_RATE_LIMITED: "A Mobility Header that nothing protects, above the limits of such.",
    Reason.DROP_HOME_ADDRESS_NOT_UNICAST: "A Home Address option with an address that is not one node's.",
    Reason.DROP_UNKNOWN_BINDING: "A Home Address option without a binding, from where no Binding Error may go.",
    Reason.DROP_FRAGMENTATION: "To be sent in fragments, which the kernel had no memory for.",
}
