/* The type 2 routing header (RFC 6275 section 6.4): the care-of address is where the packet goes, the home address is
 * the one segment left. Upper layers and ESP have computed over the home address, so nothing of them changes. */
#pragma once

INLINE enum reason route_to_care_of_address(struct __sk_buff *skb, const struct ipv6_header *packet,
					    const struct ipv6_address *care_of_address, __u32 *port)
{
	const __u32 length = packet_length(packet) + sizeof(struct routing_header);
	const struct ipv6_address home_address = address_of(packet->destination);
	const __u8 next_header = packet->next_header;
	struct bpf_fib_lookup query = {};
	struct routing_header *routing;
	struct ipv6_header *outer;
	struct cursor frame;
	int status;

	if (length - IPV6_HEADER_SIZE > 0xFFFF)
		return DROP_HOME_LINK_UNSUITABLE;
	query.family = ADDRESS_FAMILY_INET6;
	query.l4_protocol = NEXT_HEADER_ROUTING;
	query.ifindex = skb->ifindex;
	__builtin_memcpy(query.ipv6_src, packet->source, sizeof(*care_of_address));
	__builtin_memcpy(query.ipv6_dst, care_of_address, sizeof(*care_of_address));
	status = bpf_fib_lookup(skb, &query, sizeof(query), 0);
	if (status == BPF_FIB_LKUP_RET_FWD_DISABLED)
		return DROP_FORWARDING_DISABLED;
	if (status != BPF_FIB_LKUP_RET_SUCCESS && status != BPF_FIB_LKUP_RET_NO_NEIGH)
		return DROP_NO_ROUTE;
	*port = query.ifindex;
	if (same_address(care_of_address, packet->destination))
		return FORWARD_AT_HOME; /* RFC 6275 section 9.5.4 */

	if (bpf_skb_adjust_room(skb, sizeof(*routing), BPF_ADJ_ROOM_NET, 0))
		return DROP_NO_ROOM;
	frame = (struct cursor){ .position = (void *)(long)skb->data, .end = (void *)(long)skb->data_end };
	take_ethernet(&frame);
	outer = take(&frame, sizeof(*outer));
	if (!outer)
		return DROP_NO_ROOM;
	routing = take(&frame, sizeof(*routing));
	if (!routing)
		return DROP_NO_ROOM;
	outer->payload_length = bpf_htons(length - IPV6_HEADER_SIZE);
	outer->next_header = NEXT_HEADER_ROUTING;
	outer->destination[0] = care_of_address->high;
	outer->destination[1] = care_of_address->low;
	routing->next_header = next_header;
	routing->length = 2;
	routing->type = ROUTING_TYPE_MOBILITY;
	routing->segments_left = 1;
	routing->reserved = 0;
	routing->home_address[0] = home_address.high;
	routing->home_address[1] = home_address.low;
	return FORWARD_WITH_ROUTING_HEADER;
}
