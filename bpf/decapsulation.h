/* Out of the tunnel: a packet a mobile node sent through its home agent (RFC 6275 section 10.4.5). */
#pragma once

/* The tunnel a packet came by. */
struct outer {
	struct ipv6_address care_of_address; /* where it came from, as a binding would say it */
	__u64 payload_length; /* of its innermost header */
	__u32 size; /* bytes of all its headers */
	__be32 version_class_flow; /* as IPv6 has it */
};

/* Takes the outer headers off. `route` is NULL when the kernel takes the packet: it decrements the hop limit itself,
 * and must never see 255, which would make neighbour discovery out of a tunnel look as if it came from a neighbour. */
INLINE int strip_outer(struct xdp_md *ctx, const struct ethernet_header *link, const struct route *route, __u32 size)
{
	const struct link_addresses received = *(const struct link_addresses *)link;
	struct ethernet_header *new_link;
	struct ipv6_header *inner;
	struct cursor frame;

	new_link = move_frame(ctx, size, &frame);
	if (!new_link)
		return 0;
	inner = take(&frame, sizeof(*inner));
	if (!inner)
		return 0;
	write_link(new_link, route ? &route->addresses : &received);
	if (route || inner->hop_limit == HOP_LIMIT_OF_A_NEIGHBOUR)
		inner->hop_limit -= 1;
	return 1;
}

/* From one mobile node to another of this home agent: the outer header is rewritten in place. */
INLINE enum reason reencapsulate(struct xdp_md *ctx, struct ethernet_header *link, struct ipv6_header *outer,
				 struct ipv6_header *inner, const struct binding *sender, const struct binding *receiver)
{
	const __u64 length = packet_length(inner);
	struct route route = {};
	enum reason reason;

