/* The data path of the home agent, attached to every interface it serves. What each frame becomes stands in
 * reasons.h; docs/architecture.md draws the way of a packet. Compiled by bcc when the data path is loaded. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/if_packet.h>
#include <uapi/linux/pkt_cls.h>

#include "consts.h"
#include "filled_in.h"
#include "reasons.h"
#include "headers.h"
#include "structs.h"
#include "maps.h"
#include "accounting.h"
#include "parsing.h"
#include "cold.h"
#include "bindings.h"
#include "mobile_networks.h"
#include "searching.h"
#include "ipv4_care_of_address.h"
#include "vlan.h"
#include "forwarding.h"
#include "path_mtu.h"
#include "next_hops.h"
#include "writing.h"
#include "tunnel_ends.h"
#include "fragments.h"
#include "icmp.h"
#include "neighbour_discovery.h"
#include "ipv4_tunnels.h"
#include "encapsulation.h"
#include "ecn.h"
#include "decapsulation.h"
#include "udp_encapsulation.h"
#include "answering.h"
#include "binding_error.h"
#include "home_address_option.h"
#include "tunnel_errors.h"
#include "ipv4_errors.h"
#include "ipv4_frames.h"
#if WITH_STRANGER_LIMITS
#include "strangers.h"
#endif
#include "fragmentation.h"
#include "tunnel_filter.h"

INLINE enum reason handle_frame(struct xdp_md *ctx)
{
	struct cursor frame = cursor_of(ctx);
	struct ethernet_header *link;
	struct ipv6_header *packet;
	struct ipv6_address destination;
	int is_group_frame;
	enum reason answer;
	__u8 next_header;

	link = take_ethernet(&frame);
	if (!link)
		return PASS_MALFORMED;
	is_group_frame = link->destination[0] & ETHERNET_GROUP_BIT;
	if (link->type != bpf_htons(ETHERNET_TYPE_IPV6)) {
#if WITH_IPV4_TUNNELS
		if (link->type == bpf_htons(ETHERNET_TYPE_IPV4))
			return is_group_frame ? PASS_GROUP_FRAME : handle_ipv4_frame(ctx, 0, 0, 0);
#endif
		return PASS_NOT_IPV6;
	}
	if (is_group_frame && !WITH_HOME_LINKS)
		return PASS_GROUP_FRAME;
	packet = take_ipv6(&frame);
	if (!packet)
		return PASS_MALFORMED;
#if WITH_HOME_LINKS
	if (UNLIKELY(packet->hop_limit == HOP_LIMIT_OF_A_NEIGHBOUR)) {
		answer = answer_solicitation(ctx, 0, 0, 0);
		if (answer != NOT_ANSWERED)
			return answer;
		frame = cursor_of(ctx);
		packet = take_packet(&frame, &link);
		if (!packet)
			return PASS_MALFORMED;
	}
#endif
	if (is_group_frame)
		return PASS_GROUP_FRAME;

	destination = address_of(packet->destination);
	if (!is_home_agent(&destination))
		return encapsulate(ctx, packet);
	if (packet->next_header == NEXT_HEADER_IPV6)
		return decapsulate(ctx, packet, frame.end);
	next_header = packet->next_header;
#if WITH_STRANGER_LIMITS
	answer = screen_stranger(ctx, 0, 0, 0);
	if (answer != PASS_HOME_AGENT)
		return answer;
#endif
	if (next_header == NEXT_HEADER_DESTINATION_OPTIONS || next_header == NEXT_HEADER_HOP_BY_HOP ||
	    next_header == NEXT_HEADER_ROUTING)
		return receive_from_home_address(ctx, 0, 0, 0);
	if (next_header == NEXT_HEADER_ICMPV6)
		return receive_icmpv6(ctx, 0, 0, 0);
	if (next_header == NEXT_HEADER_FRAGMENT)
		return PASS_FRAGMENT;
	return PASS_HOME_AGENT;
}

INLINE enum reason handle_untagged_frame(struct xdp_md *ctx)
{
	enum reason reason = handle_frame(ctx);

	if (WITH_IPV4_TUNNELS && UNLIKELY(reason >= ENTER_TUNNEL))
		reason = send_into_tunnel(ctx, reason - ENTER_TUNNEL);
	return reason;
}

#if WITH_VLANS
INLINE enum reason handle_frame_with_tag(struct xdp_md *ctx)
{
	struct frame_tags *tags = tags_of_frame();
	enum reason reason;
	__u32 tag;

	if (!tags)
		return PASS_NOT_OURS;
	tags->ingress = ctx->ingress_ifindex;
	tags->received = tags->sent = 0;
	if (!take_tag(ctx, tags))
		return PASS_UNKNOWN_VLAN;
	/* The verifier need not go through the rest once for each reason. */
	reason = forget(handle_untagged_frame(ctx));
	switch (reason >> REASON_VERDICT_SHIFT) {
	case VERDICT_FORWARD:
		tag = tags->sent;
		break;
	case VERDICT_DROP:
		return reason;
	default:
		tag = tags->received;
	}
	return !tag || put_tag(ctx, tag) ? reason : DROP_NO_ROOM;
}
#else
#define handle_frame_with_tag handle_untagged_frame
#endif

int home_agent(struct xdp_md *ctx)
{
	enum reason reason = handle_frame_with_tag(ctx);

	count_reason(reason);
	switch (reason >> REASON_VERDICT_SHIFT) {
	case VERDICT_FORWARD:
		return XDP_REDIRECT;
	case VERDICT_REPLY:
		return XDP_TX;
	case VERDICT_PASS:
		return XDP_PASS;
	default:
		return XDP_DROP;
	}
}
