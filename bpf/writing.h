/* Writing headers. Callers have checked the bounds. */
#pragma once

/* Every header this program makes starts with this word, or with a copy of the inner packet's. */
#define VERSION_6 bpf_htonl(0x60000000)

INLINE void write_ipv6(struct ipv6_header *header, __be32 version_class_flow, __u32 payload_length, __u8 next_header,
		       __u8 hop_limit, const struct ipv6_address *source, const struct ipv6_address *destination)
{
	header->version_class_flow = version_class_flow;
	header->payload_length = bpf_htons(payload_length);
	header->next_header = next_header;
	header->hop_limit = hop_limit;
	header->source[0] = source->high;
	header->source[1] = source->low;
	header->destination[0] = destination->high;
	header->destination[1] = destination->low;
}

/* bpf_xdp_adjust_head, of whose result all bits count: bcc has it return half of them. */
static long (*move_head)(struct xdp_md *ctx, int offset) = (void *)BPF_FUNC_xdp_adjust_head;

/* Has the frame begin so many bytes later, or earlier, and gives its new link header; NULL when that cannot be. */
INLINE struct ethernet_header *move_frame(struct xdp_md *ctx, int offset, struct cursor *frame)
{
	if (bpf_xdp_adjust_head(ctx, offset))
		return NULL;
	*frame = cursor_of(ctx);
	return take_ethernet(frame);
}

/* The header of a tunnel over IPv6, around a packet of the length. */
INLINE void write_outer(struct ipv6_header *header, __be32 version_class_flow, __u32 length,
			const struct ipv6_address *home_agent, const struct ipv6_address *care_of_address)
{
	__u32 *words = (__u32 *)header;

	words[0] = version_class_flow;
	words[1] = bpf_htons(length) | bpf_htonl(NEXT_HEADER_IPV6 << 8 | OUTER_HOP_LIMIT);
	header->source[0] = home_agent->high;
	header->source[1] = home_agent->low;
	header->destination[0] = care_of_address->high;
	header->destination[1] = care_of_address->low;
}

/* Towards a next hop. In words: the compiler would copy the addresses two bytes at a time. */
INLINE void write_link(struct ethernet_header *link, const struct link_addresses *addresses)
{
	__u32 *words = (__u32 *)link;

	words[0] = addresses->words[0];
	words[1] = addresses->words[1];
	words[2] = addresses->words[2];
	link->type = bpf_htons(ETHERNET_TYPE_IPV6);
}

/* Back to where a frame came from. */
INLINE void write_swapped_link(struct ethernet_header *link, const struct ethernet_header *received)
{
	__builtin_memcpy(link->destination, received->source, 6);
	__builtin_memcpy(link->source, received->destination, 6);
	link->type = bpf_htons(ETHERNET_TYPE_IPV6);
}

/* Of whole words, for a checksum. `words` is a constant. */
INLINE __u64 sum_of_words(const void *data, __u32 words)
{
	const __u32 *word = data;
	__u64 sum = 0;

#pragma unroll
	for (__u32 i = 0; i < words; i++)
		sum += word[i];
	return sum;
}

/* Of what upper layers count of the IPv6 header (RFC 8200 section 8.1), without extension headers. */
INLINE __u64 sum_of_ipv6_header(const struct ipv6_header *packet)
{
	return sum_of_words(packet->source, 8) + bpf_htonl(length_of(packet->payload_length)) +
	       bpf_htonl(packet->next_header);
}
