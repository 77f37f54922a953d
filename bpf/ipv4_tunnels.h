/* Into a tunnel where one of two is over IPv4: IPv6 in IPv4 (RFC 4213 section 3), or in UDP in IPv4 (RFC 5555 section
 * 4.1) where a NAT is between. The packet comes as it is or out of another tunnel, and may leave into one over IPv6. As
 * in encapsulation.h, everything is decided before the first byte is changed. */
#pragma once

/* No reason: `enter_tunnel` is to find one. Added to it are the bytes of headers in front of the packet that belong to
 * the tunnel it came out of. */
#define ENTER_TUNNEL (MAX_REASONS + 1)

INLINE enum reason enter_later(__u32 replaced)
{
	return ENTER_TUNNEL + replaced;
}

/* A packet of `length`. One that may not be answered with Packet Too Big, for IPv6 requires every link to carry it, may
 * be fragmented on its way (RFC 4213 section 3.2.2); only then its identification counts (RFC 6864). */
INLINE void write_ipv4(struct ipv4_header *header, const struct ipv6_address *care_of_address,
		       __be32 version_class_flow, __u32 length)
{
	const int is_whole = length > IPV6_MINIMUM_MTU;
	__u32 *words = (__u32 *)header;
	__u64 sum = 0;

	header->version_length = IPV4_FIRST_OCTET;
	header->service = bpf_ntohl(version_class_flow) >> 20;
	header->total_length = bpf_htons(length + tunnel_size(care_of_address));
	header->identification = is_whole ? 0 : bpf_get_prandom_u32();
	header->fragment = is_whole ? bpf_htons(IPV4_DO_NOT_FRAGMENT) : 0;
	header->time_to_live = OUTER_HOP_LIMIT;
	header->protocol = udp_port_of(care_of_address) ? NEXT_HEADER_UDP : NEXT_HEADER_IPV6;
	header->checksum = 0;
	header->source = ipv4_home_agent_of(care_of_address);
	header->destination = ipv4_address_of(care_of_address);
	for (int i = 0; i < IPV4_HEADER_SIZE / 4; i++)
		sum += words[i];
	header->checksum = fold_checksum(sum);
}

/* Without a checksum: what is inside has its own, over its addresses too, and summing all of it costs too much here. */
INLINE void write_udp(struct udp_header *header, __be16 port, __u32 length)
{
	header->source_port = bpf_htons(TUNNEL_PORT);
	header->destination_port = port;
	header->length = bpf_htons(UDP_HEADER_SIZE + length);
	header->checksum = 0;
}

/* Writes the headers of a tunnel in front of a packet of `length`, in the place of `replaced` bytes. 0 if there is no
 * room. `addresses` is not in the frame. */
INLINE int write_tunnel(struct xdp_md *ctx, __u32 replaced, const struct link_addresses *addresses,
			const struct ipv6_address *home_agent, const struct ipv6_address *care_of_address,
			__be32 version_class_flow, __u32 length)
{
	struct ethernet_header *link;
	struct ipv6_header *outer;
	struct ipv4_header *ipv4;
	struct udp_header *udp;
	struct cursor frame;

	link = move_frame(ctx, (int)(replaced - tunnel_size(care_of_address)), &frame);
	if (!link)
		return 0;
	write_link(link, addresses);
	if (!is_ipv4(care_of_address)) {
		outer = take(&frame, sizeof(*outer));
		if (!outer)
			return 0;
		write_ipv6(outer, version_class_flow, length, NEXT_HEADER_IPV6, OUTER_HOP_LIMIT, home_agent,
			   care_of_address);
		return 1;
	}
	link->type = bpf_htons(ETHERNET_TYPE_IPV4);
	ipv4 = take(&frame, sizeof(*ipv4));
	if (!ipv4)
		return 0;
	write_ipv4(ipv4, care_of_address, version_class_flow, length);
	if (!udp_port_of(care_of_address))
		return 1;
	udp = take(&frame, sizeof(*udp));
	if (!udp)
		return 0;
	write_udp(udp, udp_port_of(care_of_address), length);
	return 1;
}

/* Makes the frame an error about the packet in it. If that came out of the tunnel of `sender`, of which `replaced` bytes
 * are in front of it, the error goes back into that. */
INLINE int write_error_for(struct xdp_md *ctx, __u32 replaced, __u8 type, __u32 mtu,
			   const struct ipv6_address *home_agent, const struct ipv6_address *sender)
{
	struct cursor frame = cursor_of(ctx);
	struct ethernet_header *link = take_ethernet(&frame);
	struct link_addresses addresses;
	struct ipv6_header *packet;

	if (!link)
		return 0;
	addresses = *(struct link_addresses *)link;
	link = move_frame(ctx, replaced, &frame);
	if (!link)
		return 0;
	write_link(link, &addresses);
	packet = take(&frame, sizeof(*packet));
	if (!packet || !write_error(ctx, packet, type, mtu, home_agent, NULL))
		return 0;
	if (!replaced)
		return 1;

	frame = cursor_of(ctx);
	link = take_ethernet(&frame);
	if (!link)
		return 0;
	addresses = *(struct link_addresses *)link;
	packet = take(&frame, sizeof(*packet));
	if (!packet)
		return 0;
	return write_tunnel(ctx, 0, &addresses, home_agent, sender, VERSION_6, packet_length(packet));
}

