/* On a home link: hosts that ask for a bound home address get the home agent's link-layer address (RFC 6275
 * section 10.4.1, RFC 4861 section 7.2.8), and whoever wants to use the address himself learns that it is taken. What is not
 * answered here takes the way of any other frame. */
#pragma once

/* No reason: the frame goes on. */
#define NOT_ANSWERED MAX_REASONS

#if WITH_HOME_LINKS

#define ADVERTISEMENT_SIZE                                                                                             \
	(sizeof(struct ethernet_header) + IPV6_HEADER_SIZE + sizeof(struct neighbour_message) +                        \
	 sizeof(struct link_address_option))

/* What has to be known of a solicitation once the frame is written over. */
struct solicitation {
	struct ipv6_address source;
	struct ipv6_address target;
	__u8 answer_to[6]; /* link-layer address */
	__u8 of_router; /* the target is a mobile router's */
};

INLINE int is_unspecified(const struct ipv6_address *address)
{
	return !address->high && !address->low;
}

INLINE int is_solicited_node_group(const __u64 *words)
{
	return bpf_ntohll(words[0]) == 0xFF02000000000000ULL && bpf_ntohll(words[1]) >> 24 == 0x1FF;
}

/* Whether the packet is a valid solicitation (RFC 4861 section 7.1.1, the hop limit apart); if so, `found` is set. */
INLINE int read_solicitation(const struct ethernet_header *link, const struct ipv6_header *packet, void *end,
			     struct solicitation *found)
{
	struct cursor rest = { .position = (void *)(packet + 1), .end = end };
	const struct neighbour_message *message = take(&rest, sizeof(*message));
	const __u64 length = length_of(packet->payload_length);
	const struct link_address_option *option;
	__u32 left = 0; /* units of the option that begins further in front */
	int has_link_address = 0;
	__u64 sum;

	if (packet->next_header != NEXT_HEADER_ICMPV6 || !message)
		return 0;
	if (message->type != ICMPV6_NEIGHBOUR_SOLICITATION || message->code != 0)
		return 0;
	if (length < sizeof(*message) || length % 8 ||
	    length > sizeof(*message) + 8 * MAX_NEIGHBOUR_OPTION_UNITS)
		return 0;
	found->source = address_of(packet->source);
	found->target = address_of(message->target);
	__builtin_memcpy(found->answer_to, link->source, 6);
	sum = sum_of_ipv6_header(packet) + sum_of_words(message, sizeof(*message) / 4);
#pragma clang loop unroll(disable)
	for (__u32 at = sizeof(*message); at < sizeof(*message) + 8 * MAX_NEIGHBOUR_OPTION_UNITS; at += 8) {
		if (at >= length)
			break;
		option = take(&rest, sizeof(*option));
		if (!option)
			return 0;
		sum += sum_of_words(option, sizeof(*option) / 4);
		if (left) {
			left -= 1;
			continue;
		}
		if (option->length == 0)
			return 0;
		left = option->length - 1;
		if (option->type == NEIGHBOUR_OPTION_SOURCE_LINK_ADDRESS && left == 0) {
			has_link_address = 1;
			__builtin_memcpy(found->answer_to, option->address, 6);
		}
	}
	if (left || fold_checksum(sum) != 0)
		return 0;
	if (found->answer_to[0] & ETHERNET_GROUP_BIT)
		return 0;
	if (is_unspecified(&found->source))
		return !has_link_address && is_solicited_node_group(packet->destination);
	return *(const __u8 *)packet->source != 0xFF;
}

/* Sets whose the target is, too. */
INLINE int is_defended(struct xdp_md *ctx, struct solicitation *asked, const struct home_link *home_link)
{
	struct link_local_address address = { .address = asked->target, .link = *home_link };
	const __u32 *how = link_local_addresses.lookup(&address);
	struct binding binding;

	asked->of_router = how && *how & DEFENDED_FOR_ROUTER;
	return find_binding(ctx, &asked->target, &binding) || (how && !(*how & DEFENDED_IF_BOUND));
}

