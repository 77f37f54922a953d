/* ICMPv6 errors (RFC 4443) built in place of the packet that caused them and sent back the way it came. */
#pragma once

/* One message of a budget of this processor, if any is left. */
INLINE int spend(struct error_budget *budget)
{
	__s64 elapsed;

	if (!budget)
		return 0;
	elapsed = bpf_ktime_get_ns() - budget->refilled_at;
	if (elapsed >= ICMPV6_INTERVAL_NS * ICMPV6_BURST) {
		budget->tokens = ICMPV6_BURST;
		budget->refilled_at += elapsed;
	} else if (elapsed >= ICMPV6_INTERVAL_NS) {
		__u64 earned = (__u64)elapsed / ICMPV6_INTERVAL_NS;

		budget->tokens += earned;
		budget->refilled_at += earned * ICMPV6_INTERVAL_NS;
		if (budget->tokens > ICMPV6_BURST)
			budget->tokens = ICMPV6_BURST;
	}
	if (budget->tokens == 0)
		return 0;
	budget->tokens -= 1;
	return 1;
}

INLINE int spend_error(void)
{
	__u32 zero = 0;

	return spend(error_budget.lookup(&zero));
}

/* RFC 4443 section 2.4 (e): no error about an error, about a redirect, or to what is not one node. */
INLINE int may_answer(const struct ipv6_header *invoking, void *end)
{
	const __u8 *type = (const __u8 *)(invoking + 1);

	if (!is_forwardable(invoking->source))
		return 0;
	if (invoking->next_header != NEXT_HEADER_ICMPV6)
		return 1;
	if ((void *)(type + 1) > end)
		return 0;
	return *type >= ICMPV6_FIRST_INFORMATIONAL && *type != ICMPV6_REDIRECT;
}

INLINE __u16 fold_checksum(__u64 sum)
{
	sum = (sum & 0xFFFFFFFF) + (sum >> 32);
	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	sum = (sum & 0xFFFF) + (sum >> 16);
	return ~sum;
}

/* Sum of the last `length` bytes of the frame, which start at `offset`, zero-padded to whole words. `length` is below
 * 4 * ICMPV6_MESSAGE_WORDS + 4. The last word is fetched through fresh pointers, so that the verifier sees one state
 * after the loop rather than one for each length. */
INLINE __u64 sum_to_end(struct xdp_md *ctx, __u32 offset, __u32 length)
{
	struct cursor frame = cursor_of(ctx);
	__u8 *position = frame.position + offset;
	__u64 sum = 0;
	union {
		__u8 bytes[4];
		__u32 word;
	} last = {};

	for (int i = 0; i < ICMPV6_MESSAGE_WORDS; i++) {
		if ((void *)(position + 4) > frame.end)
			break;
		sum += *(__u32 *)position;
		position += 4;
	}
	asm volatile("" ::: "memory"); /* read the frame's bounds again */
	frame = cursor_of(ctx);
	position = frame.position + offset + (length & 0x7FC);
	if ((void *)(position + 1) <= frame.end)
		last.bytes[0] = position[0];
	if ((void *)(position + 2) <= frame.end)
		last.bytes[1] = position[1];
	if ((void *)(position + 3) <= frame.end)
		last.bytes[2] = position[2];
	return sum + last.word;
}

/* Sum of the halves of an address. */
INLINE __u64 sum_of_address(const __u64 *words)
{
	return (words[0] & 0xFFFFFFFF) + (words[0] >> 32) + (words[1] & 0xFFFFFFFF) + (words[1] >> 32);
}

/* Sum of what an ICMPv6 checksum counts beside the message of the length (RFC 8200 section 8.1). */
INLINE __u64 sum_of_pseudo_header(const __u64 *source, const __u64 *destination, __u32 length)
{
	return sum_of_address(source) + sum_of_address(destination) + bpf_htonl(length) +
	       bpf_htonl(NEXT_HEADER_ICMPV6);
}

/* Makes the frame an ICMPv6 error about the packet in it, from `home_agent`, for XDP_TX. The frame is cut to what the
 * error quotes. `tunnel` is the care-of address when the packet came through a tunnel, whose error returns through it
 * (the frame then still has its outer header), and NULL otherwise; the compiler makes one copy for each. */
