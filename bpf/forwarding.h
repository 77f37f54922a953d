/* The way out: route, next hop and MTU by the kernel's own tables, and the interfaces that can be sent to from XDP. */
#pragma once

INLINE void ask_kernel(struct xdp_md *ctx, struct route *route, struct bpf_fib_lookup *query)
{
	route->status = bpf_fib_lookup(ctx, query, sizeof(*query), 0);
	route->port = query->ifindex;
	route->mtu = query->tot_len; /* the same bytes as mtu_result, which older headers do not name */
	__builtin_memcpy(&route->addresses, query->dmac, 6);
	__builtin_memcpy((__u8 *)&route->addresses + 6, query->smac, 6);
}

INLINE void find_route(struct xdp_md *ctx, struct route *route, const struct ipv6_address *from,
		       const struct ipv6_address *to, __be32 version_class_flow, __u8 protocol, __u32 length)
{
	struct bpf_fib_lookup query = {};

	query.family = ADDRESS_FAMILY_INET6;
	query.l4_protocol = protocol;
	query.tot_len = length;
	query.ifindex = ingress_of(ctx);
	query.flowinfo = version_class_flow & bpf_htonl(FLOW_INFORMATION_MASK);
	__builtin_memcpy(query.ipv6_src, from, sizeof(*from));
	__builtin_memcpy(query.ipv6_dst, to, sizeof(*to));
	ask_kernel(ctx, route, &query);
}

/* The same to an IPv4 care-of address. */
INLINE void find_ipv4_route(struct xdp_md *ctx, struct route *route, const struct ipv6_address *care_of_address,
			    __be32 version_class_flow, __u32 length)
{
	struct bpf_fib_lookup query = {};

	query.family = ADDRESS_FAMILY_INET;
	query.l4_protocol = udp_port_of(care_of_address) ? NEXT_HEADER_UDP : NEXT_HEADER_IPV6;
	query.tot_len = length;
	query.ifindex = ingress_of(ctx);
	query.tos = bpf_ntohl(version_class_flow) >> 20 & DSCP_MASK;
	query.ipv4_src = ipv4_home_agent_of(care_of_address);
	query.ipv4_dst = ipv4_address_of(care_of_address);
	ask_kernel(ctx, route, &query);
}

/* Whether frames can be sent by the interface; if so, chooses it as the port of a later XDP_REDIRECT. */
INLINE int can_send_by(__u32 port)
{
	__u64 verdict;

	choose_tag(port);
	/* All of its bits count, whatever type bcc has the helper return: so nothing has to be cut off. */
	asm("" : "=r"(verdict) : "0"(ports.redirect_map(port, XDP_PASS)));
	return verdict == XDP_REDIRECT;
}

/* Whether the packet can leave from here. Chooses the port of a later XDP_REDIRECT and writes nothing: an interface
 * without XDP would lose the frame, so such a frame is left to the kernel before it is touched. */
INLINE int can_redirect(const struct route *route)
{
	return route->status == BPF_FIB_LKUP_RET_SUCCESS && can_send_by(route->port);
}

/* What becomes of a packet to be encapsulated, by its route: a FORWARD_ reason, a PASS_ reason when the kernel's
 * forwarding takes the outer packet, or a DROP_ reason. */
INLINE enum reason outer_route_reason(const struct route *route, enum reason forwarded)
{
	switch (route->status) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		return can_redirect(route) ? forwarded : PASS_ENCAPSULATED_SLOW_PATH;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return PASS_ENCAPSULATED_NO_NEIGHBOUR;
	case BPF_FIB_LKUP_RET_UNSUPP_LWT:
		return PASS_ENCAPSULATED_SLOW_PATH;
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return DROP_FORWARDING_DISABLED;
	default:
		return DROP_NO_ROUTE;
	}
}
