/* Packets that a mobile node sends to the home agent under its home address: IPv6 (care-of address -> home agent),
 * perhaps other extension headers, Destination Options with a Home Address option (RFC 6275 section 6.3), and what they
 * are about. A kernel without Mobile IPv6 discards them. So the program does what RFC 6275 section 9.3.1 asks of the
 * receiver: it exchanges source address and option. The option becomes one that is skipped, and tells the control plane
 * the care-of address. Length and checksums stay right, because upper layers compute them over the home address.
 * Signalling may come before there is a binding, and says who sends it; everything else is believed only from the care-of
 * address that is bound. */
#pragma once

/* Where the frame is read by offsets, the verifier tells no ways to them apart. */
struct option_position {
	__u32 options; /* of the Destination Options header in the frame */
	__u32 option;
	__u32 upper_layer;
	__u32 end; /* of the packet */
};

/* Looks for the option among those of one header. PASS_HOME_ADDRESS_SWAPPED: it was found; PASS_DESTINATION_OPTIONS: it
 * is not there; else what becomes of the packet. */
INLINE enum reason search_options(struct xdp_md *ctx, struct option_position *at, struct address_option *found)
{
	at->option = at->options + sizeof(struct options_header);
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_OPTIONS; i++) {
		if (at->option + 2 > at->upper_layer || bpf_xdp_load_bytes(ctx, at->option, &found->type, 2))
			return PASS_DESTINATION_OPTIONS;
		if (found->type == OPTION_CARE_OF_ADDRESS)
			return DROP_FORGED_CARE_OF_ADDRESS;
		if (found->type == OPTION_HOME_ADDRESS) {
			if (found->length != OPTION_ADDRESS_LENGTH ||
			    at->option + ADDRESS_OPTION_SIZE > at->upper_layer ||
			    bpf_xdp_load_bytes(ctx, at->option, &found->type, ADDRESS_OPTION_SIZE))
				return PASS_DESTINATION_OPTIONS;
			return PASS_HOME_ADDRESS_SWAPPED;
		}
		at->option += found->type == OPTION_PAD1 ? 1 : 2 + found->length;
	}
	return PASS_DESTINATION_OPTIONS;
}

/* Looks for the option behind the headers that may be in front of it (RFC 6275 section 6.3): hop-by-hop options, routing
 * headers, and destination options for those. PASS_HOME_ADDRESS_SWAPPED: it was found, in the header `options`; else
 * what becomes of the packet. `at->options` is the first header. */
INLINE enum reason find_home_address_option(struct xdp_md *ctx, const struct ipv6_header *packet,
					    struct options_header *options, struct option_position *at,
					    struct address_option *found)
{
	const enum reason not_found = packet->next_header == NEXT_HEADER_DESTINATION_OPTIONS ? PASS_DESTINATION_OPTIONS :
											       PASS_EXTENSION_HEADERS;
	__u8 next_header = packet->next_header;
	struct routing_type header;
	enum reason reason;

	at->end = at->options + length_of(packet->payload_length);
	at->upper_layer = at->options;
#pragma clang loop unroll(disable)
	for (int i = 0; i <= MAX_HEADERS_BEFORE; i++) {
		if (next_header != NEXT_HEADER_DESTINATION_OPTIONS && next_header != NEXT_HEADER_HOP_BY_HOP &&
		    next_header != NEXT_HEADER_ROUTING)
			break;
		at->options = at->upper_layer;
		if (bpf_xdp_load_bytes(ctx, at->options, &header, sizeof(header)))
			break;
		at->upper_layer += (header.options.length + 1) * 8;
		if (at->upper_layer > at->end)
			break;
		if (next_header == NEXT_HEADER_ROUTING && header.segments_left)
			break; /* it is not at its end yet, and the kernel answers */
		*options = header.options;
		if (next_header == NEXT_HEADER_DESTINATION_OPTIONS) {
			reason = search_options(ctx, at, found);
			if (reason != PASS_DESTINATION_OPTIONS)
				return reason;
		}
		next_header = options->next_header;
	}
	return not_found;
}

/* Whether the packet may be processed without a binding. */
INLINE int may_come_unbound(struct xdp_md *ctx, const struct options_header *options, const struct option_position *at)
{
	__u8 next_header = options->next_header;

	if (next_header == NEXT_HEADER_FRAGMENT &&
	    (at->upper_layer >= at->end || bpf_xdp_load_bytes(ctx, at->upper_layer, &next_header, 1)))
		return 0;
	return next_header == NEXT_HEADER_ESP || next_header == NEXT_HEADER_AUTHENTICATION ||
	       next_header == NEXT_HEADER_MOBILITY;
}

INLINE int is_bound(struct xdp_md *ctx, const struct ipv6_address *home_address, const __u64 *care_of_address)
{
	struct binding binding;

	/* Of an IPv4 care-of address nobody can forge the form in IPv6. */
	return find_binding(ctx, home_address, &binding) && !is_ipv4(&binding.care_of_address) &&
	       same_address(&binding.care_of_address, care_of_address);
}

COLD long receive_from_home_address(struct xdp_md *ctx, __u64 one, __u64 two, __u64 three)
{
	struct option_position at = { .options = sizeof(struct ethernet_header) + IPV6_HEADER_SIZE };
	struct ipv6_address home_address, care_of_address;
	struct options_header options;
	struct address_option option;
	struct encapsulated_esp esp;
	struct ethernet_header *link;
	struct ipv6_header *packet;
	struct cursor frame;
	enum reason reason;
	int in_udp;

	frame = cursor_of(ctx);
	packet = take_packet(&frame, &link);
	if (!packet)
		return PASS_MALFORMED;
	reason = find_home_address_option(ctx, packet, &options, &at, &option);
	if (reason != PASS_HOME_ADDRESS_SWAPPED)
		return reason;
	home_address = address_of(option.address);
	care_of_address = address_of(packet->source);
	if (!is_forwardable(option.address))
		return DROP_HOME_ADDRESS_NOT_UNICAST;
	in_udp = options.next_header == NEXT_HEADER_UDP && at.upper_layer + sizeof(esp) <= at.end &&
		 take_esp_in_udp(ctx, at.upper_layer, &esp);
	if (!in_udp && !may_come_unbound(ctx, &options, &at) && !is_bound(ctx, &home_address, packet->source))
		return answer_unknown_binding(ctx, link, packet, &home_address);

	packet->source[0] = home_address.high;
	packet->source[1] = home_address.low;
	option.type = OPTION_CARE_OF_ADDRESS;
	option.address[0] = care_of_address.high;
	option.address[1] = care_of_address.low;
	if (bpf_xdp_store_bytes(ctx, at.option, &option.type, ADDRESS_OPTION_SIZE))
		return DROP_NO_ROOM;
	if (in_udp) {
		correct_udp_checksum(&esp.udp, option.address, (__u64 *)&home_address);
		if (bpf_xdp_store_bytes(ctx, at.upper_layer, &esp.udp, sizeof(esp.udp)))
			return DROP_NO_ROOM;
	}
	return PASS_HOME_ADDRESS_SWAPPED;
}
