/* Finding the binding of an address: nearly always in the bucket that its hash says. */
#pragma once

/* Asks for the cache line of the counters while that of the bucket is on its way. */
INLINE void prefetch(const void *address)
{
	__u64 unused;

	asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(unused) : "r"(address));
}

/* The bucket at a position, and what is counted there. */
struct place {
	struct bucket *bucket;
	struct bucket_usage *counted;
};

INLINE int find_place(__u32 position, struct place *place)
{
	__u32 usage_position = (bpf_get_smp_processor_id() % USAGE_STRIPES) * USAGE_BUCKETS + position;

	place->counted = usage.lookup(&usage_position);
	place->bucket = bindings.lookup(&position);
	if (!place->counted || !place->bucket)
		return 0;
	prefetch(place->counted);
	return 1;
}

#define SEARCH_NETWORKS (1ULL << 32)
#define SEARCH_NO_TABLE (1ULL << 33)

/* `how`: the position that a search of the table begins at, and what else is to be searched. */
COLD long search(void *ctx, __u64 high, __u64 low, __u64 how)
{
	const struct ipv6_address address = { .high = high, .low = low };
	__u64 found = NOWHERE;

	if (!(how & SEARCH_NO_TABLE))
		found = search_table(&address, how);

	if (WITH_MOBILE_NETWORKS && found == NOWHERE && how & SEARCH_NETWORKS)
		found = search_networks(&address);
	return found;
}

/* The binding in the slot, if that is still in the state it was found in. */
INLINE int read_found(__u64 result, struct binding *found)
{
	const __u32 number = result >> 32;
	const __u32 state = result;
	const struct home_network *network;
	const struct slot *source;
	struct place place;
	struct slot *slot;
	__u32 index;

	if (!find_place(number / 2, &place))
		return 0;
	slot = &place.bucket->slots[number & 1];
	if (state_of(slot) != state)
		return 0;
	source = source_of(slot, state);
	if (!source)
		return 0;
	index = source->state >> SLOT_INDEX_SHIFT;
	network = home_networks.lookup(&index);
	return network && copy_slot(slot, state, source, network, &place.counted->slots[number & 1], found);
}

INLINE int search_and_read(void *ctx, const struct ipv6_address *address, __u64 how, struct binding *found)
{
	__u64 result;

#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_READS; i++) {
		result = search(ctx, address->high, address->low, how);
		if (result == NOWHERE)
			return 0;
		if (read_found(result, found))
			return 1;
	}
	return 0;
}

/* Whether the address is bound, or `or_network` in a network that is; if so, `found` is set. */
INLINE int find(void *ctx, const struct ipv6_address *address, int or_network, struct binding *found)
{
	const __u32 position = ((__u64)hash_of(address) * HASH_PLACES) >> 32;
	const struct home_network *network;
	const struct slot *source;
	__u64 first, number;
	struct place place;
	struct slot *slot;
	__u32 state;
	__u64 how = position;

	if (!find_place(position, &place))
		return 0;
	/* Which slot is to be looked at is computed: a branch would be decided when the cache line is there, and what the
	 * processor has done meanwhile were in vain half of the time. */
	first = place.bucket->slots[0].home_address_low ^ address->low;
	number = -first;
	asm volatile("" : "+r"(number)); /* or the compiler makes it a branch */
	number = (first | number) >> 63;
	slot = &place.bucket->slots[number];
	state = state_of(slot);
	source = source_of(slot, state);
	network = network_of(source, state, slot, address);
	if (LIKELY(network && copy_slot(slot, state, source, network, &place.counted->slots[number], found)))
		return 1;
	if (LIKELY(number && place.bucket->slots[1].home_address_low != address->low &&
		   !(place.bucket->slots[0].state && place.bucket->slots[1].state))) {
		if (!or_network)
			return 0;
		how |= SEARCH_NO_TABLE;
	}
	if (or_network)
		how |= SEARCH_NETWORKS;
	return search_and_read(ctx, address, how, found);
}

INLINE int find_binding(void *ctx, const struct ipv6_address *home_address, struct binding *found)
{
	return find(ctx, home_address, 0, found);
}

/* The binding of a mobile node, or of the mobile router in front of the network that the address is in. */
INLINE int find_mobile(void *ctx, const struct ipv6_address *address, struct binding *found)
{
	return find(ctx, address, WITH_MOBILE_NETWORKS, found);
}
