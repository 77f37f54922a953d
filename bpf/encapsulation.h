/* Into the tunnel: a packet to a bound home address leaves for the care-of address (RFC 6275 section 10.4.1,
 * RFC 2473). Everything is decided before the first byte is changed. */
#pragma once

INLINE enum reason encapsulate_any(struct xdp_md *ctx, const struct ethernet_header *link, struct ipv6_header *packet,
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

	new_link = move_frame(ctx, -IPV6_HEADER_SIZE, &frame);
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

/* Every packet to an address that is not the home agent's. */
COLD long encapsulate_slowly(struct xdp_md *ctx, __u64 one, __u64 two, __u64 three)
{
	struct cursor frame = cursor_of(ctx);
	struct ipv6_address destination;
	struct ethernet_header *link;
	struct ipv6_header *packet;
	struct binding binding;

	packet = take_packet(&frame, &link);
	if (!packet)
		return PASS_MALFORMED;
	destination = address_of(packet->destination);
	if (!find_mobile(ctx, &destination, &binding))
		return PASS_NOT_OURS;
	return encapsulate_any(ctx, link, packet, frame.end, &binding);
}

/* The same for an ordinary packet that goes where the one before went, in as few steps as that takes. */
INLINE enum reason encapsulate(struct xdp_md *ctx, struct ipv6_header *packet)
{
	struct usages *usages = usages_of(bpf_get_smp_processor_id());
	const __u64 now = current_state_of_routes();
	const struct ipv6_address destination = address_of(packet->destination);
	const struct next_hop *hop;
	__be32 version_class_flow;
	struct ethernet_header *link;
	struct ipv6_header *outer;
	struct binding binding;
	enum sighting sighting;
	struct cursor frame;
	struct way way;
	__u64 length;

	if (!usages)
		return PASS_NOT_OURS;
	sighting = look(&destination, usages, &binding);
	if (UNLIKELY(sighting != IS_HERE))
		return sighting == IS_NOWHERE && !WITH_MOBILE_NETWORKS ? PASS_NOT_OURS :
									 encapsulate_slowly(ctx, 0, 0, 0);
	version_class_flow = packet->version_class_flow;
	length = packet_length(packet);
	hop = next_hop_at(binding.word >> 32);
	KEEP(hop);
	if (UNLIKELY(!is_hop_limit_ordinary(packet->hop_limit) || !is_clearly_forwardable(packet->source) ||
		     is_ipv4(&binding.care_of_address) || !now || !is_reference_of(now, &binding) ||
		     length + IPV6_HEADER_SIZE > hop->mtu || !begin_way(hop, now, &way)))
		return encapsulate_slowly(ctx, 0, 0, 0);

	if (move_head(ctx, -IPV6_HEADER_SIZE))
		return DROP_NO_ROOM;
	frame = cursor_of(ctx);
	link = take(&frame, sizeof(*link) + 2 * IPV6_HEADER_SIZE);
	if (!link)
		return DROP_NO_ROOM;
	outer = (struct ipv6_header *)(link + 1);
	write_way(link, &way);
	write_outer(outer, version_class_flow, length, binding.home_agent, &binding.care_of_address);
	outer[1].hop_limit -= 1;
	count_encapsulated(&binding, length);
	return FORWARD_ENCAPSULATED;
}
