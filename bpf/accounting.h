/* Counters. A counter that cannot be had never changes what becomes of the frame. */
#pragma once

INLINE void count_reason(__u32 reason)
{
	__u64 *counter = stats.lookup(&reason);

	if (counter)
		*counter += 1;
}

/* This processor's counters of the binding in a slot. */
INLINE struct usage *usage_of(struct slot *slot)
{
	__u64 processor = bpf_get_smp_processor_id();

	/* Or the compiler tests bits, from which older verifiers conclude nothing. */
	asm volatile("" : "+r"(processor));
	if (processor >= PROCESSORS)
		return NULL;
	return &slot->usage[processor];
}

INLINE void count_encapsulated(struct slot *slot, __u32 length)
{
	struct usage *usage = usage_of(slot);

	if (usage) {
		usage->encapsulated_packets += 1;
		usage->encapsulated_bytes += length;
	}
}

INLINE void count_decapsulated(struct slot *slot, __u32 length)
{
	struct usage *usage = usage_of(slot);

	if (usage) {
		usage->decapsulated_packets += 1;
		usage->decapsulated_bytes += length;
	}
}
