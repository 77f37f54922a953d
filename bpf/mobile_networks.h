/* Networks that move: prefixes behind mobile routers (RFC 3963). Asked only where no binding is of the address itself.
 *
 * `mobile_networks` names the mobile router by its home address, and the binding of that says where it is: a prefix
 * whose router has no binding any more leads nowhere, whatever stands in the trie. */
#pragma once

#if WITH_MOBILE_NETWORKS

INLINE int find_binding_of_network(const struct ipv6_address *address, struct binding *found)
{
	struct mobile_network network = { .prefix_length = 8 * sizeof(network.address) };
	struct ipv6_address *router, home_address;

	if (is_home_agent(address))
		return 0; /* whatever prefix it is in */
	__builtin_memcpy(network.address, address, sizeof(network.address));
	router = mobile_networks.lookup(&network);
	if (!router)
		return 0;
	home_address = *router;
	return find_binding(&home_address, found);
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
