/* What the daemon's sockets for tunnelled packets take: those that the kernel has put together from fragments, or found
 * behind extension headers or IPv4 options, and that home_agent.c will accept when they come back to it by the slow
 * path. Packets of strangers end here, before they cost the daemon anything. */
#pragma once

#define TAKE_ALL 0xFFFFFFFF
#define TAKE_NONE 0

/* The inner header of a packet, and where it came from as a binding would say it; a PASS_ or DROP_ reason if it is not
 * the socket's, else 0. */
INLINE __u32 read_tunnel(struct __sk_buff *skb, struct ipv6_header *inner, struct ipv6_address *care_of_address)
{
	struct ipv6_header outer;

	/* The data of a raw socket begin behind all headers of the outer packet. */
	if (bpf_skb_load_bytes(skb, 0, inner, sizeof(*inner)) ||
	    bpf_skb_load_bytes_relative(skb, 0, &outer, sizeof(outer), BPF_HDR_START_NET))
		return DROP_TUNNEL_MALFORMED;
	*care_of_address = address_of(outer.source);
	return 0;
}

/* The same of a tunnel over IPv4, perhaps in UDP. */
INLINE __u32 read_ipv4_tunnel(struct __sk_buff *skb, struct ipv6_header *inner, struct ipv6_address *care_of_address)
{
	struct ipv4_header outer;
	struct udp_header udp = {};
	__u32 size;

	if (bpf_skb_load_bytes_relative(skb, 0, &outer, sizeof(outer), BPF_HDR_START_NET))
		return DROP_TUNNEL_MALFORMED;
	size = (outer.version_length & 0xF) * 4;
	if (outer.protocol == NEXT_HEADER_UDP) {
		if (bpf_skb_load_bytes_relative(skb, size, &udp, sizeof(udp), BPF_HDR_START_NET))
			return DROP_TUNNEL_MALFORMED;
		size += sizeof(udp);
	}
	if (bpf_skb_load_bytes_relative(skb, size, inner, sizeof(*inner), BPF_HDR_START_NET))
		return DROP_TUNNEL_MALFORMED;
	if (outer.protocol == NEXT_HEADER_UDP && is_signalling(inner, inner + 1))
		return PASS_UDP_SIGNALLING;
	*care_of_address = ipv4_care_of_address(outer.source, udp.source_port, outer.destination);
	return 0;
}

/* 0 if the packet comes from where its inner source is bound, else why not. */
INLINE __u32 refusal(struct __sk_buff *skb)
{
	struct ipv6_address source, care_of_address = {}; /* or the compiler carries around what was never read */
	struct ipv6_header inner;
	struct binding sender;
	__u32 reason;

	if (WITH_IPV4_TUNNELS && skb->protocol == bpf_htons(ETHERNET_TYPE_IPV4))
		reason = read_ipv4_tunnel(skb, &inner, &care_of_address);
	else
		reason = read_tunnel(skb, &inner, &care_of_address);
	if (reason)
		return reason;
	source = address_of(inner.source);
	if (!find_mobile(skb, &source, &sender))
		return DROP_TUNNEL_NO_BINDING;
	if (!same_address(&sender.care_of_address, &care_of_address.high))
		return DROP_TUNNEL_WRONG_CARE_OF_ADDRESS;
	return 0;
}

int tunnel_filter(struct __sk_buff *skb)
{
	__u32 reason = refusal(skb);

	if (!reason)
		return TAKE_ALL;
	if (reason >> REASON_VERDICT_SHIFT == VERDICT_DROP)
		count_reason(reason);
	return TAKE_NONE;
}
