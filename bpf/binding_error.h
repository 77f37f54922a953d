/* Binding Error (RFC 6275 section 6.1.9): the home address is not bound to where the packet came from, so the node has
 * to register it again before it is believed. */
#pragma once

#define MOBILITY_BINDING_ERROR 7
#define UNKNOWN_BINDING 1

INLINE enum reason answer_unknown_binding(struct xdp_md *ctx, const struct ethernet_header *link,
					  const struct ipv6_header *packet, const struct ipv6_address *home_address)
{
	const struct binding_error error = {
		.payload_protocol = NEXT_HEADER_NONE,
		.length = sizeof(error) / 8 - 1,
		.type = MOBILITY_BINDING_ERROR,
		.status = UNKNOWN_BINDING,
		.home_address = { home_address->high, home_address->low },
	};
	struct binding_error *message;

	if (!is_forwardable(packet->source))
		return DROP_UNKNOWN_BINDING;
	if (!spend_error())
		return DROP_ERROR_RATE_LIMITED;
	message = begin_answer(ctx, link, packet, NEXT_HEADER_MOBILITY, sizeof(error));
	if (!message || (void *)(message + 1) > (void *)(long)ctx->data_end)
		return DROP_NO_ROOM;
	*message = error;
	message->checksum = fold_checksum(sum_of_ipv6_header((struct ipv6_header *)message - 1) +
					  sum_of_words(&error, sizeof(error) / 4));
	return REPLY_BINDING_ERROR;
}
