/* Makes two fragments of an outer packet (RFC 8200 section 4.5), attached where frames come out of the slow path's
 * entrance: home_agent.c has sent it there as a single fragment, fragments.h says why. The kernel forwards both, as
 * all that comes by this way. */
#pragma once

/* In the reserved field, between the two times that a packet comes here. */
#define SECOND_FRAGMENT 2

struct fragment {
	struct ipv6_header *packet;
	struct fragment_header *header;
};

/* The headers of a fragment; `header` is NULL for all else. */
INLINE struct fragment fragment_of(struct __sk_buff *skb)
{
	struct cursor frame = { .position = (void *)(long)skb->data, .end = (void *)(long)skb->data_end };
	struct ethernet_header *link = take_ethernet(&frame);
	struct fragment found = {};

	if (!link || link->type != bpf_htons(ETHERNET_TYPE_IPV6))
		return found;
	found.packet = take(&frame, sizeof(*found.packet));
	if (found.packet && found.packet->next_header == NEXT_HEADER_FRAGMENT)
		found.header = take(&frame, sizeof(*found.header));
	return found;
}

/* Makes the packet, of which the first fragment has left, the second one. */
INLINE int make_second(struct __sk_buff *skb, struct fragment fragment)
{
	const __u32 length = length_of(fragment.packet->payload_length);
	struct fragment_header header = *fragment.header;

	if (length <= FRAGMENT_HEADER_SIZE + FIRST_FRAGMENT_SIZE)
		return 0;
	if (bpf_skb_adjust_room(skb, -FIRST_FRAGMENT_SIZE, BPF_ADJ_ROOM_NET, 0))
		return 0;
	fragment = fragment_of(skb);
	if (!fragment.header)
		return 0;
	fragment.packet->payload_length = bpf_htons(length - FIRST_FRAGMENT_SIZE);
	header.reserved = 0;
	header.offset_and_flags = bpf_htons(FIRST_FRAGMENT_SIZE);
	*fragment.header = header;
	return 1;
}

/* Lets a copy come here again, and makes the packet the first fragment. */
INLINE int make_first(struct __sk_buff *skb, struct fragment fragment)
{
	fragment.header->reserved = SECOND_FRAGMENT;
	if (bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS))
		return 0;
	fragment = fragment_of(skb);
	if (!fragment.header)
		return 0;
	fragment.header->reserved = 0;
	fragment.header->offset_and_flags = FRAGMENT_MORE;
	/* The kernel cuts off what is behind this length. */
	fragment.packet->payload_length = bpf_htons(FRAGMENT_HEADER_SIZE + FIRST_FRAGMENT_SIZE);
	return 1;
}

INLINE int split(struct __sk_buff *skb)
{
	struct fragment fragment = fragment_of(skb);

	if (!fragment.header)
		return 1;
	return fragment.header->reserved == SECOND_FRAGMENT ? make_second(skb, fragment) : make_first(skb, fragment);
}

int fragmentation(struct __sk_buff *skb)
{
	if (!split(skb)) {
		count_reason(DROP_FRAGMENTATION);
		return TC_ACT_SHOT;
	}
	/* Whatever address the frame has: it was sent here to be forwarded. */
	bpf_skb_change_type(skb, PACKET_HOST);
	return TC_ACT_OK;
}
