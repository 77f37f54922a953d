/* What packets rarely need stands in functions of their own, each of which the verifier walks through once, from any
 * context and numbers, and not wherever it is called from. All have one form, which datapath/type_information.py describes
 * to the kernel: the context and three numbers in, a number out. Where they change the frame, pointers into it are void
 * after the call. datapath/linking.py puts them behind the program, for bcc does not. */
#pragma once

/* Used, or the compiler would change what of its arguments a function gets. */
#define COLD static __attribute__((__noinline__, __used__, __section__(".bpf.fn.cold")))

#define NAME_MAP(number) asm volatile("" : : "r"(bpf_pseudo_fd(BPF_PSEUDO_MAP_FD, -number##LL)))
#define NAME_4_MAPS(a, b, c, d) NAME_MAP(a); NAME_MAP(b); NAME_MAP(c); NAME_MAP(d)

/* First in the section. bcc resolves maps in the functions it knows, and of this section it knows this one, which names
 * them all; the others are resolved by it. Nobody calls it. */
int cold(void *context)
{
	NAME_4_MAPS(1, 2, 3, 4);
	NAME_4_MAPS(5, 6, 7, 8);
	NAME_4_MAPS(9, 10, 11, 12);
	NAME_4_MAPS(13, 14, 15, 16);
	NAME_4_MAPS(17, 18, 19, 20);
	NAME_4_MAPS(21, 22, 23, 24);
	NAME_4_MAPS(25, 26, 27, 28);
	NAME_4_MAPS(29, 30, 31, 32);
	return 0;
}
