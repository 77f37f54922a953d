/* Next hops that were found out before: bpf_fib_lookup is by far the largest cost of a packet.
 *
 * What the kernel answers for one packet is kept for the next ones with the generation it was asked in, beside the
 * binding or, for what leaves a tunnel, in a cache of each processor's own. The control plane begins a new generation
 * whenever routes, neighbours, addresses or links change; it renews the permission to use any of it every second, and
 * withholds it where the answer depends on more than the destination (control/daemon/route_watch.py). What is not
 * found here is asked of the kernel, so nothing is lost but time.
 *
 * A binding's reference to a next hop is one word, so it is never seen half-written: the lower bits of the generation, a
 * stamp (the lower bits of the change that made the binding's state, so that a changed binding has none), and the index
 * in `next_hops`. The control plane clears all references before a generation's lower bits come again, and has no
 * generation whose lower bits are 0 (datapath/route_control.py). */
#pragma once

#define REFERENCE_STAMP_SHIFT 14
#define REFERENCE_STAMP_MASK 0xFF
#define REFERENCE_GENERATION_SHIFT 22
#define REFERENCE_GENERATION_MASK 0x3FF
#define REFERENCE_INDEX_MASK ((1 << REFERENCE_STAMP_SHIFT) - 1)

/* An Ethernet header and those of a tunnel. */
#define MAX_OFFSET_OF_PACKET (sizeof(struct ethernet_header) + IPV6_HEADER_SIZE)

/* What was found out in which generation, and with how many home prefixes, may be used now: the first two words of
 * route_control; 0 if nothing may. */
INLINE __u64 current_state_of_routes(void)
{
	struct route_control *control = ROUTE_CONTROL;

	if ((__s64)(control->valid_until - bpf_jiffies64()) <= 0)
		return 0;
	return *(volatile __u64 *)&control->generation;
}

/* The generation of what may be used now, or 0. */
INLINE __u32 current_generation(void)
{
	return current_state_of_routes();
}

/* Whatever the index, there is a place of it. */
INLINE struct next_hop *next_hop_at(__u64 index)
{
	return NEXT_HOPS + (index & (MAX_NEXT_HOPS - 1));
}

/* The binding's reference of this generation to the next hop 0. */
INLINE __u32 reference_of(__u32 generation, const struct binding *binding)
{
	const __u32 stamp = (binding->word >> SLOT_CHANGE_SHIFT) & REFERENCE_STAMP_MASK;

	return generation << REFERENCE_GENERATION_SHIFT | stamp << REFERENCE_STAMP_SHIFT;
}

/* Whether the reference that was read with the binding is of the generation, and of the binding as it was then. */
INLINE int is_reference_of(__u64 generation, const struct binding *binding)
{
	const __u64 stamp = (binding->word >> SLOT_CHANGE_SHIFT) & REFERENCE_STAMP_MASK;

	/* The reference is the word's upper half. */
	return binding->word >> (32 + REFERENCE_STAMP_SHIFT) ==
	       ((generation & REFERENCE_GENERATION_MASK) << (REFERENCE_GENERATION_SHIFT - REFERENCE_STAMP_SHIFT) | stamp);
}

/* Whether the next hop is of the generation, after everything else of it was read. */
INLINE int is_true(const struct next_hop *hop, __u64 generation)
{
	COMPILER_BARRIER();
	return *(volatile __u32 *)&hop->generation == lower_half(generation);
}

/* Where the frame goes, as two words of its Ethernet header. */
struct way {
	__u64 first;
	__u32 second;
};

/* Has the frame leave by a next hop, if that is still true. */
INLINE int begin_way(const struct next_hop *hop, __u64 generation, struct way *way)
{
	const __u32 port = *(const volatile __u32 *)&hop->port;

	way->first = *(const volatile __u64 *)&hop->addresses.words[0]; /* or the compiler makes two of it */
	way->second = hop->addresses.words[2];
	return is_true(hop, generation) && can_send_by(port);
}

INLINE void write_way(struct ethernet_header *link, const struct way *way)
{
	*(__u64 *)link = way->first;
	((__u32 *)link)[2] = way->second;
	link->type = bpf_htons(ETHERNET_TYPE_IPV6);
}

