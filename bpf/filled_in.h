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
