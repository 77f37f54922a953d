/* IPv4 care-of addresses (RFC 5555): both ends of a tunnel over IPv4, written in the 16 bytes of a care-of address. As
 * nothing below 1:: is ever routed, no IPv6 address looks like that. datapath/care_of_addresses.py has the same:
 *
 *   high: 16 bits of zero, the home agent's IPv4 address, the node's UDP port or zero
 *   low: 0, 0xffff, the node's IPv4 address */
#pragma once

#define IPV4_MARK bpf_htonl(0x0000FFFF)

/* Without the feature never, so that the compiler leaves out what is for such addresses. */
INLINE int is_ipv4(const struct ipv6_address *care_of_address)
{
	return WITH_IPV4_TUNNELS && (__u32)care_of_address->low == IPV4_MARK && !(care_of_address->high & 0xFFFF);
}

/* The care-of address of a node that sends from the address and the port; the port is zero without UDP. */
INLINE struct ipv6_address ipv4_care_of_address(__be32 node, __be16 port, __be32 home_agent)
{
	struct ipv6_address care_of_address = {
		.high = (__u64)home_agent << 16 | (__u64)port << 48,
		.low = (__u64)node << 32 | IPV4_MARK,
	};
	return care_of_address;
}

INLINE __be32 ipv4_address_of(const struct ipv6_address *care_of_address)
{
	return care_of_address->low >> 32;
}

INLINE __be32 ipv4_home_agent_of(const struct ipv6_address *care_of_address)
{
	return care_of_address->high >> 16;
}

INLINE __be16 udp_port_of(const struct ipv6_address *care_of_address)
{
	return care_of_address->high >> 48;
}

/* Bytes of headers in front of a packet in the tunnel to a care-of address. */
INLINE __u32 tunnel_size(const struct ipv6_address *care_of_address)
{
	if (!is_ipv4(care_of_address))
		return IPV6_HEADER_SIZE;
	return udp_port_of(care_of_address) ? IPV4_HEADER_SIZE + UDP_HEADER_SIZE : IPV4_HEADER_SIZE;
}
