/* Finding the binding of a home address, in a table that the control plane writes through mapped memory meanwhile.
 *
 * A key is in one of the two slots of one of the MAX_PROBES buckets from the place its hash says; a bucket with a slot
 * that was never used ends the search. The hash is keyed (the multilinear family of Lemire and Kaser, strongly
 * universal), so that nobody can choose home addresses that collide.
 *
 * The state of a slot is what puts the rest in force. To change a binding, the writer writes the new one into a slot of
 * the journal and has the state point there, then copies it and has the state point to the slot itself. A reader whose
 * state has changed meanwhile reads again; nobody waits for anybody, and a writer that dies anywhere in between leaves
 * what was or what is to be. Relies on the memory order of x86. */
#pragma once

#define SLOT_TAKEN 1
#define SLOT_IN_JOURNAL 2 /* what is in force stands in the slot of the journal that the index says */
#define SLOT_CHANGE_SHIFT 2 /* 14 bits, so that a state does not come again while a packet is looked at */
#define SLOT_INDEX_SHIFT 16 /* of the home network, or in the journal */

#define COMPILER_BARRIER() asm volatile("" ::: "memory")

#define MAX_READS 4 /* each further one needs a change that ended in these nanoseconds */

INLINE __u32 hash_of(const struct ipv6_address *address)
{
	__u64 sum = HASH_KEY_0;

	sum += (HASH_KEY_1 + (__u32)address->high) * (HASH_KEY_2 + (address->high >> 32));
	sum += (HASH_KEY_3 + (__u32)address->low) * (HASH_KEY_4 + (address->low >> 32));
	return sum >> 32;
}

INLINE __u32 state_of(const struct slot *slot)
{
	__u32 state = *(const volatile __u32 *)&slot->state;

	COMPILER_BARRIER();
	return state;
}

/* Where the value that is in force stands. */
INLINE const struct slot *source_of(const struct slot *slot, __u32 state)
{
	__u32 index = state >> SLOT_INDEX_SHIFT;
	__u32 position = JOURNAL_START + index / 2;
	struct bucket *bucket;

	if (LIKELY(!(state & SLOT_IN_JOURNAL)))
		return slot;
	bucket = bindings.lookup(&position);
	return bucket ? &bucket->slots[index & 1] : NULL;
}

/* The home network, if this is the slot of the home address. */
INLINE const struct home_network *network_of(const struct slot *source, __u32 state, const struct slot *slot,
					     const struct ipv6_address *home_address)
{
	struct home_network *network;
	__u32 index;

	if (slot->home_address_low != home_address->low || !(state & SLOT_TAKEN) || !source)
		return NULL;
	index = source->state >> SLOT_INDEX_SHIFT;
	network = home_networks.lookup(&index);
	if (!network)
		return NULL;
	return LIKELY(network->prefix == home_address->high) ? network : NULL;
}

/* Copies what is in force in the slot; 0 when it is not the home address's, or changed meanwhile. */
INLINE int read_slot(struct slot *slot, struct usage *usage, const struct ipv6_address *home_address,
		     struct binding *found)
{
	const __u32 state = state_of(slot);
	const struct slot *source = source_of(slot, state);
	const struct home_network *network = network_of(source, state, slot, home_address);

	if (UNLIKELY(!network))
		return 0;
	found->care_of_address = source->care_of_address;
	found->home_agent = &network->home_agent;
	found->slot = slot;
	found->usage = usage;
	found->state = state;
	COMPILER_BARRIER();
	return LIKELY(*(volatile __u32 *)&slot->state == state);
}

INLINE int is_of(const struct slot *slot, const struct ipv6_address *home_address)
{
	const __u32 state = state_of(slot);

	return network_of(source_of(slot, state), state, slot, home_address) != NULL;
}

/* Which slot of the bucket is to be looked at first, without a branch: it would be decided when the cache line is there,
 * and what the processor has done meanwhile were in vain half of the time. */
INLINE __u32 likely_slot(const struct bucket *bucket, const struct ipv6_address *home_address)
{
	__u64 difference = bucket->slots[0].home_address_low ^ home_address->low;
	__u64 negative = -difference;

	asm volatile("" : "+r"(negative)); /* or the compiler makes it a branch */
	return (difference | negative) >> 63;
}

/* Asks for the cache line of the counters while that of the bucket is on its way. */
INLINE void prefetch(const void *address)
{
	__u64 unused;

	asm volatile("%0 = *(u64 *)(%1 + 0)" : "=r"(unused) : "r"(address));
}

/* Whether the home address is bound; if so, `found` is set. */
INLINE int find_binding(const struct ipv6_address *home_address, struct binding *found)
{
	const __u32 usage_base = (bpf_get_smp_processor_id() % USAGE_STRIPES) * USAGE_BUCKETS;
	__u32 position = ((__u64)hash_of(home_address) * HASH_PLACES) >> 32;
	__u32 usage_position = usage_base + position;
	struct bucket_usage *counted;
	struct bucket *bucket;
	struct slot *slot;
	__u32 number;

	counted = usage.lookup(&usage_position);
	bucket = bindings.lookup(&position);
	if (!bucket || !counted)
		return 0;
	prefetch(counted);
	number = likely_slot(bucket, home_address);
	if (LIKELY(read_slot(&bucket->slots[number], &counted->slots[number], home_address, found)))
		return 1;

#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_PROBES; i++, position++) {
		bucket = bindings.lookup(&position);
		if (!bucket)
			return 0;
		number = !is_of(&bucket->slots[0], home_address);
		if (!number || is_of(&bucket->slots[1], home_address))
			goto held;
		if (!bucket->slots[0].state || !bucket->slots[1].state)
			return 0;
	}
	return 0;
held:
	usage_position = usage_base + position;
	counted = usage.lookup(&usage_position);
	if (!counted)
		return 0;
	slot = &bucket->slots[number & 1];
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_READS; i++)
		if (read_slot(slot, &counted->slots[number & 1], home_address, found))
			return 1;
	return 0;
}
