/* Networks that move: prefixes behind mobile routers (RFC 3963). Asked only where no binding is of the address itself.
 *
 * `mobile_networks` names the mobile router by its home address, and the binding of that says where it is: a prefix
 * whose router has no binding any more leads nowhere, whatever stands in the trie. Where the binding is in its table
 * stands there too, for a search takes long, of the verifier above all. */
#pragma once

#if WITH_MOBILE_NETWORKS

/* Whether a prefix of a mobile router's is the address's. */
INLINE int is_in_mobile_network(const struct ipv6_address *address)
{
	struct mobile_network network = { .prefix_length = 8 * sizeof(network.address) };

	__builtin_memcpy(network.address, address, sizeof(network.address));
	return mobile_networks.lookup(&network) != NULL;
}

/* Looks for the binding of the mobile router in front of the network that the address is in. */
INLINE __u64 search_networks(const struct ipv6_address *address)
{
	struct mobile_network network = { .prefix_length = 8 * sizeof(network.address) };
	struct ipv6_address home_address;
	struct mobile_router *router;
	struct bucket *bucket;
	__u32 number, state;

	if (is_home_agent(address))
		return NOWHERE; /* whatever prefix it is in */
	__builtin_memcpy(network.address, address, sizeof(network.address));
	router = mobile_networks.lookup(&network);
	if (!router)
		return NOWHERE;
	/* The verifier allows no arithmetic before the test, the compiler would do it. */
	asm volatile("" : "+r"(router));
	home_address = router->home_address;
	number = router->position;
	bucket = bucket_at(number / 2);
	if (!bucket)
		return NOWHERE;
	state = state_for(&bucket->slots[number & 1], &home_address);
	return state ? FOUND(number, state) : NOWHERE; /* not bound, or in another place by now */
}

/* Whether a packet out of the sender's tunnel would go back into it: the mobile router has no such host, and would send
 * the packet here again until its hop limit is used up. */
INLINE int is_own_tunnel(const struct binding *sender, const struct binding *receiver)
{
	return sender->slot == receiver->slot;
}

#else

INLINE int is_in_mobile_network(const struct ipv6_address *address)
{
	return 0;
}

INLINE __u64 search_networks(const struct ipv6_address *address)
{
	return NOWHERE;
}

INLINE int is_own_tunnel(const struct binding *sender, const struct binding *receiver)
{
	return 0;
}

#endif
