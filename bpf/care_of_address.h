/* Where a mobile node can be reached. The one place of the programs outside XDP that reads bindings. */
#pragma once

/* Whether the node is bound or being brought back; if so, `care_of_address` is set. */
INLINE int find_care_of_address(struct ipv6_address *home_address, struct ipv6_address *care_of_address)
{
	struct binding *binding = bindings.lookup(home_address);
	struct ipv6_address *pending;

	if (binding) {
		*care_of_address = binding->care_of_address;
		return 1;
	}
	pending = pending_nodes.lookup(home_address);
	if (!pending)
		return 0;
	*care_of_address = *pending;
	return 1;
}
