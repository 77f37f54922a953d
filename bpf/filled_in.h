/* What differs between home agents that are otherwise alike: their secrets and addresses. The compiled text has reserved
 * numbers in their places, for which the loader puts the real ones (datapath/object_code.py), so that a compiled program
 * serves all of them, and may be kept where everybody reads it. */
#pragma once

/* In assembly, for the compiler would compute with the number. */
#define FILLED_IN(place)                                                                                           \
	({                                                                                                         \
		__u64 number_;                                                                                     \
		asm volatile("%0 = %1 ll" : "=r"(number_) : "i"(0x5ec7e75ec7e75e00ULL + (place)));                          \
		number_;                                                                                           \
	})

/* The memory of a map that has one value, without asking for it: its number in SINGLE_VALUES (datapath/layout.py). What
 * is added to it has to be known to the verifier as below the value's size, of which there may be 2^29 bytes. */
#define MEMORY_OF(type, number)                                                                                    \
	({                                                                                                         \
		type *memory_;                                                                                     \
		asm volatile("%0 = %1 ll" : "=r"(memory_) : "i"(0x5ec7e75ec7e75f00ULL + (number)));                         \
		memory_;                                                                                           \
	})
