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

/* Cuts off what the frame has behind the message of `length` at the offset, and checks that. What else its checksum
 * counts has `sum`. */
INLINE int is_intact(struct xdp_md *ctx, __u32 offset, __u32 length, __u64 sum)
{
	const int surplus = (int)((long)ctx->data_end - (long)ctx->data) - (int)(offset + length);

	if (surplus < 0 || (surplus && bpf_xdp_adjust_tail(ctx, -surplus)))
		return 0;
	return !fold_checksum(sum + sum_to_end(ctx, offset, length));
}

/* What the source of a packet that did not get through the tunnel is told. */
struct relayed_error {
	struct icmpv6_header header;
	struct ipv6_address source; /* of the inner packet */
	const struct ipv6_address *home_agent;
	__u64 sum; /* of what is quoted of the inner packet: what an intact message has beside the rest of it */
	__u32 length; /* of the message */
	__u32 surplus; /* bytes that the frame has more in front of the inner packet than the error will have */
};

/* Makes the frame that error, for the kernel to forward: the way there may be any. A source that is a mobile node as well
 * gets it through its tunnel. */
INLINE int write_relayed_error(struct xdp_md *ctx, struct relayed_error *error)
{
	struct cursor frame = cursor_of(ctx);
	struct link_addresses received;
	struct ethernet_header *link;
	struct icmpv6_header *icmp;
	struct ipv6_header *packet;
	struct binding binding;

	link = take_ethernet(&frame);
	if (!link)
		return 0;
	received = *(struct link_addresses *)link;
	error->sum += sum_of_pseudo_header(&error->home_agent->high, &error->source.high, error->length);
	error->header.checksum = fold_checksum(error->sum + sum_of_words(&error->header, 2));

	link = move_frame(ctx, error->surplus, &frame);
	if (!link)
		return 0;
	write_link(link, &received);
	packet = take(&frame, sizeof(*packet));
	if (!packet)
		return 0;
	icmp = take(&frame, sizeof(*icmp));
	if (!icmp)
		return 0;
	write_ipv6(packet, VERSION_6, error->length, NEXT_HEADER_ICMPV6, ICMPV6_HOP_LIMIT, error->home_agent,
		   &error->source);
	*icmp = error->header;
	if (!find_mobile(ctx, &error->source, &binding))
		return 1;
	return write_tunnel(ctx, 0, &received, binding.home_agent, &binding.care_of_address, VERSION_6,
			    IPV6_HEADER_SIZE + error->length);
}

/* The same, if there may be an error about the inner packet, and now. */
INLINE enum reason relay_error(struct xdp_md *ctx, struct relayed_error *error, const struct ipv6_header *inner)
{
	if (!may_answer(inner, (void *)(long)ctx->data_end))
		return DROP_TUNNEL_ERROR;
	if (!spend_error())
		return DROP_ERROR_RATE_LIMITED;
	error->source = address_of(inner->source);
	return write_relayed_error(ctx, error) ? PASS_TUNNEL_ERROR_RELAYED : DROP_NO_ROOM;
}

/* No more than that: what went wrong inside the tunnel is nothing to the source. */
INLINE void tell_unreachable(struct relayed_error *told)
{
	told->header.type = ICMPV6_DESTINATION_UNREACHABLE;
	told->header.code = ICMPV6_ADDRESS_UNREACHABLE;
}

/* Remembers the MTU of the path to the care-of address, of which `overhead` is not for the inner packet. If the source
 * is not to be told, that is the reason. */
INLINE enum reason tell_mtu(struct relayed_error *told, __u32 mtu, __u32 overhead, const struct binding *binding,
			    const struct ipv6_header *inner)
{
	learn_path_mtu(&binding->care_of_address, mtu);
	/* A next hop that was found out with another MTU. */
	*(volatile __u32 *)&binding->slot->next_hop = 0;
	if (packet_length(inner) <= IPV6_MINIMUM_MTU)
		return DROP_TUNNEL_ERROR;
	mtu -= overhead;
	if (mtu < IPV6_MINIMUM_MTU)
		mtu = IPV6_MINIMUM_MTU; /* RFC 2473 section 7.1 */
	told->header.type = ICMPV6_PACKET_TOO_BIG;
	told->header.data = bpf_htonl(mtu);
	return PASS_TUNNEL_ERROR_RELAYED;
}

/* What the source of the inner packet is to be told, in `told`, or the reason for silence. */
INLINE enum reason translate_error(const struct tunnel_error *error, const struct binding *binding,
				   struct relayed_error *told)
{
	const __u32 mtu = bpf_ntohl(error->icmp.data);

	if (error->icmp.type != ICMPV6_PACKET_TOO_BIG) {
		tell_unreachable(told);
		return PASS_TUNNEL_ERROR_RELAYED;
	}
	if (mtu < IPV6_MINIMUM_MTU || mtu >= packet_length(&error->outer))
		return DROP_TUNNEL_MTU_INVALID;
	return tell_mtu(told, mtu, IPV6_HEADER_SIZE, binding, &error->inner);
}

/* An ICMPv6 message to the home agent. */
COLD long receive_icmpv6(struct xdp_md *ctx, __u64 one, __u64 two, __u64 three)
{
	const __u32 offset = sizeof(struct ethernet_header) + IPV6_HEADER_SIZE;
	struct relayed_error told = { .surplus = IPV6_HEADER_SIZE };
	struct ethernet_header *link;
	struct tunnel_error *error;
	struct ipv6_header *packet;
	struct cursor frame;
	struct binding binding;
	enum reason reason;
	__u32 length;
	__u64 sum;

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
	sum = sum_of_pseudo_header(packet->source, packet->destination, length);
	if (!is_intact(ctx, offset, length, sum))
		return PASS_HOME_AGENT; /* the kernel counts it */

	frame = cursor_of(ctx);
	take(&frame, offset);
	error = take(&frame, sizeof(*error));
	if (!error)
		return PASS_HOME_AGENT;
	reason = translate_error(error, &binding, &told);
	if (reason != PASS_TUNNEL_ERROR_RELAYED)
		return reason;
	told.home_agent = binding.home_agent;
	told.length = length - IPV6_HEADER_SIZE;
	told.sum = fold_checksum(sum + sum_of_words(error, (ICMPV6_HEADER_SIZE + IPV6_HEADER_SIZE) / 4));
	return relay_error(ctx, &told, &error->inner);
}