/* Takes the route from a next hop that is still true and fits a packet of the length. */
INLINE int follow_next_hop(__u32 index, __u32 generation, __u32 length, struct route *route)
{
	const struct next_hop *hop = next_hop_at(index);

	if (length > hop->mtu)
		return 0;
	route->status = BPF_FIB_LKUP_RET_SUCCESS;
	route->port = hop->port;
	route->addresses = hop->addresses;
	return is_true(hop, generation);
}

/* Keeps what the kernel has answered; -1 if there is no room, else its index. A processor has NEXT_HOPS_OF_GENERATION
 * places for this generation, and does not touch those of the one before. */
INLINE int keep_route(const struct route *route, __u32 generation)
{
	const __u32 base = (bpf_get_smp_processor_id() * 2 + (generation & 1)) * NEXT_HOPS_OF_GENERATION;
	__u32 place = (route->addresses.words[0] ^ route->addresses.words[1] ^ route->port) * 0x9E3779B1;
	const __u32 mtu = route->mtu < MAX_MTU ? route->mtu : MAX_MTU;
	struct next_hop *hop;
	__u32 index;

#pragma clang loop unroll(disable)
	for (int i = 0; i < NEXT_HOP_PROBES; i++, place += 1 << 16) {
		index = base + ((place >> 16) & (NEXT_HOPS_OF_GENERATION - 1));
		hop = next_hop_at(index);
		if (hop->generation != generation) {
			*(volatile __u32 *)&hop->generation = 0;
			COMPILER_BARRIER();
			hop->port = route->port;
			hop->mtu = mtu;
			hop->addresses = route->addresses;
			COMPILER_BARRIER();
			*(volatile __u32 *)&hop->generation = generation;
			return index;
		}
		if (hop->port == route->port && hop->mtu == mtu &&
		    hop->addresses.words[0] == route->addresses.words[0] &&
		    hop->addresses.words[1] == route->addresses.words[1] &&
		    hop->addresses.words[2] == route->addresses.words[2])
			return index;
	}
	return -1;
}

/* The packet behind the first `offset` bytes of the frame, NULL if there is none. */
INLINE struct ipv6_header *packet_at(struct xdp_md *ctx, __u64 offset)
{
	struct cursor frame = cursor_of(ctx);

	if (offset > MAX_OFFSET_OF_PACKET)
		return NULL;
	asm volatile("" : "+r"(offset)); /* or the compiler adds before it compares, which the verifier forbids */
	frame.position += offset;
	return take(&frame, sizeof(struct ipv6_header));
}

/* Hands over what the kernel answered: it does not fit through the end of a function. */
INLINE long hand_over(const struct route *route)
{
	__u32 zero = 0;
	struct route *answer = asked_routes.lookup(&zero);

	if (answer)
		*answer = *route;
	return 0;
}

INLINE void take_over(struct route *route)
{
	__u32 zero = 0;
	const struct route *answer = asked_routes.lookup(&zero);

	if (answer)
		*route = *answer;
	else
		route->status = BPF_FIB_LKUP_RET_UNREACHABLE;
}

/* Asks the kernel for the route of the binding, and keeps it if the binding is in force. */
INLINE void ask_route_of_binding(struct xdp_md *ctx, struct route *route, const struct binding *binding,
				 int is_in_force, __be32 version_class_flow, __u32 length)
{
	const __u32 generation = current_generation();
	int index;

	if (is_ipv4(&binding->care_of_address))
		find_ipv4_route(ctx, route, &binding->care_of_address, version_class_flow, length);
	else
		find_route(ctx, route, binding->home_agent, &binding->care_of_address, version_class_flow,
			   NEXT_HEADER_IPV6, length);
	apply_path_mtu(route, &binding->care_of_address, length);
	if (!generation || !is_in_force || route->status != BPF_FIB_LKUP_RET_SUCCESS)
		return;
	index = keep_route(route, generation);
	if (index < 0)
		return;
	COMPILER_BARRIER();
	*(volatile __u32 *)&binding->slot->next_hop = reference_of(generation, binding) | index;
	COMPILER_BARRIER();
	/* The stamp is short: whoever changes a binding clears the reference after it, and this takes care of one that
	 * is written later still. */
	if (*(volatile __u32 *)&binding->slot->state != (__u32)binding->word)
		*(volatile __u32 *)&binding->slot->next_hop = 0;
}

/* The same for the mobile node or network that the packet at `offset` is to, by the care-of address that its caller has
 * found: there may be another one since. */
