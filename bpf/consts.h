/* Constants of the wire and of this program. The loader puts what differs from one data path to another in front of the
 * text as macros (datapath/specialisation.py). */
#pragma once

#define INLINE static inline __attribute__((always_inline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#define ETHERNET_TYPE_IPV4 0x0800
#define ETHERNET_TYPE_IPV6 0x86DD
#define ETHERNET_GROUP_BIT 0x01

#define ADDRESS_FAMILY_INET 2 /* AF_INET and AF_INET6, for bpf_fib_lookup */
#define ADDRESS_FAMILY_INET6 10

#define NEXT_HEADER_HOP_BY_HOP 0
#define NEXT_HEADER_UDP 17
#define NEXT_HEADER_IPV6 41
#define NEXT_HEADER_ROUTING 43
#define NEXT_HEADER_FRAGMENT 44
#define NEXT_HEADER_ESP 50
#define NEXT_HEADER_AUTHENTICATION 51
#define NEXT_HEADER_ICMPV6 58
#define NEXT_HEADER_NONE 59
#define NEXT_HEADER_DESTINATION_OPTIONS 60
#define NEXT_HEADER_MOBILITY 135

#define FRAGMENT_OFFSET_MASK 0xFFF8

#define ROUTING_TYPE_MOBILITY 2 /* RFC 6275 section 6.4 */

#define NAT_TRAVERSAL_PORT 4500 /* IKE and ESP in UDP, RFC 3948 */
#define TUNNEL_PORT 4191 /* IPv6 in UDP over IPv4, RFC 5555 section 8 */

#define IPV4_HEADER_SIZE 20
#define IPV4_FIRST_OCTET 0x45 /* version, and a header without options */
#define IPV4_DO_NOT_FRAGMENT 0x4000
#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_FRAGMENT_OFFSET 0x1FFF
#define UDP_HEADER_SIZE 8
#define PROTOCOL_ICMP 1
#define ICMP_DESTINATION_UNREACHABLE 3
#define ICMP_FRAGMENTATION_NEEDED 4 /* its code */
#define ICMP_TIME_EXCEEDED 11

#define IPV6_HEADER_SIZE 40
#define IPV6_MINIMUM_MTU 1280 /* RFC 8200 section 5 */
#define FRAGMENT_HEADER_SIZE 8
#define FRAGMENT_MORE bpf_htons(1)
/* Payload of the first of two fragments: with its headers it fits the smallest link. What is left fits any. */
#define FIRST_FRAGMENT_SIZE (IPV6_MINIMUM_MTU - IPV6_HEADER_SIZE - FRAGMENT_HEADER_SIZE)
#define MAX_MTU 0xFFFF /* what a length field of 16 bits can say */
#define SLOW_PATH_PORT 0 /* in `ports`, the slow path's entrance; no interface has this index */
#define FLOW_INFORMATION_MASK 0x0FFFFFFF /* traffic class and flow label of the first word */
#define DSCP_MASK 0xFC /* of the traffic class: the rest of it is ECN */
#define OUTER_HOP_LIMIT 64
#define HOP_LIMIT_OF_A_NEIGHBOUR 255 /* RFC 4861: neighbour discovery accepts nothing else */

#define ICMPV6_HEADER_SIZE 8
#define ICMPV6_DESTINATION_UNREACHABLE 1
#define ICMPV6_ADDRESS_UNREACHABLE 3 /* its code */
#define ICMPV6_PACKET_TOO_BIG 2
#define ICMPV6_TIME_EXCEEDED 3
#define ICMPV6_PARAMETER_PROBLEM 4
#define ICMPV6_FIRST_INFORMATIONAL 128 /* types below are errors */
#define ICMPV6_ROUTER_SOLICITATION 133
#define ICMPV6_NEIGHBOUR_SOLICITATION 135
#define ICMPV6_NEIGHBOUR_ADVERTISEMENT 136
#define ICMPV6_REDIRECT 137
#define ICMPV6_HOP_LIMIT 64
/* An error is cut to the minimum MTU (RFC 4443 section 2.4 (c)). */
#define ICMPV6_QUOTE_SIZE (IPV6_MINIMUM_MTU - IPV6_HEADER_SIZE - ICMPV6_HEADER_SIZE)
#define ICMPV6_MESSAGE_WORDS ((IPV6_MINIMUM_MTU - IPV6_HEADER_SIZE) / 4)

/* ICMPv6 errors each processor may send: this many at once, then one per interval (RFC 4443 section 2.4 (f)). */
#define ICMPV6_BURST 256
#define ICMPV6_INTERVAL_NS 1000000LL

#define NEIGHBOUR_OPTION_SOURCE_LINK_ADDRESS 1
#define NEIGHBOUR_OPTION_TARGET_LINK_ADDRESS 2
#define NEIGHBOUR_FLAG_ROUTER 0x80000000
#define NEIGHBOUR_FLAG_SOLICITED 0x40000000
#define MAX_NEIGHBOUR_OPTION_UNITS 16 /* 8 bytes each; a longer solicitation is the kernel's */

#define OPTION_PAD1 0
#define OPTION_HOME_ADDRESS 0xC9 /* RFC 6275 section 6.3: a node that does not know it discards the packet */
#define OPTION_CARE_OF_ADDRESS 0x1E /* experimental (RFC 4727), skipped by a node that does not know it */
#define OPTION_ADDRESS_LENGTH 16
#define MAX_OPTIONS 8 /* options looked at in one header */
#define MAX_HEADERS_BEFORE 4 /* extension headers looked behind */
