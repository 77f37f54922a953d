/* The way from this host to its mobile nodes, attached where packets leave by the device that stands for the home link
 * (RFC 6275 section 10.4.2 and 6.4): the kernel has routed a packet of its own, often one under ESP, to a home address.
 * It leaves for the care-of address with a type 2 routing header. Compiled by bcc when the data path is loaded. */
#include <uapi/linux/bpf.h>
#include <uapi/linux/pkt_cls.h>

#include "consts.h"
#include "filled_in.h"
#include "reasons.h"
#include "headers.h"
#include "structs.h"
#include "maps.h"
#include "accounting.h"
#include "parsing.h"
#include "cold.h"
#include "bindings.h"
#include "mobile_networks.h"
#include "searching.h"
#include "ipv4_care_of_address.h"
#include "care_of_address.h"
#include "routing_header.h"

/* bcc 0.26 declares this helper without its third argument. */
static long (*redirect_to_neighbour)(__u32 port, void *next_hop, int size, __u64 flags) =
	(void *)BPF_FUNC_redirect_neigh;

INLINE enum reason send_home(struct __sk_buff *skb, __u32 *port)
{
	struct cursor frame = { .position = (void *)(long)skb->data, .end = (void *)(long)skb->data_end };
	struct ethernet_header *link = take_ethernet(&frame);
	struct ipv6_address destination, source, care_of_address;
	struct ipv6_header *packet;

	if (!link || link->type != bpf_htons(ETHERNET_TYPE_IPV6))
		return DROP_HOME_LINK_UNSUITABLE;
	packet = take(&frame, sizeof(*packet));
	if (!packet || packet->next_header == NEXT_HEADER_HOP_BY_HOP || !is_forwardable(packet->destination))
		return DROP_HOME_LINK_UNSUITABLE;
	if (packet->next_header == NEXT_HEADER_MOBILITY)
		return DROP_HOME_LINK_UNPROTECTED; /* whatever became of the IPsec policies */
	destination = address_of(packet->destination);
	source = address_of(packet->source);
	if (!is_home_agent(&source))
		return DROP_HOME_LINK_UNSUITABLE;
	if (!find_care_of_address(skb, &destination, &care_of_address))
		return DROP_HOME_LINK_NO_BINDING;
	if (is_ipv4(&care_of_address))
		return DROP_HOME_LINK_UNSUITABLE;
	return route_to_care_of_address(skb, packet, &care_of_address, port);
}

int home_link(struct __sk_buff *skb)
{
	__u32 port = 0;
	enum reason reason = send_home(skb, &port);

	count_reason(reason);
	if (reason >> REASON_VERDICT_SHIFT == VERDICT_FORWARD)
		return redirect_to_neighbour(port, NULL, 0, 0);
	return TC_ACT_SHOT;
}