COLD long ask_route_to_mobile(struct xdp_md *ctx, __u64 offset, __u64 care_of_high, __u64 care_of_low)
{
	struct ipv6_header *packet = packet_at(ctx, offset);
	struct ipv6_address destination;
	struct binding binding;
	struct route route = { .status = BPF_FIB_LKUP_RET_UNSUPP_LWT };
	int is_in_force;

	if (packet) {
		destination = address_of(packet->destination);
		if (find_mobile(ctx, &destination, &binding)) {
			is_in_force = binding.care_of_address.high == care_of_high &&
				      binding.care_of_address.low == care_of_low;
			binding.care_of_address.high = care_of_high;
			binding.care_of_address.low = care_of_low;
			ask_route_of_binding(ctx, &route, &binding, is_in_force, packet->version_class_flow,
					     packet_length(packet) + IPV6_HEADER_SIZE);
		}
	}
	return hand_over(&route); /* if it was removed in this moment: the kernel knows a way */
}

INLINE int follow_binding(struct route *route, const struct binding *binding, __u32 length)
{
	const __u32 generation = current_generation();

	return generation && is_reference_of(generation, binding) &&
	       follow_next_hop((binding->word >> 32) & REFERENCE_INDEX_MASK, generation, length, route);
}

/* Sets the route of a packet of the length with its outer header, which is IPv6, from what is kept with the binding or from
 * the kernel. The packet itself is at `offset` in the frame. */
INLINE void find_route_of_binding(struct xdp_md *ctx, struct route *route, const struct binding *binding, __u32 offset,
				  __u32 length)
{
	if (LIKELY(follow_binding(route, binding, length)))
		return;
	ask_route_to_mobile(ctx, offset, binding->care_of_address.high, binding->care_of_address.low);
	take_over(route);
}

/* Where a processor keeps the route to a destination. Those that share a place cost each other a question to the kernel,
 * so which do is nothing that strangers may know. */
INLINE struct cached_route *cached_route_to(const struct ipv6_address *destination, __u64 processor)
{
	const __u64 hash = destination->high * (HASH_KEY_1 | 1) + destination->low * (HASH_KEY_2 | 1);
	const __u64 first = (processor & (PROCESSOR_PLACES - 1)) * ROUTES_OF_PROCESSOR;

	return ROUTES + first + (((hash >> 32) * ROUTES_OF_PROCESSOR) >> 32);
}

/* Asks the kernel for the route of the packet at `offset` and keeps it for its destination. */
COLD long ask_route_of_inner(struct xdp_md *ctx, __u64 offset, __u64 two, __u64 three)
{
	const __u64 now = current_state_of_routes();
	struct ipv6_header *inner = packet_at(ctx, offset);
	struct ipv6_address source, destination;
	struct cached_route *cached;
	struct route route = {};
	int index, may_be_mobile;

	if (!inner)
		return hand_over(&route);
	source = address_of(inner->source);
	destination = address_of(inner->destination);
	find_route(ctx, &route, &source, &destination, inner->version_class_flow, inner->next_header,
		   packet_length(inner));
	hand_over(&route);
	if (!(__u32)now || route.status != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	may_be_mobile = home_prefixes.lookup(&destination.high) || is_in_mobile_network(&destination);
	index = keep_route(&route, now);
	if (index >= 0) {
		cached = cached_route_to(&destination, bpf_get_smp_processor_id());
		cached->destination = destination;
		cached->generation = now;
		cached->networks = may_be_mobile ? ~(now >> 32) : now >> 32;
		cached->next_hop = index;
	}
	return 0;
}

/* Sets the route of a packet of the length that leaves a tunnel, from this processor's cache or from the kernel. It is at
 * `offset` in the frame. */
INLINE void find_route_of_inner(struct xdp_md *ctx, struct route *route, const struct ipv6_address *destination,
				__u32 offset, __u32 length)
{
	const __u32 generation = current_generation();
	const struct cached_route *cached = cached_route_to(destination, bpf_get_smp_processor_id());

	if (LIKELY(generation && cached->generation == generation &&
		   cached->destination.high == destination->high && cached->destination.low == destination->low &&
		   follow_next_hop(cached->next_hop, generation, length, route)))
		return;
	ask_route_of_inner(ctx, offset, 0, 0);
	take_over(route);
}
