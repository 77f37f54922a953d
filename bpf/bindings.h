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
#define SLOT_INDEX_MASK 0xFFFF
#define SLOT_INDEX_SHIFT 16 /* of the home network, or in the journal */

#define COMPILER_BARRIER() asm volatile("" ::: "memory")

#define MAX_READS 4 /* each further one needs a change that ended in these nanoseconds */

/* The lower half, in one instruction: the compiler would take two. */
INLINE __u64 lower_half(__u64 word)
{
	asm("%0 = le32 %0" : "+r"(word));
	return word;
}

INLINE __u64 hash_of(const struct ipv6_address *address)
{
	__u64 sum = HASH_KEY_0;

	sum += (HASH_KEY_1 + lower_half(address->high)) * (HASH_KEY_2 + (address->high >> 32));
	sum += (HASH_KEY_3 + lower_half(address->low)) * (HASH_KEY_4 + (address->low >> 32));
	return sum >> 32;
}

/* The bucket that a search for the address begins in, below HASH_PLACES. */
INLINE __u64 place_of(const struct ipv6_address *address)
{
	return (hash_of(address) * HASH_PLACES) >> 32;
}

/* NULL behind the journal's end. */
INLINE struct bucket *bucket_at(__u64 position)
{
	asm volatile("" : "+r"(position)); /* what is compared has to be what is added */
	if (position >= MAX_BUCKETS)
		return NULL;
	asm volatile("" : "+r"(position));
	return BINDINGS + position;
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
	struct bucket *bucket;

	if (LIKELY(!(state & SLOT_IN_JOURNAL)))
		return slot;
	bucket = bucket_at(JOURNAL_START + index / 2);
	return bucket ? &bucket->slots[index & 1] : NULL;
}

INLINE const struct home_network *home_network_of(__u32 state)
{
	return HOME_NETWORKS + ((__u64)state >> SLOT_INDEX_SHIFT);
}

/* The home network, if this is the slot of the home address. */
INLINE const struct home_network *network_of(const struct slot *source, __u32 state, const struct slot *slot,
					     const struct ipv6_address *home_address)
{
	const struct home_network *network;

	if (slot->home_address_low != home_address->low || !(state & SLOT_TAKEN) || !source)
		return NULL;
	network = home_network_of(source->state);
	return LIKELY(network->prefix == home_address->high) ? network : NULL;
}

/* An address that the compiler does not compute again where it is used again. */
#define KEEP(pointer) asm volatile("" : "+r"(pointer))

/* Copies what is in force in the slot; 0 when it changed meanwhile. */
INLINE int copy_slot(struct slot *slot, __u32 state, const struct slot *source, const struct home_network *network,
		     struct usage *usage, struct binding *found)
{
	found->care_of_address = source->care_of_address;
	found->home_agent = &network->home_agent;
	found->slot = slot;
	found->usage = usage;
	found->word = (__u64)*(volatile __u32 *)&slot->next_hop << 32 | state;
	COMPILER_BARRIER();
	return LIKELY(*(volatile __u32 *)&slot->state == state);
}

/* The state of the slot if it is the home address's, else 0. */
INLINE __u32 state_for(const struct slot *slot, const struct ipv6_address *home_address)
{
	const __u32 state = state_of(slot);

	return network_of(source_of(slot, state), state, slot, home_address) ? state : 0;
}

/* What a search has found: number of the slot, and the state it was in. */
#define FOUND(number, state) ((__u64)(number) << 32 | (state))
#define NOWHERE (~0ULL)

/* Looks in the buckets from the position on. */
INLINE __u64 search_table(const struct ipv6_address *home_address, __u64 position)
{
	struct bucket *bucket;
	__u32 state;

#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_PROBES; i++, position++) {
		bucket = bucket_at(position);
		if (!bucket)
			break;
		state = state_for(&bucket->slots[0], home_address);
		if (state)
			return FOUND(2 * position, state);
		state = state_for(&bucket->slots[1], home_address);
		if (state)
			return FOUND(2 * position + 1, state);
		if (!bucket->slots[0].state || !bucket->slots[1].state)
			break;
	}
	return NOWHERE;
}
