/* Counters. A counter that cannot be had never changes what becomes of the frame. */
#pragma once

INLINE void count_reason(__u32 reason)
{
	__u64 *counter = stats.lookup(&reason);

	if (counter)
		*counter += 1;
}

INLINE void count_encapsulated(__u32 slot, __u32 length)
{
	struct usage *of_slot = usage.lookup(&slot);

	if (of_slot) {
		of_slot->encapsulated_packets += 1;
		of_slot->encapsulated_bytes += length;
	}
}

INLINE void count_decapsulated(__u32 slot, __u32 length)
{
	struct usage *of_slot = usage.lookup(&slot);

	if (of_slot) {
		of_slot->decapsulated_packets += 1;
		of_slot->decapsulated_bytes += length;
	}
}
