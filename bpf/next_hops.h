/* Next hops that were found out before: bpf_fib_lookup is by far the largest cost of a packet.
 *
 * What the kernel answers for one packet is kept for the next ones with the generation it was asked in, beside the
 * binding or, for what leaves a tunnel, in a cache of each processor's own. The control plane begins a new generation
 * whenever routes, neighbours, addresses or links change; it renews the permission to use any of it every second, and
 * withholds it where the answer depends on more than the destination (control/daemon/route_watch.py). What is not
 * found here is asked of the kernel, so nothing is lost but time.
 *
 * A reference to a next hop is one word, so it is never seen half-written: generation, a stamp of who refers (16 bits of
 * the state of the binding, so that a changed binding has none), index in `next_hops`. */
#pragma once

#define REFERENCE_INDEX_MASK 0xFFFF
#define REFERENCE_STAMP_SHIFT 16
#define REFERENCE_GENERATION_SHIFT 32

/* The generation of what may be used now, or 0. */
INLINE __u32 current_generation(void)
{
	struct route_control *control;
	__u32 zero = 0;

	control = route_control.lookup(&zero);
	if (!control || (__s64)(control->valid_until - bpf_jiffies64()) <= 0)
		return 0;
	return *(volatile __u32 *)&control->generation;
}

/* The reference of this generation to the next hop 0, for what is stamped so. */
INLINE __u64 reference_of(__u32 generation, __u32 stamp)
{
	return (__u64)generation << REFERENCE_GENERATION_SHIFT | (stamp & 0xFFFF) << REFERENCE_STAMP_SHIFT;
}

INLINE __u64 reference_of_binding(__u32 generation, const struct binding *binding)
{
	return reference_of(generation, binding->state >> SLOT_CHANGE_SHIFT);
}

/* Takes the route from a reference that is still true and fits a packet of the length. */
INLINE int follow_reference(__u64 reference, __u64 expected, __u32 length, struct route *route)
{
	const __u32 generation = expected >> REFERENCE_GENERATION_SHIFT;
	__u32 index = reference & REFERENCE_INDEX_MASK;
	struct next_hop *hop;

	if (!generation || (reference ^ expected) & ~(__u64)REFERENCE_INDEX_MASK)
		return 0;
	hop = next_hops.lookup(&index);
	if (!hop || length > hop->mtu)
		return 0;
	route->status = BPF_FIB_LKUP_RET_SUCCESS;
	route->port = hop->port;
	route->addresses = hop->addresses;
	COMPILER_BARRIER();
	return *(volatile __u32 *)&hop->generation == generation;
}

/* Keeps what the kernel has answered; 0 if there is no room, else the reference to it. A processor has
 * NEXT_HOPS_OF_GENERATION places for this generation, and does not touch those of the one before. */
INLINE __u64 keep_route(const struct route *route, __u64 expected)
{
	const __u32 generation = expected >> REFERENCE_GENERATION_SHIFT;
	const __u32 base = (bpf_get_smp_processor_id() * 2 + (generation & 1)) * NEXT_HOPS_OF_GENERATION;
	__u32 place = (route->addresses.words[0] ^ route->addresses.words[1] ^ route->port) * 0x9E3779B1;
	struct next_hop *hop;
	__u32 index;

#pragma clang loop unroll(disable)
	for (int i = 0; i < NEXT_HOP_PROBES; i++, place += 1 << 16) {
		index = base + ((place >> 16) & (NEXT_HOPS_OF_GENERATION - 1));
		hop = next_hops.lookup(&index);
		if (!hop)
			return 0;
		if (hop->generation != generation) {
			*(volatile __u32 *)&hop->generation = 0;
			COMPILER_BARRIER();
			hop->port = route->port;
			hop->mtu = route->mtu;
			hop->addresses = route->addresses;
			COMPILER_BARRIER();
			*(volatile __u32 *)&hop->generation = generation;
			return expected | index;
		}
		if (hop->port == route->port && hop->mtu == route->mtu &&
		    hop->addresses.words[0] == route->addresses.words[0] &&
		    hop->addresses.words[1] == route->addresses.words[1] &&
		    hop->addresses.words[2] == route->addresses.words[2])
			return expected | index;
	}
	return 0;
}

/* Sets the route, from what is kept with the binding or from the kernel. */
INLINE void find_route_of_binding(struct xdp_md *ctx, struct route *route, const struct binding *binding,
				  __be32 version_class_flow, __u32 length)
{
	const __u64 expected = reference_of_binding(current_generation(), binding);
	__u64 reference;

	if (LIKELY(follow_reference(binding->slot->next_hop, expected, length, route)))
		return;
	if (is_ipv4(&binding->care_of_address))
		find_ipv4_route(ctx, route, &binding->care_of_address, version_class_flow, length);
	else
		find_route(ctx, route, binding->home_agent, &binding->care_of_address, version_class_flow,
			   NEXT_HEADER_IPV6, length);
	apply_path_mtu(route, &binding->care_of_address, length);
	if (!(expected >> REFERENCE_GENERATION_SHIFT) || route->status != BPF_FIB_LKUP_RET_SUCCESS)
		return;
	reference = keep_route(route, expected);
	if (!reference)
		return;
	COMPILER_BARRIER();
	*(volatile __u64 *)&binding->slot->next_hop = reference;
	COMPILER_BARRIER();
	/* The stamp is short: whoever changes a binding clears the reference after it, and this takes care of one that
	 * is written later still. */
	if (*(volatile __u32 *)&binding->slot->state != binding->state)
		*(volatile __u64 *)&binding->slot->next_hop = 0;
}

/* Sets the route of a packet that leaves a tunnel, from this processor's cache or from the kernel. */
INLINE void find_route_of_inner(struct xdp_md *ctx, struct route *route, const struct ipv6_header *inner,
				const struct ipv6_address *source, const struct ipv6_address *destination)
{
	const __u64 expected = reference_of(current_generation(), 0);
	const __u32 length = packet_length(inner);
	__u32 place = bpf_get_smp_processor_id() * ROUTES_OF_PROCESSOR +
		      (((__u64)hash_of(destination) * ROUTES_OF_PROCESSOR) >> 32);
	struct cached_route *cached = routes.lookup(&place);
	__u64 reference;

	if (LIKELY(cached && cached->destination.high == destination->high &&
		   cached->destination.low == destination->low &&
		   follow_reference(cached->next_hop, expected, length, route)))
		return;
	find_route(ctx, route, source, destination, inner->version_class_flow, inner->next_header, length);
	if (!cached || !(expected >> REFERENCE_GENERATION_SHIFT) || route->status != BPF_FIB_LKUP_RET_SUCCESS)
		return;
	reference = keep_route(route, expected);
	if (reference) {
		cached->destination = *destination;
		cached->next_hop = reference;
	}
}
