/* Counters. A counter that cannot be had never changes what becomes of the frame. */
#pragma once

INLINE void count_reason(__u32 reason)
{
	__u64 *counter = stats.lookup(&reason);

	if (counter)
		*counter += 1;
}

/* Processors count in places of their own, as long as they are so few that memory allows it. */
INLINE void add_to(__u64 *counter, __u64 number)
{
#if PROCESSORS > USAGE_STRIPES
	__sync_fetch_and_add(counter, number);
#else
	*counter += number;
#endif
}

INLINE void count_encapsulated(const struct binding *binding, __u64 length)
{
	add_to(&binding->usage->encapsulated_packets, 1);
	add_to(&binding->usage->encapsulated_bytes, length);
}

INLINE void count_decapsulated(const struct binding *binding, __u64 length)
{
	add_to(&binding->usage->decapsulated_packets, 1);
	add_to(&binding->usage->decapsulated_bytes, length);
}
