/* ICMPv6 errors from inside a tunnel (RFC 2473 section 8): a router on the way to a care-of address reports to the home
 * agent, whose packet it was, and the home agent to the source of the inner packet. Whatever went wrong in there, to that
 * source the home address is unreachable; only the MTU is for it to act on, and for the home agent to remember.
 *
 * Anybody can write such an error. It must quote a packet that would be sent now: to the care-of address of the binding
 * of the inner destination, from the home agent of the binding. */
#pragma once

/* What the message has to quote: the outer and the inner header. */
struct tunnel_error {
	struct icmpv6_header icmp;
	struct ipv6_header outer;
	struct ipv6_header inner;
};

/* The error in an ICMPv6 message, or NULL when it is none about a tunnel of this home agent, or longer than allowed. */
INLINE struct tunnel_error *take_tunnel_error(const struct ipv6_header *packet, void *end)
{
	struct cursor message = { .position = (void *)(packet + 1), .end = end };
	const __u64 length = length_of(packet->payload_length);
	struct tunnel_error *error = take(&message, sizeof(*error));

	if (!error || length < sizeof(*error) || length > IPV6_MINIMUM_MTU - IPV6_HEADER_SIZE)
		return NULL;
	if (error->icmp.type < ICMPV6_DESTINATION_UNREACHABLE || error->icmp.type > ICMPV6_PARAMETER_PROBLEM)
		return NULL;
	if (error->outer.next_header != NEXT_HEADER_IPV6 || *(__u8 *)&error->outer >> 4 != 6 ||
	    *(__u8 *)&error->inner >> 4 != 6)
		return NULL;
	return error;
}

/* Whether the quoted packet is one that the home agent sends now; if so, `binding` is set. */
INLINE int is_of_a_binding(struct xdp_md *ctx, const struct tunnel_error *error, const struct ipv6_header *packet,
			   struct binding *binding)
{
	const struct ipv6_address home_address = address_of(error->inner.destination);

	return find_mobile(ctx, &home_address, binding) &&
	       same_address(&binding->care_of_address, error->outer.destination) &&
	       same_address(binding->home_agent, error->outer.source) &&
	       same_address(binding->home_agent, packet->destination);
}

/* Cuts off what the frame has behind the packet, and checks the message, of `length`, whose pseudo header has `sum`. */
INLINE int is_intact(struct xdp_md *ctx, __u64 sum, __u32 length)
{
	const int surplus = (int)((long)ctx->data_end - (long)ctx->data) -
			    (int)(sizeof(struct ethernet_header) + IPV6_HEADER_SIZE + length);

	if (surplus < 0 || (surplus && bpf_xdp_adjust_tail(ctx, -surplus)))
		return 0;
	sum += sum_to_end(ctx, sizeof(struct ethernet_header) + IPV6_HEADER_SIZE, length);
	return !fold_checksum(sum);
}

/* Sum of the inner packet as it is quoted: what an intact message has beside the rest, so nothing is read again. */
INLINE __u16 sum_of_quoted_inner(const struct tunnel_error *error, __u64 sum_of_pseudo_header)
{
	const __u32 *words = (const __u32 *)error;

	return fold_checksum(sum_of_pseudo_header + words[0] + words[1] + words[2] + words[3] +
			     sum_of_address(error->outer.source) + sum_of_address(error->outer.destination));
}

/* Makes the frame, whose message is intact, an error of `header` to the source of the inner packet, for the kernel to
 * forward: the way there may be any. A source that is a mobile node as well gets it through its tunnel. */
