/* Where a mobile node can be reached. The one place of the programs outside XDP that reads bindings. */
#pragma once

/* Whether that is known; if so, `care_of_address` is set. What signalling of this moment is to go to comes first: an
 * answer goes to where the question came from, whatever is bound. */
INLINE int find_care_of_address(struct __sk_buff *skb, struct ipv6_address *home_address, struct ipv6_address *care_of_address)
{
	struct ipv6_address *reply = reply_addresses.lookup(home_address);
	struct binding binding;

	if (reply) {
		/* The verifier allows no arithmetic before the test, the compiler would do it. */
		asm volatile("" : "+r"(reply));
		*care_of_address = *reply;
		return 1;
	}
	if (!find_binding(skb, home_address, &binding))
		return 0;
	*care_of_address = binding.care_of_address;
	return 1;
}