/* What `enter_tunnel` returns when the source of the packet is to be told of an error, of a type and an MTU. */
#define TELL_SOURCE(type, mtu) ((__u64)(mtu) << 32 | (type) << 16)
#define FIRST_TO_TELL 0x10000
#define SEND_IN_FRAGMENTS (FIRST_TO_TELL - 1) /* likewise */

COLD long tell_source(struct xdp_md *ctx, __u64 replaced, __u64 type, __u64 mtu)
{
	struct ipv6_header *packet = packet_at(ctx, sizeof(struct ethernet_header) + replaced);
	struct ipv6_address mobile;
	struct binding binding;

	if (!packet || replaced > IPV6_HEADER_SIZE)
		return PASS_MALFORMED;
	if (!may_answer(packet, (void *)(long)ctx->data_end))
		return mtu ? DROP_TOO_BIG : DROP_HOP_LIMIT;
	mobile = address_of(replaced ? packet->source : packet->destination);
	if (!find_mobile(ctx, &mobile, &binding))
		return DROP_TUNNEL_NO_BINDING; /* removed in this moment */
	if (!spend_error())
		return DROP_ERROR_RATE_LIMITED;
	if (!write_error_for(ctx, replaced, type, mtu, binding.home_agent, &binding.care_of_address))
		return DROP_NO_ROOM;
	return mtu ? REPLY_PACKET_TOO_BIG : REPLY_TIME_EXCEEDED;
}

COLD long enter_tunnel(struct xdp_md *ctx, __u64 replaced, __u64 two, __u64 three)
{
	struct ipv6_header *packet = packet_at(ctx, sizeof(struct ethernet_header) + replaced);
	struct link_addresses addresses;
	struct ethernet_header *link;
	struct tunnel_ends ends;
	struct route route = {};
	__be32 version_class_flow;
	struct cursor frame;
	enum reason reason;
	__u64 length;
	__u32 size;

	if (!packet || replaced > IPV6_HEADER_SIZE)
		return PASS_MALFORMED;
	reason = find_ends(ctx, packet, replaced, &ends);
	if (reason != FOUND_ENDS)
		return reason;
	version_class_flow = packet->version_class_flow;
	length = packet_length(packet);
	size = forget(tunnel_size(&ends.receiver.care_of_address));
	if (length + size > 0xFFFF)
		return DROP_TOO_BIG;
	if (packet->hop_limit <= 1)
		return TELL_SOURCE(ICMPV6_TIME_EXCEEDED, 0);
	if (!follow_binding(&route, &ends.receiver, length + size))
		ask_route_of_binding(ctx, &route, &ends.receiver, 1, version_class_flow, length + size);
	if (route.status != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		reason = outer_route_reason(&route, replaced ? FORWARD_REENCAPSULATED : FORWARD_ENCAPSULATED);
	else if (length > IPV6_MINIMUM_MTU)
		return TELL_SOURCE(ICMPV6_PACKET_TOO_BIG,
				   route.mtu - size < IPV6_MINIMUM_MTU ? IPV6_MINIMUM_MTU : route.mtu - size);
	else if (is_ipv4(&ends.receiver.care_of_address))
		reason = PASS_ENCAPSULATED_TO_FRAGMENT;
	else
		return SEND_IN_FRAGMENTS;
	reason = forget(reason);
	if (reason >> REASON_VERDICT_SHIFT == VERDICT_DROP)
		return reason;

	frame = cursor_of(ctx);
	link = take_ethernet(&frame);
	if (!link)
		return DROP_NO_ROOM;
	addresses = *(struct link_addresses *)link;
	packet->hop_limit -= 1;
	if (reason >> REASON_VERDICT_SHIFT == VERDICT_FORWARD)
		addresses = route.addresses;
	if (!write_tunnel(ctx, replaced, &addresses, ends.receiver.home_agent, &ends.receiver.care_of_address,
			  version_class_flow, length))
		return DROP_NO_ROOM;
	count_from_end_to_end(&ends, length);
	return reason;
}

/* Sends a packet into its tunnel, when everything but hop limit and size is known to be right. `replaced` bytes in front
 * of it are of the tunnel it came out of. */
INLINE enum reason send_into_tunnel(struct xdp_md *ctx, __u32 replaced)
{
	const long result = enter_tunnel(ctx, replaced, 0, 0);

	if (result == SEND_IN_FRAGMENTS)
		return encapsulate_in_fragments(ctx, replaced, 0, 0);
	if (result < FIRST_TO_TELL)
		return result;
	return tell_source(ctx, replaced, (result >> 16) & 0xFF, (__u64)result >> 32);
}