	if (is_own_tunnel(sender, receiver))
		return DROP_TUNNEL_BACK;
	if (inner->hop_limit <= 1)
		return answer_with_error(ctx, ICMPV6_TIME_EXCEEDED, 0, 1);
	find_route_of_binding(ctx, &route, receiver, sizeof(*link) + IPV6_HEADER_SIZE, length + IPV6_HEADER_SIZE);
	if (route.status == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return answer_too_big(ctx, length, route.mtu, 1);
	reason = outer_route_reason(&route, FORWARD_REENCAPSULATED);
	if (reason >> REASON_VERDICT_SHIFT == VERDICT_DROP)
		return reason;

	if (reason == FORWARD_REENCAPSULATED)
		write_link(link, &route.addresses);
	write_ipv6(outer, inner->version_class_flow, length, NEXT_HEADER_IPV6, OUTER_HOP_LIMIT, receiver->home_agent,
		   &receiver->care_of_address);
	inner->hop_limit -= 1;
	count_decapsulated(sender, length);
	count_encapsulated(receiver, length);
	return reason;
}

/* Strips `size` bytes of outer headers and leaves the packet to the kernel for `reason`. */
INLINE enum reason decapsulate_for_kernel(struct xdp_md *ctx, const struct ethernet_header *link,
					  const struct binding *sender, __u32 length, __u32 size,
					  enum reason reason)
{
	if (!strip_outer(ctx, link, NULL, size))
		return DROP_NO_ROOM;
	count_decapsulated(sender, length);
	return reason;
}

/* `frame` is at the inner packet. */
INLINE enum reason leave_tunnel(struct xdp_md *ctx, struct ethernet_header *link, struct cursor *frame,
				const struct outer *outer)
{
	const int is_over_ipv6 = outer->size == IPV6_HEADER_SIZE;
	struct ipv6_header *inner = take_ipv6(frame);
	struct ipv6_address source, destination;
	struct binding sender, receiver;
	struct route route = {};
	enum reason reason;
	__u64 length;

	if (!inner || packet_length(inner) > outer->payload_length)
		return DROP_TUNNEL_MALFORMED;
	length = packet_length(inner);
	source = address_of(inner->source);
	if (!find_mobile(ctx, &source, &sender))
		return DROP_TUNNEL_NO_BINDING;
	/* Of an IPv4 care-of address nobody can forge the form in IPv6. */
	if (!same_address(&sender.care_of_address, &outer->care_of_address.high) ||
	    (is_over_ipv6 && is_ipv4(&sender.care_of_address)))
		return DROP_TUNNEL_WRONG_CARE_OF_ADDRESS;
	if (!is_forwardable(inner->destination))
		return DROP_TUNNEL_DESTINATION;
	if (!keep_congestion_mark(inner, outer->version_class_flow))
		return DROP_TUNNEL_CONGESTION;

	destination = address_of(inner->destination);
	if (find_mobile(ctx, &destination, &receiver)) {
		if (!is_over_ipv6 || UNLIKELY(is_ipv4(&receiver.care_of_address)))
			return is_own_tunnel(&sender, &receiver) ? DROP_TUNNEL_BACK : enter_later(outer->size);
		return reencapsulate(ctx, link, inner - 1, inner, &sender, &receiver);
	}
	if (is_home_agent(&destination))
		return decapsulate_for_kernel(ctx, link, &sender, length, outer->size, PASS_DECAPSULATED_LOCAL);
	if (inner->hop_limit <= 1)
		return decapsulate_for_kernel(ctx, link, &sender, length, outer->size, PASS_DECAPSULATED_HOP_LIMIT);

	find_route_of_inner(ctx, &route, &destination, sizeof(*link) + outer->size, length);
	if (!can_redirect(&route)) {
		/* No route, too big, another address of this host: the kernel knows the answer to each. */
		reason = route.status == BPF_FIB_LKUP_RET_NO_NEIGH ? PASS_DECAPSULATED_NO_NEIGHBOUR :
								     PASS_DECAPSULATED_SLOW_PATH;
		return decapsulate_for_kernel(ctx, link, &sender, length, outer->size, reason);
	}
	if (!strip_outer(ctx, link, &route, outer->size))
		return DROP_NO_ROOM;
	count_decapsulated(&sender, length);
	return FORWARD_DECAPSULATED;
}

/* Whatever comes by a tunnel over IPv6. */
COLD long decapsulate_slowly(struct xdp_md *ctx, __u64 one, __u64 two, __u64 three)
{
	struct cursor frame = cursor_of(ctx);
	struct ethernet_header *link;
	struct ipv6_header *header = take_packet(&frame, &link);
	struct outer outer = { .size = IPV6_HEADER_SIZE };

	if (!header)
		return PASS_MALFORMED;
	outer.care_of_address = address_of(header->source);
	outer.payload_length = length_of(header->payload_length);
	outer.version_class_flow = header->version_class_flow;
	frame.position = header + 1;
	return leave_tunnel(ctx, link, &frame, &outer);
}

/* The same for an ordinary packet that goes where one before it went, and not to a mobile node, in as few steps as that
 * takes. `header` is that of the tunnel. */
INLINE enum reason decapsulate(struct xdp_md *ctx, struct ipv6_header *header, void *end)
{
	const __u64 processor = bpf_get_smp_processor_id();
	struct usages *usages = usages_of(processor);
	const __u64 now = current_state_of_routes();
	struct ipv6_header *inner = header + 1;
	struct ipv6_address source, destination;
	const struct cached_route *cached;
	const struct next_hop *hop;
	struct ethernet_header *link;
	struct binding sender;
	struct cursor frame;
	struct way way;
	__u64 length;

	if ((void *)(inner + 1) > end || !usages || !now)
		return decapsulate_slowly(ctx, 0, 0, 0);
	source = address_of(inner->source);
	if (look(&source, usages, &sender) != IS_HERE)
		return decapsulate_slowly(ctx, 0, 0, 0);
	destination = address_of(inner->destination);
	length = packet_length(inner);
	cached = cached_route_to(&destination, processor);
	KEEP(cached);
	hop = next_hop_at(cached->next_hop);
	KEEP(hop);
	if (UNLIKELY(*(const __u8 *)inner >> 4 != 6 || !inner->payload_length ||
		     length > length_of(header->payload_length) || !is_hop_limit_ordinary(inner->hop_limit) ||
		     (inner->version_class_flow ^ header->version_class_flow) & ECN_MASK ||
		     !same_address(&sender.care_of_address, header->source) || is_ipv4(&sender.care_of_address) ||
		     !same_address(&destination, (const __u64 *)&cached->destination) ||
		     *(const __u64 *)&cached->generation != now || length > hop->mtu || !begin_way(hop, now, &way)))
		return decapsulate_slowly(ctx, 0, 0, 0);

	if (move_head(ctx, IPV6_HEADER_SIZE))
		return DROP_NO_ROOM;
	frame = cursor_of(ctx);
	link = take(&frame, sizeof(*link) + IPV6_HEADER_SIZE);
	if (!link)
		return DROP_NO_ROOM;
	write_way(link, &way);
	((struct ipv6_header *)(link + 1))->hop_limit -= 1;
	count_decapsulated(&sender, length);
	return FORWARD_DECAPSULATED;
}
