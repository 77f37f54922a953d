/* Networks that move: prefixes behind mobile routers (RFC 3963). Asked only where no binding is of the address itself.
 *
 * `mobile_networks` names the mobile router by its home address, and the binding of that says where it is: a prefix
 * whose router has no binding any more leads nowhere, whatever stands in the trie. Where the binding is in its table
 * stands there too, for a search takes long, of the verifier above all. */
#pragma once

#if WITH_MOBILE_NETWORKS

INLINE int find_binding_of_network(const struct ipv6_address *address, struct binding *found)
{
	struct mobile_network network = { .prefix_length = 8 * sizeof(network.address) };
	struct mobile_router *router;
	struct slot *slot;
	__u32 state;

	if (is_home_agent(address))
		return 0; /* whatever prefix it is in */
	__builtin_memcpy(network.address, address, sizeof(network.address));
	router = mobile_networks.lookup(&network);
	if (!router)
		return 0;
	/* The verifier allows no arithmetic before the test, the compiler would do it. */
	asm volatile("" : "+r"(router));
	slot = bindings.lookup(&router->position);
	if (!slot)
		return 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_READS; i++) {
		state = state_of(slot);
		if (!holds(slot, state, &router->home_address))
			return 0; /* not bound, or in another place by now */
		if (read_slot(slot, state, found))
			return 1;
	}
	return 0;
}

/* Whether a packet out of the sender's tunnel would go back into it: the mobile router has no such host, and would send
 * the packet here again until its hop limit is used up. */
INLINE int is_own_tunnel(const struct binding *sender, const struct binding *receiver)
{
	return sender->slot == receiver->slot;
}

#else

INLINE int find_binding_of_network(const struct ipv6_address *address, struct binding *found)
{
	return 0;
}

INLINE int is_own_tunnel(const struct binding *sender, const struct binding *receiver)
{
	return 0;
}

#endif

/* The binding of a mobile node, or of the mobile router in front of the network that the address is in. */
INLINE int find_mobile(const struct ipv6_address *address, struct binding *found)
{
	return find_binding(address, found) || find_binding_of_network(address, found);
}
