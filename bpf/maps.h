/* The maps. The loader creates and pins them before it compiles this text (datapath/layout.py has the same list),
 * so they outlive the program and the process. */
#pragma once

/* Maps of one value: an array in which nothing has to be looked up, and no answer to be tested. */
#define BINDINGS MEMORY_OF(struct bucket, 0) /* MAX_BUCKETS of them */
#define HOME_NETWORKS MEMORY_OF(struct home_network, 1)
#define NEXT_HOPS MEMORY_OF(struct next_hop, 2)
#define ROUTES MEMORY_OF(struct cached_route, 3)
#define ROUTE_CONTROL MEMORY_OF(struct route_control, 4)

#if USAGE_IS_ONE_VALUE
#define USAGES MEMORY_OF(struct usages, 5) /* USAGE_STRIPES of them */
#else
BPF_TABLE_PINNED("array", __u32, struct usages, usage, USAGE_STRIPES, PIN_DIRECTORY "/usage");
#endif
BPF_TABLE_PINNED("hash", __u64, __u32, home_prefixes, MAX_HOME_NETWORKS, PIN_DIRECTORY "/home_prefixes");
BPF_TABLE_PINNED("percpu_array", __u32, struct route, asked_routes, 1, PIN_DIRECTORY "/asked_routes");
#if WITH_MOBILE_NETWORKS
/* The mobile router by prefix; the longest one counts. */
BPF_TABLE_PINNED("lpm_trie", struct mobile_network, struct mobile_router, mobile_networks, MAX_MOBILE_NETWORKS,
		 PIN_DIRECTORY "/mobile_networks");
#endif
/* Care-of address by home address, for a moment: where signalling goes to a node without a binding, or beside it. */
BPF_TABLE_PINNED("hash", struct ipv6_address, struct ipv6_address, reply_addresses, MAX_BINDINGS,
		 PIN_DIRECTORY "/reply_addresses");
BPF_TABLE_PINNED("percpu_array", __u32, __u64, stats, MAX_REASONS, PIN_DIRECTORY "/stats");
BPF_TABLE_PINNED("percpu_array", __u32, struct error_budget, error_budget, 1, PIN_DIRECTORY "/error_budget");
#if WITH_HOME_LINKS
BPF_TABLE_PINNED("hash", struct home_link, struct link_identity, home_links, MAX_HOME_LINKS,
		 PIN_DIRECTORY "/home_links");
BPF_TABLE_PINNED("hash", struct link_local_address, __u32, link_local_addresses, MAX_BINDINGS,
		 PIN_DIRECTORY "/link_local_addresses");
BPF_TABLE_PINNED("percpu_array", __u32, struct error_budget, advertisement_budget, 1,
		 PIN_DIRECTORY "/advertisement_budget");
#endif
BPF_TABLE_PINNED("lru_hash", struct ipv6_address, struct path_mtu, path_mtus, MAX_PATH_MTUS,
		 PIN_DIRECTORY "/path_mtus");
#if WITH_STRANGER_LIMITS
/* Who has sent what lately; whoever was silent the longest is forgotten first. */
BPF_TABLE_PINNED("lru_hash", struct stranger_key, struct stranger_bucket, strangers, MAX_STRANGERS,
		 PIN_DIRECTORY "/strangers");
BPF_TABLE_PINNED("array", __u32, struct stranger_bucket, strangers_in_all, 2, PIN_DIRECTORY "/strangers_in_all");
#endif
#if WITH_VLANS
/* Index of the VLAN device by port and tag; tag by interface index. `ports` leads from VLAN devices to their ports. */
BPF_TABLE_PINNED("hash", struct vlan, __u32, vlans, MAX_VLANS, PIN_DIRECTORY "/vlans");
BPF_TABLE_PINNED("array", __u32, __u32, interface_tags, MAX_PORTS, PIN_DIRECTORY "/interface_tags");
BPF_TABLE_PINNED("percpu_array", __u32, struct frame_tags, frame_tags, 1, PIN_DIRECTORY "/frame_tags");
#endif
BPF_XDP_REDIRECT_MAP("devmap:" PIN_DIRECTORY "/ports", __u32, ports, MAX_PORTS);
