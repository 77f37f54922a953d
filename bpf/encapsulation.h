/* Into the tunnel: a packet to a bound home address leaves for the care-of address (RFC 6275 section 10.4.1,
 * RFC 2473). Everything is decided before the first byte is changed. */
#pragma once

INLINE enum reason encapsulate(struct xdp_md *ctx, const struct ethernet_header *link, struct ipv6_header *packet,
			       void *end, const struct binding *binding)
{
	const __be32 version_class_flow = packet->version_class_flow;
	const __u64 length = packet_length(packet);
	const struct link_addresses received = *(const struct link_addresses *)link;
	struct ethernet_header *new_link;
	struct ipv6_header *outer, *inner;
	struct route route = {};
	struct cursor frame;
	enum reason reason;

	if (is_neighbour_discovery(packet, end))
		return PASS_NEIGHBOUR_DISCOVERY;
	if (!is_forwardable(packet->source))
		return PASS_UNROUTABLE_SOURCE;
	if (UNLIKELY(is_ipv4(&binding->care_of_address)))
		return enter_later(0);
	if (packet->hop_limit <= 1)
		return answer_with_error(ctx, ICMPV6_TIME_EXCEEDED, 0, 0);
	if (length + IPV6_HEADER_SIZE > 0xFFFF)
		return DROP_TOO_BIG;

	find_route_of_binding(ctx, &route, binding, sizeof(*link), length + IPV6_HEADER_SIZE);
	if (route.status == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return answer_too_big(ctx, length, route.mtu, 0);
	reason = outer_route_reason(&route, FORWARD_ENCAPSULATED);
	if (reason >> REASON_VERDICT_SHIFT == VERDICT_DROP)
		return reason;

	if (bpf_xdp_adjust_head(ctx, -IPV6_HEADER_SIZE))
		return DROP_NO_ROOM;
	frame = cursor_of(ctx);
	new_link = take_ethernet(&frame);
	if (!new_link)
		return DROP_NO_ROOM;
	outer = take(&frame, sizeof(*outer));
	if (!outer)
		return DROP_NO_ROOM;
	inner = take(&frame, sizeof(*inner));
	if (!inner)
		return DROP_NO_ROOM;
	write_link(new_link, reason == FORWARD_ENCAPSULATED ? &route.addresses : &received);
	write_ipv6(outer, version_class_flow, length, NEXT_HEADER_IPV6, OUTER_HOP_LIMIT, binding->home_agent,
		   &binding->care_of_address);
	inner->hop_limit -= 1;
	count_encapsulated(binding, length);
	return reason;
}
