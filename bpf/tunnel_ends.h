/* Where a packet in or into a tunnel came from and goes to, for functions that are called. No binding fits through a call,
 * so they search again. */
#pragma once

struct tunnel_ends {
	struct binding receiver;
	struct usage *usage_of_sender; /* NULL when the packet did not come out of a tunnel */
};

#define FOUND_ENDS MAX_REASONS

/* Finds them for a packet behind `replaced` bytes of the tunnel it came out of, or why it goes nowhere: a binding that
 * was removed in this moment was not there. */
INLINE enum reason find_ends(struct xdp_md *ctx, const struct ipv6_header *packet, __u64 replaced,
			     struct tunnel_ends *ends)
{
	struct ipv6_address mobile = address_of(packet->destination);
	struct binding sender;

	ends->usage_of_sender = NULL;
	if (!find_mobile(ctx, &mobile, &ends->receiver))
		return replaced ? DROP_TUNNEL_DESTINATION : PASS_NOT_OURS;
	if (!replaced)
		return FOUND_ENDS;
	mobile = address_of(packet->source);
	if (!find_mobile(ctx, &mobile, &sender))
		return DROP_TUNNEL_NO_BINDING;
	ends->usage_of_sender = sender.usage;
	return FOUND_ENDS;
}

INLINE void count_from_end_to_end(const struct tunnel_ends *ends, __u64 length)
{
	const struct binding sender = { .usage = ends->usage_of_sender };

	if (sender.usage)
		count_decapsulated(&sender, length);
	count_encapsulated(&ends->receiver, length);
}
