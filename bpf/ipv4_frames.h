/* IPv4 frames, among which those of tunnels that end here: IPv6 in IPv4, and IPv6 in UDP in IPv4. All else is the
 * kernel's, and so is what comes in fragments or with options, until the slow path brings it back whole and without. */
#pragma once

INLINE int is_home_agent_ipv4(__be32 address)
{
	return HOME_AGENT_IPV4_IS(address);
}

/* IPv6 has no checksum over its header; here it is what tells a damaged care-of address. */
INLINE int is_header_intact(const struct ipv4_header *header)
{
	const __u32 *words = (const __u32 *)header;
	__u64 sum = 0;

	for (int i = 0; i < IPV4_HEADER_SIZE / 4; i++)
		sum += words[i];
	return fold_checksum(sum) == 0;
}

/* Whether a packet in UDP is signalling, which the control plane reads together with address and port of the NAT (RFC
 * 5555 section 5.2.1): to the home agent, and protected or about to be. It comes before any binding. */
INLINE int is_signalling(const struct ipv6_header *packet, void *end)
{
	struct ipv6_address destination;

	if ((void *)(packet + 1) > end)
		return 0;
	destination = address_of(packet->destination);
	if (!is_home_agent(&destination))
		return 0;
	return packet->next_header == NEXT_HEADER_ESP || packet->next_header == NEXT_HEADER_MOBILITY ||
	       packet->next_header == NEXT_HEADER_DESTINATION_OPTIONS;
}

/* `frame` is behind the header. */
INLINE enum reason leave_ipv4_tunnel(struct xdp_md *ctx, struct ethernet_header *link, const struct ipv4_header *header,
				     struct cursor *frame)
{
	const struct udp_header *udp;
	__be16 port = 0;
	struct outer outer = {
		.size = IPV4_HEADER_SIZE,
		.payload_length = length_of(header->total_length) - IPV4_HEADER_SIZE,
		.version_class_flow = bpf_htonl(header->service << 20),
	};

	if (header->protocol == NEXT_HEADER_UDP) {
		udp = take(frame, sizeof(*udp));
		if (!udp || length_of(udp->length) < UDP_HEADER_SIZE || length_of(udp->length) > outer.payload_length)
			return PASS_MALFORMED;
		if (udp->destination_port != bpf_htons(TUNNEL_PORT))
			return PASS_HOME_AGENT;
		if (is_signalling(frame->position, frame->end))
			return PASS_UDP_SIGNALLING;
		port = udp->source_port;
		outer.size += UDP_HEADER_SIZE;
		outer.payload_length = length_of(udp->length) - UDP_HEADER_SIZE;
	}
	outer.care_of_address = ipv4_care_of_address(header->source, port, header->destination);
	return leave_tunnel(ctx, link, frame, &outer);
}

COLD long handle_ipv4_frame(struct xdp_md *ctx, __u64 one, __u64 two, __u64 three)
{
	const struct ipv4_header *header;
	struct ethernet_header *link;
	__u64 length, header_length;
	struct cursor frame;

	frame = cursor_of(ctx);
	link = take_ethernet(&frame);
	header = link ? take(&frame, sizeof(*header)) : NULL;
	if (!header || header->version_length >> 4 != 4)
		return PASS_MALFORMED;
	if (!is_home_agent_ipv4(header->destination))
		return PASS_NOT_OURS;
	header_length = (header->version_length & 0xF) * 4;
	length = length_of(header->total_length);
	if (header_length < IPV4_HEADER_SIZE || length < header_length || (void *)header + length > frame.end)
		return PASS_MALFORMED;
	if (header->fragment & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
		return PASS_IPV4_FRAGMENT;
	if (header->protocol != NEXT_HEADER_IPV6 && header->protocol != NEXT_HEADER_UDP &&
	    header->protocol != PROTOCOL_ICMP)
		return PASS_HOME_AGENT;
	if (header_length != IPV4_HEADER_SIZE)
		return PASS_IPV4_OPTIONS;
	if (!is_header_intact(header))
		return PASS_MALFORMED;
	if (header->protocol == PROTOCOL_ICMP)
		return receive_icmp(ctx, header, &frame, length - IPV4_HEADER_SIZE);
	return leave_ipv4_tunnel(ctx, link, header, &frame);
}
