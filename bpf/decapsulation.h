/* Out of the tunnel: a packet a mobile node sent through its home agent (RFC 6275 section 10.4.5). */
#pragma once

/* Takes the outer header off. `route` is NULL when the kernel takes the packet: it decrements the hop limit itself,
 * and must never see 255, which would make neighbour discovery out of a tunnel look as if it came from a neighbour. */
INLINE int strip_outer(struct xdp_md *ctx, const struct ethernet_header *link, const struct route *route)
{
	const struct link_addresses received = *(const struct link_addresses *)link;
	struct ethernet_header *new_link;
	struct ipv6_header *inner;
	struct cursor frame;

	if (bpf_xdp_adjust_head(ctx, IPV6_HEADER_SIZE))
		return 0;
	frame = cursor_of(ctx);
	new_link = take_ethernet(&frame);
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
				 struct ipv6_header *inner, void *end, const struct binding *sender,
				 const struct binding *receiver)
{
	const __u64 length = packet_length(inner);
	struct route route = {};
	enum reason reason;

	if (is_own_tunnel(sender, receiver))
		return DROP_TUNNEL_BACK;
	if (inner->hop_limit <= 1)
		return answer_time_exceeded(ctx, inner, end, sender->home_agent, &sender->care_of_address);
	find_route_of_binding(ctx, &route, receiver, inner->version_class_flow, length + IPV6_HEADER_SIZE);
	if (route.status == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return answer_too_big(ctx, inner, end, route.mtu, sender->home_agent, &sender->care_of_address);
	reason = outer_route_reason(&route, FORWARD_REENCAPSULATED);
	if (reason >> REASON_VERDICT_SHIFT == VERDICT_DROP)
		return reason;

	if (reason == FORWARD_REENCAPSULATED)
		write_link(link, &route.addresses);
	write_ipv6(outer, inner->version_class_flow, length, NEXT_HEADER_IPV6, OUTER_HOP_LIMIT, receiver->home_agent,
		   &receiver->care_of_address);
	inner->hop_limit -= 1;
	count_decapsulated(sender->slot, length);
	count_encapsulated(receiver->slot, length);
	return reason;
}

/* Strips the outer header and leaves the packet to the kernel for `reason`. */
INLINE enum reason decapsulate_for_kernel(struct xdp_md *ctx, const struct ethernet_header *link, struct slot *slot,
					  __u32 length, enum reason reason)
{
	if (!strip_outer(ctx, link, NULL))
		return DROP_NO_ROOM;
	count_decapsulated(slot, length);
	return reason;
}

INLINE enum reason decapsulate(struct xdp_md *ctx, struct ethernet_header *link, struct ipv6_header *outer, void *end)
{
	struct cursor tunnel = { .position = outer + 1, .end = end };
	struct ipv6_header *inner = take_ipv6(&tunnel);
	struct ipv6_address source, destination;
	struct binding sender, receiver;
	struct route route = {};
	enum reason reason;
	__u64 length;

	if (!inner || packet_length(inner) > length_of(outer->payload_length))
		return DROP_TUNNEL_MALFORMED;
	length = packet_length(inner);
	source = address_of(inner->source);
	if (!find_mobile(&source, &sender))
		return DROP_TUNNEL_NO_BINDING;
	if (!same_address(&sender.care_of_address, outer->source))
		return DROP_TUNNEL_WRONG_CARE_OF_ADDRESS;
	if (!is_forwardable(inner->destination))
		return DROP_TUNNEL_DESTINATION;
	if (!keep_congestion_mark(inner, outer))
		return DROP_TUNNEL_CONGESTION;

	destination = address_of(inner->destination);
	if (find_mobile(&destination, &receiver))
		return reencapsulate(ctx, link, outer, inner, end, &sender, &receiver);
	if (is_home_agent(&destination))
		return decapsulate_for_kernel(ctx, link, sender.slot, length, PASS_DECAPSULATED_LOCAL);
	if (inner->hop_limit <= 1)
		return decapsulate_for_kernel(ctx, link, sender.slot, length, PASS_DECAPSULATED_HOP_LIMIT);

	find_route_of_inner(ctx, &route, inner, &source, &destination);
	if (!can_redirect(&route)) {
		/* No route, too big, another address of this host: the kernel knows the answer to each. */
		reason = route.status == BPF_FIB_LKUP_RET_NO_NEIGH ? PASS_DECAPSULATED_NO_NEIGHBOUR :
								     PASS_DECAPSULATED_SLOW_PATH;
		return decapsulate_for_kernel(ctx, link, sender.slot, length, reason);
	}
	if (!strip_outer(ctx, link, &route))
		return DROP_NO_ROOM;
	count_decapsulated(sender.slot, length);
	return FORWARD_DECAPSULATED;
}
