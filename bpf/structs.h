/* Headers on the wire and values of the maps. Addresses are two halves in network byte order, so that comparing one
 * costs two instructions. datapath/layout.py mirrors the map values: change both, and the schema version with them. */
#pragma once

struct ipv6_address {
	__u64 high;
	__u64 low;
};

struct ethernet_header {
	__u8 destination[6];
	__u8 source[6];
	__be16 type;
};

struct ipv6_header {
	__be32 version_class_flow;
	__be16 payload_length;
	__u8 next_header;
	__u8 hop_limit;
	/* Words rather than struct ipv6_address: the frame puts them on no 8-byte boundary. */
	__u64 source[2];
	__u64 destination[2];
};

struct options_header {
	__u8 next_header;
	__u8 length; /* in units of 8 bytes, not counting the first */
};

struct routing_header {
	__u8 next_header;
	__u8 length; /* in units of 8 bytes, not counting the first */
	__u8 type;
	__u8 segments_left;
	__u32 reserved;
	__u64 home_address[2];
};

struct udp_header {
	__be16 source_port;
	__be16 destination_port;
	__be16 length;
	__u16 checksum;
};

struct icmpv6_header {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 data; /* the MTU of Packet Too Big; unused in Time Exceeded */
};

/* Value of `bindings`, by home address. */
struct binding {
	struct ipv6_address care_of_address;
	struct ipv6_address home_agent;
	__u32 slot; /* index in `usage` */
	__u32 flags; /* none defined in this schema version: zero */
};

/* Value of `usage`, by slot, per processor: what went through the tunnel, inner packets and their bytes. */
struct usage {
	__u64 encapsulated_packets;
	__u64 encapsulated_bytes;
	__u64 decapsulated_packets;
	__u64 decapsulated_bytes;
};

/* Value of `config`: how the data path was loaded. */
struct configuration {
	__u32 schema_version;
	__u32 max_bindings;
	__u64 loaded_at; /* seconds since the epoch */
	__u8 source_digest[16]; /* of the program's text */
};

/* Value of `attachments`, by interface index: for the loader, not read by the program. */
struct attachment {
	char interface[16];
	__u8 requested_mode;
	__u8 actual_mode;
	__u8 reserved[6];
	char note[104]; /* why the actual mode is not native, empty if it is */
};

/* Value of `error_budget`, per processor: a token bucket for ICMPv6 errors. */
struct error_budget {
	__u64 refilled_at; /* ns of bpf_ktime_get_ns */
	__u64 tokens;
};
