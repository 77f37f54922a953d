/* What became of a frame: the only list of these reasons. `python -m datapath.generate_reasons` writes
 * datapath/reasons.py from it, and every number is an index of the map `stats`.
 *
 * The upper bits are the verdict: 0 = redirected, 1 = answered, 2 = passed to the kernel, 3 = dropped. Numbers are
 * never reused for another meaning within one schema version. */
#pragma once

#define REASON_VERDICT_SHIFT 5
#define VERDICT_FORWARD 0
#define VERDICT_REPLY 1
#define VERDICT_PASS 2
#define VERDICT_DROP 3
#define MAX_REASONS 128

enum reason {
	/* To a home address, encapsulated towards the care-of address and sent. */
	FORWARD_ENCAPSULATED = 0,
	/* From a mobile node's tunnel, decapsulated and sent to its destination. */
	FORWARD_DECAPSULATED = 1,
	/* From one mobile node's tunnel into another's. */
	FORWARD_REENCAPSULATED = 2,
	/* From this host to a mobile node, to its care-of address by a routing header. */
	FORWARD_WITH_ROUTING_HEADER = 3,
	/* From this host to a mobile node that is at home: as it is. */
	FORWARD_AT_HOME = 4,
	/* To a home address, encapsulated and sent in two fragments: its way is narrow. */
	FORWARD_IN_FRAGMENTS = 5,

	/* Did not fit the tunnel: answered with ICMPv6 Packet Too Big. */
	REPLY_PACKET_TOO_BIG = 32,
	/* Hop limit used up before the tunnel: answered with ICMPv6 Time Exceeded. */
	REPLY_TIME_EXCEEDED = 33,
	/* Solicited on a home link, for a bound home address: advertised there. */
	REPLY_NEIGHBOUR_ADVERTISEMENT = 34,
	/* A Home Address option without a binding: answered with a Binding Error. */
	REPLY_BINDING_ERROR = 35,
	/* A stranger's IKE_SA_INIT above the limits: answered with a cookie. */
	REPLY_IKE_COOKIE = 36,

	/* Neither IPv6 nor, where tunnels over IPv4 end, IPv4; or behind a VLAN tag. */
	PASS_NOT_IPV6 = 64,
	/* Sent to an Ethernet group address, as neighbour discovery is. */
	PASS_GROUP_FRAME = 65,
	/* Cut short, or lengths that contradict each other, or a jumbogram. */
	PASS_MALFORMED = 66,
	/* To neither a bound home address nor the home agent. */
	PASS_NOT_OURS = 67,
	/* To the home agent itself: IKE, Mobility Header, ICMPv6 and the rest. */
	PASS_HOME_AGENT = 68,
	/* To the home agent with a Home Address option, source and option swapped. */
	PASS_HOME_ADDRESS_SWAPPED = 69,
	/* To the home agent with destination options, nothing to swap. */
	PASS_DESTINATION_OPTIONS = 70,
	/* Neighbour discovery sent to a bound home address: never tunnelled. */
	PASS_NEIGHBOUR_DISCOVERY = 71,
	/* To a home address from a source no router may forward. */
	PASS_UNROUTABLE_SOURCE = 72,
	/* Encapsulated; the kernel forwards it and resolves the next hop. */
	PASS_ENCAPSULATED_NO_NEIGHBOUR = 73,
	/* Encapsulated; the kernel forwards it, for the way out has no XDP. */
	PASS_ENCAPSULATED_SLOW_PATH = 74,
	/* From a mobile node to the home agent itself, decapsulated. */
	PASS_DECAPSULATED_LOCAL = 75,
	/* Decapsulated; the kernel forwards it and resolves the next hop. */
	PASS_DECAPSULATED_NO_NEIGHBOUR = 76,
	/* Decapsulated; the kernel forwards or answers it. */
	PASS_DECAPSULATED_SLOW_PATH = 77,
	/* Decapsulated with the hop limit used up; the kernel answers it. */
	PASS_DECAPSULATED_HOP_LIMIT = 78,
	/* From inside a tunnel: an ICMPv6 error, on its way to the inner source. */
	PASS_TUNNEL_ERROR_RELAYED = 79,
	/* An ICMPv6 error about a tunnel that is no binding's. */
	PASS_TUNNEL_ERROR_UNKNOWN = 80,
	/* Encapsulated; the kernel forwards it in fragments over IPv4. */
	PASS_ENCAPSULATED_TO_FRAGMENT = 81,
	/* Signalling in UDP over IPv4, as it came. */
	PASS_UDP_SIGNALLING = 82,
	/* To the home agent, an IPv4 fragment. */
	PASS_IPV4_FRAGMENT = 83,
	/* To the home agent over IPv4, with IPv4 options. */
	PASS_IPV4_OPTIONS = 84,
	/* With the tag of a VLAN that has no device on this interface. */
	PASS_UNKNOWN_VLAN = 85,
	/* To the home agent, a fragment: the kernel puts the packet together. */
	PASS_FRAGMENT = 86,
	/* To the home agent behind options or a routing header: the kernel reads them. */
	PASS_EXTENSION_HEADERS = 87,

