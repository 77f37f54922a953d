/* Headers on the wire. Addresses are two halves in network byte order, so that comparing one costs two instructions. */
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

/* Destination and source of an Ethernet header, as they lie there. */
struct link_addresses {
	__u32 words[3];
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

struct ipv4_header {
	__u8 version_length; /* version, and length in units of 4 bytes */
	__u8 service; /* DSCP and ECN, the traffic class of IPv6 */
	__be16 total_length;
	__be16 identification;
	__be16 fragment; /* flags and offset */
	__u8 time_to_live;
	__u8 protocol;
	__u16 checksum;
	__be32 source;
	__be32 destination;
};

struct options_header {
	__u8 next_header;
	__u8 length; /* in units of 8 bytes, not counting the first */
};

/* The beginning of a routing header, and of other extension headers as far as they are alike. */
struct routing_type {
	struct options_header options;
	__u8 type;
	__u8 segments_left;
};

/* A destination option that holds an address, as the Home Address option does. In the frame it begins with the type. */
struct address_option {
	__u8 alignment[6];
	__u8 type;
	__u8 length;
	__u64 address[2];
};

#define ADDRESS_OPTION_SIZE 18

/* The Mobility Header of a Binding Error (RFC 6275 section 6.1.9). */
struct binding_error {
	__u8 payload_protocol;
	__u8 length; /* in units of 8 bytes, not counting the first */
	__u8 type;
	__u8 reserved;
	__u16 checksum;
	__u8 status;
	__u8 reserved_too;
	__u64 home_address[2];
};

struct fragment_header {
	__u8 next_header;
	__u8 reserved;
	__be16 offset_and_flags;
	__u32 identification;
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

/* Neighbour Solicitation and Advertisement (RFC 4861 sections 4.3 and 4.4), without options. */
struct neighbour_message {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 flags;
	__u64 target[2];
};

struct link_address_option {
	__u8 type;
	__u8 length; /* in units of 8 bytes */
	__u8 address[6];
};

struct icmpv6_header {
	__u8 type;
	__u8 code;
	__u16 checksum;
	__be32 data; /* the MTU of Packet Too Big; unused in Time Exceeded */
};
