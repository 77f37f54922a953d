/* Values of the maps. datapath/layout.py mirrors them: change both, and the schema version with them. */
#pragma once

/* What went through the tunnel: inner packets and their bytes. */
struct usage {
	__u64 encapsulated_packets;
	__u64 encapsulated_bytes;
	__u64 decapsulated_packets;
	__u64 decapsulated_bytes;
};

/* One binding. A packet needs to touch nothing else that grows with the number of bindings, but for what it counts. */
struct slot {
	__u32 state; /* 0: never used; else SLOT_ bits, the number of the change that made it, an index */
	__u32 next_hop; /* a reference (next_hops.h), written by this program only */
	__u64 home_address_low;
	struct ipv6_address care_of_address;
};

/* Of `bindings`, an open-addressed table: bindings.h says how it is read, datapath/table.py writes it. One cache line,
 * which is what is waited for when there are many bindings. */
struct bucket {
	struct slot slots[2];
} __attribute__((aligned(64)));

/* The usage of both slots of a bucket. */
struct bucket_usage {
	struct usage slots[2];
} __attribute__((aligned(64)));

/* Of `usage`: what one processor, or several, have counted of all bindings. */
struct usages {
	struct bucket_usage buckets[USAGE_BUCKETS];
};

/* Of `home_networks`: what the bindings of one home network at one home agent have in common. */
struct home_network {
	struct ipv6_address home_agent; /* where their tunnels end on this side */
	__u64 prefix; /* upper half of their home addresses */
	__u64 reserved;
};

/* A binding as it was found: a copy that is consistent, whatever is written meanwhile. */
struct binding {
	struct ipv6_address care_of_address;
	const struct ipv6_address *home_agent;
	struct slot *slot;
	struct usage *usage;
	__u64 word; /* state, and above it the reference to a next hop, as they were then */
};

/* Key of `mobile_networks`: a prefix; in words, for a trie wants no gap behind the length. */
struct mobile_network {
	__u32 prefix_length; /* bits */
	__u32 address[4]; /* network byte order */
};

/* Value of `mobile_networks`: whose network it is. */
struct mobile_router {
	struct ipv6_address home_address;
	__u32 position; /* of its binding in `bindings`, if it is there */
	__u32 reserved;
};

/* Of `next_hops`. The processor that has found it out is the only one that writes it. */
struct next_hop {
	__u32 generation; /* it is true in; 0 while it is written */
	__u32 port; /* interface index */
	__u32 mtu; /* at most MAX_MTU */
	__u32 reserved;
	struct link_addresses addresses;
	__u32 reserved_too;
};

/* Value of `asked_routes`, by processor: what the kernel answered last. */
struct route {
	int status; /* a BPF_FIB_LKUP_RET_ code */
	__u32 port; /* interface index */
	__u32 mtu; /* set when the kernel was asked; kernels that do not tell it on success leave the packet's length */
	struct link_addresses addresses;
};

/* Of `routes`, by processor and hash: the next hop to one destination, to which routers may forward. */
struct cached_route {
	struct ipv6_address destination;
	__u32 generation; /* `next_hop` was found out in */
	__u32 networks; /* of route_control, when it was known that no mobile node can have the address; else not that */
	__u32 next_hop; /* index in `next_hops` */
	__u32 reserved;
};

/* Value of `route_control`: whether what was found out before may still be used. */
struct route_control {
	__u32 generation; /* of routes and neighbours; what was found out in another one is void. Never 0 */
	__u32 networks; /* counts the prefixes that have come to be those of mobile nodes */
	__u64 valid_until; /* in jiffies: a control plane that is gone tells of no change */
};

/* Value of `path_mtus`, by care-of address: the largest outer packet that the path there carries. */
struct path_mtu {
	__u32 mtu;
	__u32 reserved;
	__u64 expires_at; /* ns of bpf_ktime_get_ns */
};

/* Value of `config`: how the data path was loaded. */
struct configuration {
	__u32 schema_version;
	__u32 max_bindings;
	__u64 loaded_at; /* seconds since the epoch */
	__u8 source_digest[16]; /* of the program's text */
	char loaded_by[32]; /* version of homeagent, as text */
};

/* Value of `attachments`, by interface index: for the loader, not read by the program. */
struct attachment {
	char interface[16];
	__u8 requested_mode;
	__u8 actual_mode;
	__u8 reserved[6];
	char note[104]; /* why the actual mode is not native, empty if it is */
};

/* Value of `error_budget` and `advertisement_budget`, per processor: a token bucket for ICMPv6 messages. */
struct error_budget {
	__u64 refilled_at; /* ns of bpf_ktime_get_ns */
	__u64 tokens;
};

/* A home link: the interface that frames of it come in by, a VLAN device where they have a tag. */
struct home_link {
	__u32 interface; /* index */
	__u32 reserved;
};

/* Value of `home_links`: as whom the home agent defends home addresses there. */
struct link_identity {
	struct ipv6_address address; /* source of the advertisements */
	__u64 valid_until; /* in jiffies; 0: for as long as the data path is loaded */
	__u8 link_address[6];
	__u8 reserved[2];
};

/* Bits of the value of `link_local_addresses`. */
#define DEFENDED_FOR_ROUTER 1
#define DEFENDED_IF_BOUND 2

/* Key of `link_local_addresses`, defended beside home addresses where a mobile node wants that; and of the home addresses
 * of mobile routers, which are defended as what they are. */
struct link_local_address {
	struct ipv6_address address;
	struct home_link link;
};

/* Key of `strangers`: a network, or whatever else is limited; strangers.h has the kinds. */
struct stranger_key {
	__u64 prefix; /* the first bits of an address, the others zero */
	__u32 length; /* how many */
	__u32 kind;
};

/* Value of `strangers` and of `strangers_in_all`, in ns of bpf_ktime_get_ns. */
struct stranger_bucket {
	__u64 full_at; /* a token is spent by moving this into the future */
	__u64 challenged_until; /* cookies are asked for */
};

/* Key of `vlans`: frames on a port with a tag. */
struct vlan {
	__u32 port; /* interface index */
	__u32 identifier;
};

/* Value of `frame_tags`, per processor: of the frame being looked at. Tags have TAG_PRESENT set, 0 is none. */
struct frame_tags {
	__u32 ingress; /* interface index, of the VLAN device if there is a tag */
	__u32 received;
	__u32 sent;
	__u32 reserved;
};
