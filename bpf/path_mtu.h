/* What has been learned of the path to a care-of address: routers inside the tunnel report packets that are too big for the
 * next link (RFC 8201). It is read where a route is asked of the kernel, and is then kept with the next hop: a packet
 * that follows a next hop that is kept pays nothing for it. Memory is bounded: what was used least recently goes. */
#pragma once

/* For so long, then the path may have become wider (RFC 8201 section 4). */
#define PATH_MTU_LIFETIME_NS 600000000000ULL

/* Remembers the MTU, unless it is known that the path carries less still. */
INLINE void learn_path_mtu(const struct ipv6_address *care_of_address, __u32 mtu)
{
	const __u64 now = bpf_ktime_get_ns();
	struct ipv6_address key = *care_of_address;
	struct path_mtu *known = path_mtus.lookup(&key);
	struct path_mtu learned = { .mtu = mtu, .expires_at = now + PATH_MTU_LIFETIME_NS };

	if (known && known->expires_at > now && known->mtu < mtu)
		return;
	path_mtus.update(&key, &learned);
}

/* Narrows the route, which is that of a packet of the length, to what was learned of the path. */
INLINE void apply_path_mtu(struct route *route, const struct ipv6_address *care_of_address, __u32 length)
{
	struct ipv6_address key = *care_of_address;
	const struct path_mtu *known = path_mtus.lookup(&key);

	if (!known || known->mtu >= route->mtu || known->expires_at <= bpf_ktime_get_ns())
		return;
	route->mtu = known->mtu;
	if (length > known->mtu &&
	    (route->status == BPF_FIB_LKUP_RET_SUCCESS || route->status == BPF_FIB_LKUP_RET_NO_NEIGH ||
	     route->status == BPF_FIB_LKUP_RET_UNSUPP_LWT))
		route->status = BPF_FIB_LKUP_RET_FRAG_NEEDED;
}
