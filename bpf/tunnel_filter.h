/* What the daemon's socket for tunnelled packets takes: those that the kernel has put together from fragments, or found
 * behind extension headers, and that home_agent.c will accept when they come back to it by the slow path. Packets of
 * strangers end here, before they cost the daemon anything. */
#pragma once

#define TAKE_ALL 0xFFFFFFFF
#define TAKE_NONE 0

/* 0 if the packet comes from where its inner source is bound, else why not. */
INLINE __u32 refusal(struct __sk_buff *skb)
{
	struct ipv6_header inner, outer;
	struct binding sender;
	struct ipv6_address source;

	/* The data of a raw socket begin behind all headers of the outer packet. */
	if (bpf_skb_load_bytes(skb, 0, &inner, sizeof(inner)) ||
	    bpf_skb_load_bytes_relative(skb, 0, &outer, sizeof(outer), BPF_HDR_START_NET))
		return DROP_TUNNEL_MALFORMED;
	source = address_of(inner.source);
	if (!find_mobile(skb, &source, &sender))
		return DROP_TUNNEL_NO_BINDING;
	if (!same_address(&sender.care_of_address, outer.source))
		return DROP_TUNNEL_WRONG_CARE_OF_ADDRESS;
	return 0;
}

int tunnel_filter(struct __sk_buff *skb)
{
	__u32 reason = refusal(skb);

	if (!reason)
		return TAKE_ALL;
	count_reason(reason);
	return TAKE_NONE;
}
