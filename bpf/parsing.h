/* Reading a frame: a cursor that never passes the frame's end, and what an address may be used for. */
#pragma once

struct cursor {
	void *position;
	void *end;
};

INLINE struct cursor cursor_of(struct xdp_md *ctx)
{
	struct cursor cursor = {
		.position = (void *)(long)ctx->data,
		.end = (void *)(long)ctx->data_end,
	};
	return cursor;
}

/* The next `size` bytes, or NULL when the frame ends before. `size` is a constant. */
INLINE void *take(struct cursor *cursor, __u32 size)
{
	void *taken = cursor->position;

	if (taken + size > cursor->end)
		return NULL;
	if (!taken)
		__builtin_unreachable(); /* or the compiler would have it tested */
	cursor->position = taken + size;
	return taken;
}

/* The number, below 255, of which the verifier knows nothing any more: where it came to differ is walked through once for
 * all values rather than once for each. It follows what is written to the stack by words, but not by odd bytes. */
INLINE __u32 forget(__u32 number)
{
	volatile __u8 bytes[8] __attribute__((aligned(8)));

	bytes[1] = number + 1; /* it would know of a zero */
	return (__u32)(bytes[1] - 1) & 0xFF;
}

INLINE struct ethernet_header *take_ethernet(struct cursor *cursor)
{
	return take(cursor, sizeof(struct ethernet_header));
}

/* A 16-bit length in host byte order. Until Linux 6.6 the verifier forgets that swapped bytes are at most 65535, and the
 * compiler, which knows it, leaves every mask out: this one it cannot. */
INLINE __u64 length_of(__be16 length)
{
	__u64 result = bpf_ntohs(length); /* 64 bits, or the compiler extends it again and again */

	asm volatile("%0 &= 0xffff" : "+r"(result));
	return result;
}

/* The IPv6 header, or NULL unless its version is 6 and all of its payload is in the frame. A jumbogram is refused. */
INLINE struct ipv6_header *take_ipv6(struct cursor *cursor)
{
	struct ipv6_header *header = take(cursor, sizeof(*header));

	if (!header)
		return NULL;
	if ((*(__u8 *)header >> 4) != 6)
		return NULL;
	if (cursor->position + length_of(header->payload_length) > cursor->end)
		return NULL;
	if (header->payload_length == 0 && header->next_header == NEXT_HEADER_HOP_BY_HOP)
		return NULL;
	return header;
}

/* The same behind an Ethernet header. */
INLINE struct ipv6_header *take_packet(struct cursor *cursor, struct ethernet_header **link)
{
	*link = take_ethernet(cursor);
	return *link ? take_ipv6(cursor) : NULL;
}

INLINE __u64 packet_length(const struct ipv6_header *header)
{
	return IPV6_HEADER_SIZE + length_of(header->payload_length);
}

INLINE struct ipv6_address address_of(const __u64 *words)
{
	struct ipv6_address address = { .high = words[0], .low = words[1] };
	return address;
}

INLINE int same_address(const struct ipv6_address *one, const __u64 *other)
{
	return one->high == other[0] && one->low == other[1];
}

/* Whether a router may forward from or to the address: not multicast, link-local, loopback or unspecified. */
INLINE int is_forwardable(const __u64 *words)
{
	__u16 first = bpf_ntohll(words[0]) >> 48;

	if ((first & 0xFF00) == 0xFF00 || (first & 0xFFC0) == 0xFE80)
		return 0;
	return !(words[0] == 0 && bpf_ntohll(words[1]) <= 1);
}

/* Whether that is so at first sight; a few more addresses are forwardable. */
INLINE int is_clearly_forwardable(const __u64 *words)
{
	return *(const __u8 *)words < 0xFE && words[0];
}

/* Whether the hop limit can be decremented, and is none that neighbours use. */
INLINE int is_hop_limit_ordinary(__u32 hop_limit)
{
	return hop_limit - 2 < HOP_LIMIT_OF_A_NEIGHBOUR - 2;
}

/* Neighbour discovery between neighbours (RFC 4861), which a router must not carry elsewhere. */
INLINE int is_neighbour_discovery(const struct ipv6_header *header, void *end)
{
	const __u8 *type = (const __u8 *)(header + 1);

	if (header->next_header != NEXT_HEADER_ICMPV6 || header->hop_limit != HOP_LIMIT_OF_A_NEIGHBOUR)
		return 0;
	if ((void *)(type + 1) > end)
		return 0;
	return *type >= ICMPV6_ROUTER_SOLICITATION && *type <= ICMPV6_REDIRECT;
}

/* Whether tunnels and signalling end at the address: compared with constants, of which there are few. */
INLINE int is_home_agent(const struct ipv6_address *address)
{
	return HOME_AGENT_IS(address->high, address->low);
}