/* Writes the advertisement over the solicitation. It says O = 0, so that a node that is there itself is believed; R for
 * mobile routers only (RFC 3963 section 6.2); and S, but when the asker has no address: then it goes to all nodes. */
INLINE int write_advertisement(struct xdp_md *ctx, const struct solicitation *asked,
			       const struct link_identity *identity, int to_all_nodes)
{
	const int surplus = (int)((long)ctx->data_end - (long)ctx->data) - (int)ADVERTISEMENT_SIZE;
	struct ipv6_address all_nodes = { .high = bpf_htonll(0xFF02000000000000ULL), .low = bpf_htonll(1) };
	struct neighbour_message *message;
	struct link_address_option *option;
	struct ethernet_header *link;
	struct ipv6_header *header;
	struct cursor frame;

	link = move_frame(ctx, surplus, &frame);
	header = link ? take(&frame, sizeof(*header)) : NULL;
	message = header ? take(&frame, sizeof(*message)) : NULL;
	option = message ? take(&frame, sizeof(*option)) : NULL;
	if (!option)
		return 0;
	if (to_all_nodes) {
		link->destination[0] = 0x33;
		link->destination[1] = 0x33;
		__builtin_memset(link->destination + 2, 0, 3);
		link->destination[5] = 1;
	} else {
		__builtin_memcpy(link->destination, asked->answer_to, 6);
	}
	__builtin_memcpy(link->source, identity->link_address, 6);
	link->type = bpf_htons(ETHERNET_TYPE_IPV6);
	write_ipv6(header, VERSION_6, sizeof(*message) + sizeof(*option), NEXT_HEADER_ICMPV6, HOP_LIMIT_OF_A_NEIGHBOUR,
		   &identity->address, to_all_nodes ? &all_nodes : &asked->source);
	message->type = ICMPV6_NEIGHBOUR_ADVERTISEMENT;
	message->code = 0;
	message->checksum = 0;
	message->flags = (to_all_nodes ? 0 : bpf_htonl(NEIGHBOUR_FLAG_SOLICITED)) |
			 (asked->of_router ? bpf_htonl(NEIGHBOUR_FLAG_ROUTER) : 0);
	message->target[0] = asked->target.high;
	message->target[1] = asked->target.low;
	option->type = NEIGHBOUR_OPTION_TARGET_LINK_ADDRESS;
	option->length = 1;
	__builtin_memcpy(option->address, identity->link_address, 6);
	message->checksum = fold_checksum(sum_of_ipv6_header(header) +
					  sum_of_words(message, (sizeof(*message) + sizeof(*option)) / 4));
	return 1;
}

/* The packet has the hop limit of a neighbour. */
COLD long answer_solicitation(struct xdp_md *ctx, __u64 one, __u64 two, __u64 three)
{
	struct home_link home_link = {};
	struct link_identity *identity;
	struct ethernet_header *link;
	struct solicitation asked;
	struct ipv6_header *packet;
	struct cursor frame;
	__u32 zero = 0;
	int to_all_nodes;

	frame = cursor_of(ctx);
	packet = take_packet(&frame, &link);
	if (!packet)
		return NOT_ANSWERED;
	home_link.interface = ingress_of(ctx);
	identity = home_links.lookup(&home_link);
	if (!identity)
		return NOT_ANSWERED;
	if (identity->valid_until && (__s64)(identity->valid_until - bpf_jiffies64()) <= 0)
		return NOT_ANSWERED;
	if (!read_solicitation(link, packet, frame.end, &asked) || !is_defended(ctx, &asked, &home_link))
		return NOT_ANSWERED;
	to_all_nodes = is_unspecified(&asked.source);
	/* An answer to one is no larger than its question; one to all might be made a storm. */
	if (to_all_nodes && !spend(advertisement_budget.lookup(&zero)))
		return DROP_ADVERTISEMENT_RATE_LIMITED;
	return write_advertisement(ctx, &asked, identity, to_all_nodes) ? REPLY_NEIGHBOUR_ADVERTISEMENT : DROP_NO_ROOM;
}

#endif
