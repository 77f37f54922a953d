/* Answers written over the packet that asks for them, and never longer than it: nobody is made to send more to a third
 * party than he is sent himself. */
#pragma once

/* Cuts the frame to a packet of `length` bytes behind its header, from where the one in it went to where it came from.
 * Returns where those bytes begin, NULL if the frame has no room for them. Pointers into the frame are void after it. */
INLINE void *begin_answer(struct xdp_md *ctx, const struct ethernet_header *link, const struct ipv6_header *packet,
			  __u8 next_header, __u32 length)
{
	const struct ipv6_address source = address_of(packet->destination);
	const struct ipv6_address destination = address_of(packet->source);
	const struct ethernet_header received = *link;
	struct ethernet_header *new_link;
	struct ipv6_header *header;
	struct cursor frame;
	long surplus;

	surplus = (long)ctx->data_end - (long)ctx->data;
	asm volatile("" : "+r"(surplus)); /* or the compiler adds to the frame's end, which the verifier forbids */
	surplus -= sizeof(received) + IPV6_HEADER_SIZE + length;
	if (surplus < 0 || bpf_xdp_adjust_tail(ctx, -surplus))
		return NULL;
	frame = cursor_of(ctx);
	new_link = take_ethernet(&frame);
	header = new_link ? take(&frame, sizeof(*header)) : NULL;
	if (!header)
		return NULL;
	write_swapped_link(new_link, &received);
	write_ipv6(header, VERSION_6, length, next_header, OUTER_HOP_LIMIT, &source, &destination);
	return frame.position;
}