	/* No route to the care-of address. */
	DROP_NO_ROUTE = 96,
	/* IPv6 forwarding is off on the interface the frame came in by. */
	DROP_FORWARDING_DISABLED = 97,
	/* Did not fit the tunnel, and no ICMPv6 error may answer it. */
	DROP_TOO_BIG = 98,
	/* Too long for its way, and the device that makes fragments is not there. */
	DROP_LINK_MTU_TOO_SMALL = 99,
	/* Hop limit used up, and no ICMPv6 error may answer it. */
	DROP_HOP_LIMIT = 100,
	/* The home agent's limit on ICMPv6 errors is reached. */
	DROP_ERROR_RATE_LIMITED = 101,
	/* The driver left too little room in front of or behind the frame. */
	DROP_NO_ROOM = 102,
	/* Tunnelled to the home agent; not well-formed IPv6 inside. */
	DROP_TUNNEL_MALFORMED = 103,
	/* Tunnelled to the home agent; the inner source has no binding. */
	DROP_TUNNEL_NO_BINDING = 104,
	/* Tunnelled from elsewhere than the care-of address. */
	DROP_TUNNEL_WRONG_CARE_OF_ADDRESS = 105,
	/* Tunnelled to a group, link-local or unspecified address. */
	DROP_TUNNEL_DESTINATION = 106,
	/* A stranger used the option that replaces a Home Address option. */
	DROP_FORGED_CARE_OF_ADDRESS = 107,
	/* From this host to a home address that is neither bound nor being answered. */
	DROP_HOME_LINK_NO_BINDING = 108,
	/* From this host to a home address, but of a kind that gets no routing header. */
	DROP_HOME_LINK_UNSUITABLE = 109,
	/* From this host: a Mobility Header that IPsec has not protected. */
	DROP_HOME_LINK_UNPROTECTED = 110,
	/* Marked as congested outside the tunnel, inside by a sender that does not use ECN. */
	DROP_TUNNEL_CONGESTION = 111,
	/* Out of a mobile router's tunnel into the same one: a host its network does not have. */
	DROP_TUNNEL_BACK = 112,
	/* Solicited on a home link; advertised to all nodes too often lately. */
	DROP_ADVERTISEMENT_RATE_LIMITED = 113,
	/* From inside a tunnel: about a packet that no ICMPv6 error may answer. */
	DROP_TUNNEL_ERROR = 114,
	/* From inside a tunnel: an MTU below 1280, or one that the packet fits. */
	DROP_TUNNEL_MTU_INVALID = 115,
	/* IKE_SA_INIT above the limits, of one who has returned a cookie or can get none. */
	DROP_IKE_RATE_LIMITED = 116,
	/* A Mobility Header that nothing protects, above the limits of such. */
	DROP_MOBILITY_RATE_LIMITED = 117,
	/* A Home Address option with an address that is not one node's. */
	DROP_HOME_ADDRESS_NOT_UNICAST = 118,
	/* A Home Address option without a binding, from where no Binding Error may go. */
	DROP_UNKNOWN_BINDING = 119,
	/* To be sent in fragments, which the kernel had no memory for. */
	DROP_FRAGMENTATION = 120,
};
