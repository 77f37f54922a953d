/* Explicit congestion notification across the tunnel (RFC 6040). Into it, the outer header has the field of the inner one
 * ("normal mode"), for it has its whole first word; out of it, what routers on the way have marked is kept. */
#pragma once

#define ECN_MASK bpf_htonl(0x00300000) /* in the first word of an IPv6 header */
#define ECN_CONGESTION_EXPERIENCED ECN_MASK
#define ECN_CAPABLE_0 bpf_htonl(0x00200000) /* ECT(0) */
#define ECN_CAPABLE_1 bpf_htonl(0x00100000) /* ECT(1) */

/* Gives the inner packet the more severe of both marks (RFC 6040 section 4.2). 0 when it must be dropped: congestion has
 * been met, and its sender listens to nothing but losses. */
INLINE int keep_congestion_mark(struct ipv6_header *inner, __be32 outer_version_class_flow)
{
	const __be32 inside = inner->version_class_flow & ECN_MASK;
	const __be32 outside = outer_version_class_flow & ECN_MASK;

	if (LIKELY(inside == outside))
		return 1;
	if (outside == ECN_CONGESTION_EXPERIENCED) {
		if (!inside)
			return 0;
		inner->version_class_flow |= ECN_CONGESTION_EXPERIENCED;
	} else if (outside == ECN_CAPABLE_1 && inside == ECN_CAPABLE_0) {
		inner->version_class_flow ^= ECN_CAPABLE_0 | ECN_CAPABLE_1;
	}
	return 1;
}