INLINE int write_error(struct xdp_md *ctx, const struct ipv6_header *invoking, __u8 type, __u32 mtu,
		       const struct ipv6_address *home_agent, const struct ipv6_address *tunnel)
{
	struct cursor frame = cursor_of(ctx);
	const __u32 headers = sizeof(struct ethernet_header) + (tunnel ? IPV6_HEADER_SIZE : 0);
	struct ipv6_address sender = address_of(invoking->source);
	struct ethernet_header received;
	struct ethernet_header *link;
	struct ipv6_header *header;
	struct icmpv6_header *icmp;
	__u32 quote = packet_length(invoking);
	__u32 length;
	__u64 sum;
	int surplus;

	link = take_ethernet(&frame);
	if (!link)
		return 0;
	received = *link;
	if (quote > ICMPV6_QUOTE_SIZE)
		quote = ICMPV6_QUOTE_SIZE;
	surplus = (int)((long)ctx->data_end - (long)ctx->data) - (int)(headers + quote);
	if (surplus < 0 || bpf_xdp_adjust_tail(ctx, -surplus))
		return 0;
	link = move_frame(ctx, -(IPV6_HEADER_SIZE + ICMPV6_HEADER_SIZE), &frame);
	if (!link)
		return 0;

	length = ICMPV6_HEADER_SIZE + quote;
	write_swapped_link(link, &received);
	if (tunnel) {
		header = take(&frame, sizeof(*header));
		if (!header)
			return 0;
		write_ipv6(header, VERSION_6, IPV6_HEADER_SIZE + length, NEXT_HEADER_IPV6, OUTER_HOP_LIMIT,
			   home_agent, tunnel);
	}
	header = take(&frame, sizeof(*header));
	if (!header)
		return 0;
	icmp = take(&frame, sizeof(*icmp));
	if (!icmp)
		return 0;
	write_ipv6(header, VERSION_6, length, NEXT_HEADER_ICMPV6, ICMPV6_HOP_LIMIT, home_agent, &sender);
	icmp->type = type;
	icmp->code = 0;
	icmp->checksum = 0;
	icmp->data = bpf_htonl(mtu);

	sum = sum_to_end(ctx, headers + IPV6_HEADER_SIZE, length);
	sum += sum_of_pseudo_header(&home_agent->high, &sender.high, length);

	frame = cursor_of(ctx);
	take(&frame, headers + IPV6_HEADER_SIZE);
	icmp = take(&frame, sizeof(*icmp));
	if (!icmp)
		return 0;
	icmp->checksum = fold_checksum(sum);
	return 1;
}

/* Answers the packet in the frame with an error: Packet Too Big, for a tunnel over a link of `link_mtu` (RFC 2473
 * section 7.1), or Time Exceeded. `is_tunnelled`: it has come by the tunnel of its source, whose header is still there. */
COLD long answer_with_error(struct xdp_md *ctx, __u64 type, __u64 link_mtu, __u64 is_tunnelled)
{
	struct ethernet_header *link;
	struct ipv6_header *packet;
	struct ipv6_address mobile;
	struct binding binding;
	struct cursor frame;
	int is_too_big;
	__u32 mtu = 0;

	frame = cursor_of(ctx);
	packet = take_packet(&frame, &link);
	if (packet && is_tunnelled)
		packet = take_ipv6(&frame);
	if (!packet)
		return DROP_NO_ROOM;
	mobile = address_of(is_tunnelled ? packet->source : packet->destination);
	if (!find_mobile(ctx, &mobile, &binding))
		return is_tunnelled ? DROP_TUNNEL_NO_BINDING : PASS_NOT_OURS; /* removed in this moment */
	is_too_big = type == ICMPV6_PACKET_TOO_BIG;
	if (is_too_big) {
		mtu = link_mtu - IPV6_HEADER_SIZE;
		if (mtu < IPV6_MINIMUM_MTU)
			mtu = IPV6_MINIMUM_MTU;
	}
	if (!may_answer(packet, frame.end))
		return is_too_big ? DROP_TOO_BIG : DROP_HOP_LIMIT;
	if (!spend_error())
		return DROP_ERROR_RATE_LIMITED;
	if (!(is_tunnelled ? write_error(ctx, packet, type, mtu, binding.home_agent, &binding.care_of_address) :
			     write_error(ctx, packet, type, mtu, binding.home_agent, NULL)))
		return DROP_NO_ROOM;
	return is_too_big ? REPLY_PACKET_TOO_BIG : REPLY_TIME_EXCEEDED;
}

/* What becomes of a packet of `length` that a tunnel over a link of `link_mtu` does not carry whole (RFC 2473 section
 * 7.1): no link may refuse what is not above the minimum MTU. */
INLINE enum reason answer_too_big(struct xdp_md *ctx, __u64 length, __u32 link_mtu, int is_tunnelled)
{
	if (length <= IPV6_MINIMUM_MTU)
		return encapsulate_in_fragments(ctx, is_tunnelled ? IPV6_HEADER_SIZE : 0, 0, 0);
	return answer_with_error(ctx, ICMPV6_PACKET_TOO_BIG, link_mtu, is_tunnelled);
}
