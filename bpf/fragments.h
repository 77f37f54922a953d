/* What fits the tunnel by the rules and its way not (RFC 2473 section 7.1 (b)): a packet of at most 1280 bytes, the least
 * that every link carries, does not with an outer header in front of it. The outer packet leaves in fragments.
 *
 * XDP can send one frame for one. So this program writes the outer packet as a single, "atomic" fragment (RFC 6946) and
 * sends it to the slow path's entrance, where fragmentation.h makes two of it. */
#pragma once

/* Sends the packet in the frame, behind `replaced` bytes of headers of the tunnel that it came by, into its own one. */
COLD long encapsulate_in_fragments(struct xdp_md *ctx, __u64 replaced, __u64 two, __u64 three)
{
	struct ipv6_header *packet = packet_at(ctx, sizeof(struct ethernet_header) + replaced);
	struct fragment_header *fragment;
	struct ethernet_header *link;
	struct tunnel_ends ends;
	__be32 version_class_flow;
	struct cursor frame;
	enum reason reason;
	__u64 length;

	if (!packet || replaced > IPV6_HEADER_SIZE)
		return PASS_MALFORMED;
	reason = find_ends(ctx, packet, replaced, &ends);
	if (reason != FOUND_ENDS)
		return reason;
	if (ports.redirect_map(SLOW_PATH_PORT, XDP_PASS) != XDP_REDIRECT)
		return DROP_LINK_MTU_TOO_SMALL;
	version_class_flow = packet->version_class_flow;
	length = packet_length(packet);
	link = move_frame(ctx, (int)replaced - IPV6_HEADER_SIZE - FRAGMENT_HEADER_SIZE, &frame);
	if (!link)
		return DROP_NO_ROOM;
	packet = take(&frame, sizeof(*packet));
	if (!packet)
		return DROP_NO_ROOM;
	fragment = take(&frame, sizeof(*fragment));
	if (!fragment)
		return DROP_NO_ROOM;
	__builtin_memset(link, 0, 12);
	link->type = bpf_htons(ETHERNET_TYPE_IPV6);
	write_ipv6(packet, version_class_flow, sizeof(*fragment) + length, NEXT_HEADER_FRAGMENT, OUTER_HOP_LIMIT,
		   ends.receiver.home_agent, &ends.receiver.care_of_address);
	fragment->next_header = NEXT_HEADER_IPV6;
	fragment->reserved = 0;
	fragment->offset_and_flags = 0;
	fragment->identification = bpf_get_prandom_u32(); /* RFC 7739 section 5.3 */
	packet = take(&frame, sizeof(*packet));
	if (!packet)
		return DROP_NO_ROOM;
	packet->hop_limit -= 1;
	count_from_end_to_end(&ends, length);
	return FORWARD_IN_FRAGMENTS;
}
