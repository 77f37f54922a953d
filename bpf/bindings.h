/* Finding the binding of a home address, in a table that the control plane writes through mapped memory meanwhile.
 *
 * A key is in one of the MAX_PROBES slots from the place its hash says, before the first slot that was never used. The
 * hash is keyed (the multilinear family of Lemire and Kaser, strongly universal), so that nobody can choose home
 * addresses that collide. A slot holds two copies of what changes, and the state says which one is in force: the
 * writer writes the other one, then the state. A reader whose state has changed meanwhile reads again; nobody waits for
 * anybody, and a writer that dies half-way leaves nothing to repair. Relies on the memory order of x86. */
#pragma once

#define SLOT_COPY 1 /* which copy is in force */
#define SLOT_TAKEN 2
#define SLOT_CHANGE_SHIFT 2
#define MAX_READS 4 /* each further one needs a change that ended in these nanoseconds */

#define COMPILER_BARRIER() asm volatile("" ::: "memory")

INLINE __u32 hash_of(const struct ipv6_address *address)
{
	__u64 sum = HASH_KEY_0;

	sum += (HASH_KEY_1 + (__u32)address->high) * (HASH_KEY_2 + (address->high >> 32));
	sum += (HASH_KEY_3 + (__u32)address->low) * (HASH_KEY_4 + (address->low >> 32));
	return sum >> 32;
}

/* Copies what is in force; 0 when it changed meanwhile. */
INLINE int read_slot(struct slot *slot, __u32 state, struct binding *found)
{
	__u32 copy = state & SLOT_COPY;
	__u32 index;

	found->care_of_address = slot->care_of_address[copy];
	index = slot->home_agent[copy];
	found->home_agent = home_agents.lookup(&index);
	if (!found->home_agent)
		return 0;
	found->slot = slot;
	found->state = state;
	COMPILER_BARRIER();
	return LIKELY(*(volatile __u32 *)&slot->state == state);
}

INLINE int holds(const struct slot *slot, __u32 state, const struct ipv6_address *home_address)
{
	/* One comparison: after each of several the verifier would go its own way. */
	return !((slot->home_address.low ^ home_address->low) | (slot->home_address.high ^ home_address->high) |
		 (~state & SLOT_TAKEN));
}

INLINE __u32 state_of(const struct slot *slot)
{
	__u32 state = *(const volatile __u32 *)&slot->state;

	COMPILER_BARRIER();
	return state;
}

/* Whether the home address is bound; if so, `found` is set. */
INLINE int find_binding(const struct ipv6_address *home_address, struct binding *found)
{
	__u32 position = ((__u64)hash_of(home_address) * HASH_PLACES) >> 32;
	struct slot *slot;
	__u32 state;

#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_PROBES; i++, position++) {
		slot = bindings.lookup(&position);
		if (!slot)
			return 0;
		state = state_of(slot);
		if (LIKELY(holds(slot, state, home_address)))
			goto held;
		if (!state)
			return 0;
	}
	return 0;
held:
	if (read_slot(slot, state, found))
		return 1;
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_READS; i++) {
		state = state_of(slot);
		if (!holds(slot, state, home_address))
			return 0; /* removed in this moment */
		if (read_slot(slot, state, found))
			return 1;
	}
	return 0;
}
