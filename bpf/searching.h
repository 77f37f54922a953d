/* Finding the binding of an address: nearly always in the bucket that its hash says. */
#pragma once

/* Asks for the cache line of the counters while that of the bucket is on its way. */
INLINE void prefetch(const void *address)
{
	__u64 unused;

	asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(unused) : "r"(address));
}

/* Where a processor counts. */
INLINE struct usages *usages_of(__u64 processor)
{
#if USAGE_IS_ONE_VALUE
	struct usages *usages = USAGES + processor % USAGE_STRIPES;

	if (!usages)
		__builtin_unreachable();
	return usages;
#else
	__u32 stripe = processor % USAGE_STRIPES;

	return usage.lookup(&stripe);
#endif
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
	const __u32 state = result;
	struct usages *usages = usages_of(bpf_get_smp_processor_id());
	__u64 number = result >> 32;
	const struct slot *source;
	struct slot *slot;

	asm volatile("" : "+r"(number)); /* what is compared has to be what is added */
	if (!usages || number >= 2 * USAGE_BUCKETS)
		return 0;
	asm volatile("" : "+r"(number));
	slot = (struct slot *)BINDINGS + number;
	if (state_of(slot) != state)
		return 0;
	source = source_of(slot, state);
	return source && copy_slot(slot, state, source, home_network_of(source->state),
				   (struct usage *)usages->buckets + number, found);
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

/* What the first bucket says about an address. */
enum sighting {
	IS_ELSEWHERE, /* if anywhere: in another bucket, or not where it can be read at once */
	IS_HERE,
	IS_NOWHERE,
};

/* Looks in the first bucket; if the binding is there, sets `found`. */
INLINE enum sighting look(const struct ipv6_address *address, struct usages *usages, struct binding *found)
{
	const __u64 position = place_of(address);
	struct bucket *bucket = BINDINGS + position;
	struct bucket_usage *counted = &usages->buckets[position];
	const struct home_network *network;
	__u64 first, number, word;
	struct slot *slot;

	prefetch(counted);
	/* Which slot is to be looked at is computed: a branch would be decided when the cache line is there, and what the
	 * processor has done meanwhile were in vain half of the time. */
	first = bucket->slots[0].home_address_low ^ address->low;
	number = -first;
	asm volatile("" : "+r"(number)); /* or the compiler makes it a branch */
	number = (first | number) >> 63;
	slot = &bucket->slots[number];
	KEEP(slot);
	word = *(volatile __u64 *)slot; /* state and next hop: before everything else of it */
	COMPILER_BARRIER();
	if (UNLIKELY(slot->home_address_low != address->low))
		return bucket->slots[0].state && bucket->slots[1].state ? IS_ELSEWHERE : IS_NOWHERE;
	network = HOME_NETWORKS + ((word >> SLOT_INDEX_SHIFT) & SLOT_INDEX_MASK);
	KEEP(network);
	found->care_of_address = slot->care_of_address;
	found->home_agent = &network->home_agent;
	found->slot = slot;
	found->usage = &counted->slots[number];
	KEEP(found->usage);
	found->word = word;
	COMPILER_BARRIER(); /* and once more after it */
	if (LIKELY((word & (SLOT_TAKEN | SLOT_IN_JOURNAL)) == SLOT_TAKEN && network->prefix == address->high &&
		   *(volatile __u64 *)slot == word))
		return IS_HERE;
	return IS_ELSEWHERE;
}

/* Whether the address is bound, or `or_network` in a network that is; if so, `found` is set. */
INLINE int find(void *ctx, const struct ipv6_address *address, int or_network, struct binding *found)
{
	struct usages *usages = usages_of(bpf_get_smp_processor_id());
	enum sighting sighting;
	__u64 how;

	if (!usages)
		return 0;
	sighting = look(address, usages, found);
	if (LIKELY(sighting == IS_HERE))
		return 1;
	if (sighting == IS_NOWHERE && !or_network)
		return 0;
	how = sighting == IS_NOWHERE ? SEARCH_NO_TABLE : place_of(address);
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
