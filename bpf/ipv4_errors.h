/* ICMP errors from inside a tunnel over IPv4 (RFC 4213 section 3.4): told to the source of the inner packet as those from
 * inside a tunnel over IPv6 are, and believed as little (tunnel_errors.h). Routers that quote less than the inner header
 * cannot be translated. */
#pragma once

/* What an error quotes of a packet of this home agent's: its way, and the packet in it. */
struct quoted_packet {
	struct ipv6_address care_of_address;
	const struct ipv4_header *outer;
	const struct ipv6_header *inner;
	__u32 size; /* bytes of its outer headers */
};

/* Reads the packet quoted behind the ICMP header. A tunnel of this home agent's has no IPv4 options. */
INLINE int read_quoted_packet(struct cursor *message, struct quoted_packet *quoted)
{
	const struct ipv4_header *outer = take(message, sizeof(*outer));
	const struct udp_header *udp;
	__be16 port = 0;

	if (!outer || outer->version_length != IPV4_FIRST_OCTET ||
	    outer->fragment & bpf_htons(IPV4_FRAGMENT_OFFSET))
		return 0;
	quoted->size = IPV4_HEADER_SIZE;
	if (outer->protocol == NEXT_HEADER_UDP) {
		udp = take(message, sizeof(*udp));
		if (!udp || udp->source_port != bpf_htons(TUNNEL_PORT) || !udp->destination_port)
			return 0;
		port = udp->destination_port;
		quoted->size += UDP_HEADER_SIZE;
	} else if (outer->protocol != NEXT_HEADER_IPV6) {
		return 0;
	}
	quoted->care_of_address = ipv4_care_of_address(outer->destination, port, outer->source);
	quoted->outer = outer;
	quoted->inner = take(message, sizeof(*quoted->inner));
	return 1;
}

/* What the source of the inner packet is to be told, in `told`, or the reason for silence. */
INLINE enum reason translate_ipv4_error(const struct icmpv6_header *icmp, const struct quoted_packet *quoted,
					const struct binding *binding, struct relayed_error *told)
{
	const __u32 least = IPV6_MINIMUM_MTU + quoted->size;
	__u32 mtu = bpf_ntohl(icmp->data) & 0xFFFF;

	if (icmp->type != ICMP_DESTINATION_UNREACHABLE || icmp->code != ICMP_FRAGMENTATION_NEEDED) {
		tell_unreachable(told);
		return PASS_TUNNEL_ERROR_RELAYED;
	}
	if (mtu >= length_of(quoted->outer->total_length))
		return DROP_TUNNEL_MTU_INVALID;
	if (mtu < least)
		mtu = least; /* what is not larger may be fragmented; and old routers say zero (RFC 1191) */
	return tell_mtu(told, mtu, quoted->size, binding, quoted->inner);
}

/* An ICMP message of `length` to the home agent's IPv4 address; the cursor is at it. */
INLINE enum reason receive_icmp(struct xdp_md *ctx, const struct ipv4_header *header, struct cursor *frame, __u32 length)
{
	const __u32 offset = sizeof(struct ethernet_header) + IPV4_HEADER_SIZE;
	const __be32 home_agent = header->destination;
	const struct icmpv6_header *icmp = take(frame, sizeof(*icmp));
	struct ipv6_address home_address;
	struct relayed_error told = {};
	struct quoted_packet quoted;
	struct binding binding;
	enum reason reason;

	if (!icmp || (icmp->type != ICMP_DESTINATION_UNREACHABLE && icmp->type != ICMP_TIME_EXCEEDED))
		return PASS_HOME_AGENT;
	if (length > IPV6_MINIMUM_MTU - IPV6_HEADER_SIZE || !read_quoted_packet(frame, &quoted))
		return PASS_HOME_AGENT;
	if (!quoted.inner || length < sizeof(*icmp) + quoted.size + IPV6_HEADER_SIZE ||
	    *(const __u8 *)quoted.inner >> 4 != 6)
		return PASS_TUNNEL_ERROR_UNKNOWN;
	home_address = address_of(quoted.inner->destination);
	if (quoted.outer->source != home_agent || !find_mobile(ctx, &home_address, &binding) ||
	    !same_address(&binding.care_of_address, &quoted.care_of_address.high))
		return PASS_TUNNEL_ERROR_UNKNOWN;

	if (!is_intact(ctx, offset, length, 0))
		return PASS_HOME_AGENT; /* the kernel counts it */
	*frame = cursor_of(ctx);
	take(frame, offset);
	icmp = take(frame, sizeof(*icmp));
	if (!icmp || !read_quoted_packet(frame, &quoted) || !quoted.inner)
		return PASS_HOME_AGENT;
	reason = translate_ipv4_error(icmp, &quoted, &binding, &told);
	if (reason != PASS_TUNNEL_ERROR_RELAYED)
		return reason;
	told.home_agent = binding.home_agent;
	told.length = length - quoted.size;
	told.surplus = IPV4_HEADER_SIZE + quoted.size - IPV6_HEADER_SIZE;
	told.sum = sum_of_words(icmp, (ICMPV6_HEADER_SIZE + IPV4_HEADER_SIZE) / 4);
	if (quoted.size > IPV4_HEADER_SIZE)
		told.sum += sum_of_words(quoted.outer + 1, UDP_HEADER_SIZE / 4);
	told.sum = fold_checksum(told.sum);
	return relay_error(ctx, &told, quoted.inner);
}