INLINE int write_relayed_error(struct xdp_md *ctx, struct icmpv6_header header)
{
	struct ipv6_address home_agent, source;
	struct link_addresses received;
	struct ethernet_header *link;
	struct tunnel_error *error;
	struct icmpv6_header *icmp;
	struct ipv6_header *packet;
	struct binding binding;
	struct cursor frame = cursor_of(ctx);
	__u32 length;
	__u64 sum;

	link = take_ethernet(&frame);
	if (!link)
		return 0;
	packet = take(&frame, sizeof(*packet));
	if (!packet)
		return 0;
	error = take(&frame, sizeof(*error));
	if (!error)
		return 0;
	received = *(struct link_addresses *)link;
	home_agent = address_of(packet->destination);
	source = address_of(error->inner.source);
	length = length_of(packet->payload_length);
	sum = sum_of_quoted_inner(error, sum_of_pseudo_header(packet->source, packet->destination, length));
	length -= IPV6_HEADER_SIZE;
	sum += sum_of_pseudo_header(&home_agent.high, &source.high, length);
	sum += *(__u32 *)&header + header.data;
	header.checksum = fold_checksum(sum);

	if (bpf_xdp_adjust_head(ctx, IPV6_HEADER_SIZE))
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
	if (!icmp)
		return 0;
	write_ipv6(packet, VERSION_6, length, NEXT_HEADER_ICMPV6, ICMPV6_HOP_LIMIT, &home_agent, &source);
	*icmp = header;
	if (!find_mobile(ctx, &source, &binding))
		return 1;
	return write_tunnel(ctx, 0, &received, binding.home_agent, &binding.care_of_address, VERSION_6,
			    IPV6_HEADER_SIZE + length);
}

/* What the source of the inner packet is to be told, in `told`; 0, and the reason for silence in `silent`, if nothing. */
INLINE int translate_error(const struct tunnel_error *error, const struct binding *binding,
			   struct icmpv6_header *told, enum reason *silent)
{
	__u32 mtu = bpf_ntohl(error->icmp.data);

	if (error->icmp.type != ICMPV6_PACKET_TOO_BIG) {
		told->type = ICMPV6_DESTINATION_UNREACHABLE;
		told->code = ICMPV6_ADDRESS_UNREACHABLE;
		return 1;
	}
	if (mtu < IPV6_MINIMUM_MTU || mtu >= packet_length(&error->outer)) {
		*silent = DROP_TUNNEL_MTU_INVALID;
		return 0;
	}
	learn_path_mtu(&binding->care_of_address, mtu);
	/* A next hop that was found out with another MTU. */
	*(volatile __u32 *)&binding->slot->next_hop = 0;
	if (packet_length(&error->inner) <= IPV6_MINIMUM_MTU) {
		*silent = DROP_TUNNEL_ERROR;
		return 0;
	}
	mtu -= IPV6_HEADER_SIZE;
	if (mtu < IPV6_MINIMUM_MTU)
		mtu = IPV6_MINIMUM_MTU; /* RFC 2473 section 7.1 */
	told->type = ICMPV6_PACKET_TOO_BIG;
	told->data = bpf_htonl(mtu);
	return 1;
}

/* An ICMPv6 message to the home agent. */
COLD long receive_icmpv6(struct xdp_md *ctx, __u64 one, __u64 two, __u64 three)
{
	struct icmpv6_header told = {};
	struct ethernet_header *link;
	struct tunnel_error *error;
	struct ipv6_header *packet;
	struct cursor frame;
	struct binding binding;
	enum reason silent;
	__u32 length;

	frame = cursor_of(ctx);
	packet = take_packet(&frame, &link);
	if (!packet)
		return PASS_MALFORMED;
	error = take_tunnel_error(packet, frame.end);
	if (!error)
		return PASS_HOME_AGENT;
	if (!is_of_a_binding(ctx, error, packet, &binding))
		return PASS_TUNNEL_ERROR_UNKNOWN;
	length = length_of(packet->payload_length);
	if (!is_intact(ctx, sum_of_pseudo_header(packet->source, packet->destination, length), length))
		return PASS_HOME_AGENT; /* the kernel counts it */

	frame = cursor_of(ctx);
	take(&frame, sizeof(struct ethernet_header) + IPV6_HEADER_SIZE);
	error = take(&frame, sizeof(*error));
	if (!error)
		return PASS_HOME_AGENT;
	if (!translate_error(error, &binding, &told, &silent))
		return silent;
	if (!may_answer(&error->inner, frame.end))
		return DROP_TUNNEL_ERROR;
	if (!spend_error())
		return DROP_ERROR_RATE_LIMITED;
	return write_relayed_error(ctx, told) ? PASS_TUNNEL_ERROR_RELAYED : DROP_NO_ROOM;
}
