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

/* Makes the frame, with an ICMP message of `length` that quotes a packet with `size` bytes of outer headers, an error of
 * `header` to the source of the inner packet, for the kernel to forward. */
INLINE int write_translated_error(struct xdp_md *ctx, struct icmpv6_header header, __u32 size, __u32 length,
				  const struct ipv6_address *home_agent)
{
	struct cursor frame = cursor_of(ctx);
	struct link_addresses received;
	struct ethernet_header *link;
	struct ipv6_header *packet;
	struct icmpv6_header *icmp;
	struct ipv6_address source;
	struct binding binding;

	link = take_ethernet(&frame);
	if (!link)
		return 0;
	received = *(struct link_addresses *)link;
	/* The new headers take the place of the old ones: IPv4, ICMP and what the error quotes of the tunnel. */
	if (bpf_xdp_adjust_head(ctx, (int)(IPV4_HEADER_SIZE + size) - IPV6_HEADER_SIZE))
		return 0;
	frame = cursor_of(ctx);
	link = take_ethernet(&frame);
	if (!link)
		return 0;
	write_link(link, &received);
	packet = take(&frame, sizeof(*packet));
	if (!packet)
		return 0;
	icmp = take(&frame, sizeof(*icmp));
	if (!icmp || frame.position + sizeof(*packet) > frame.end)
		return 0;
	source = address_of(((struct ipv6_header *)frame.position)->source);
	length -= size;
	write_ipv6(packet, VERSION_6, length, NEXT_HEADER_ICMPV6, ICMPV6_HOP_LIMIT, home_agent, &source);
	*icmp = header;
	header.checksum = fold_checksum(sum_to_end(ctx, sizeof(*link) + IPV6_HEADER_SIZE, length) +
					sum_of_pseudo_header(&home_agent->high, &source.high, length));
	frame = cursor_of(ctx);
	take(&frame, sizeof(*link) + IPV6_HEADER_SIZE);
	icmp = take(&frame, sizeof(*icmp));
	if (!icmp)
		return 0;
	icmp->checksum = header.checksum;
	if (!find_mobile(ctx, &source, &binding))
		return 1;
	return write_tunnel(ctx, 0, &received, binding.home_agent, &binding.care_of_address, VERSION_6,
			    IPV6_HEADER_SIZE + length);
}

/* What the source of the inner packet is to be told, in `told`; 0, and the reason for silence in `silent`, if nothing. */
INLINE int translate_ipv4_error(const struct icmpv6_header *icmp, const struct quoted_packet *quoted,
				const struct binding *binding, struct icmpv6_header *told, enum reason *silent)
{
	const __u32 least = IPV6_MINIMUM_MTU + quoted->size;
	__u32 mtu = bpf_ntohl(icmp->data) & 0xFFFF;

	if (icmp->type != ICMP_DESTINATION_UNREACHABLE || icmp->code != ICMP_FRAGMENTATION_NEEDED) {
		told->type = ICMPV6_DESTINATION_UNREACHABLE;
		told->code = ICMPV6_ADDRESS_UNREACHABLE;
		return 1;
	}
	if (mtu >= length_of(quoted->outer->total_length)) {
		*silent = DROP_TUNNEL_MTU_INVALID;
		return 0;
	}
	if (mtu < least)
		mtu = least; /* what is not larger may be fragmented; and old routers say zero (RFC 1191) */
	learn_path_mtu(&quoted->care_of_address, mtu);
	*(volatile __u32 *)&binding->slot->next_hop = 0;
	if (packet_length(quoted->inner) <= IPV6_MINIMUM_MTU) {
		*silent = DROP_TUNNEL_ERROR;
		return 0;
	}
	told->type = ICMPV6_PACKET_TOO_BIG;
	told->data = bpf_htonl(mtu - quoted->size);
	return 1;
}

/* An ICMP message of `length` to the home agent's IPv4 address; the cursor is at it. */
INLINE enum reason receive_icmp(struct xdp_md *ctx, const struct ipv4_header *header, struct cursor *frame, __u32 length)
{
	const __u32 offset = sizeof(struct ethernet_header) + IPV4_HEADER_SIZE;
	const __be32 home_agent = header->destination;
	const struct icmpv6_header *icmp = take(frame, sizeof(*icmp));
	struct icmpv6_header told = {};
	struct ipv6_address home_address;
	struct quoted_packet quoted;
	struct binding binding;
	enum reason silent;
	int surplus;

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

	surplus = (int)((long)ctx->data_end - (long)ctx->data) - (int)(offset + length);
	if (surplus < 0 || (surplus && bpf_xdp_adjust_tail(ctx, -surplus)) ||
	    fold_checksum(sum_to_end(ctx, offset, length)))
		return PASS_HOME_AGENT; /* the kernel counts it */
	*frame = cursor_of(ctx);
	take(frame, offset);
	icmp = take(frame, sizeof(*icmp));
	if (!icmp || !read_quoted_packet(frame, &quoted) || !quoted.inner)
		return PASS_HOME_AGENT;
	if (!translate_ipv4_error(icmp, &quoted, &binding, &told, &silent))
		return silent;
	if (!may_answer(quoted.inner, frame->end))
		return DROP_TUNNEL_ERROR;
	if (!spend_error())
		return DROP_ERROR_RATE_LIMITED;
	return write_translated_error(ctx, told, quoted.size, length, binding.home_agent) ? PASS_TUNNEL_ERROR_RELAYED :
											     DROP_NO_ROOM;
}
