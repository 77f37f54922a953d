/* The programs of bench.packet_rates: the floors, and drivers that put a fresh frame where the last one was and hand it
 * to the program under test. The kernel does not restore the frame between the runs of one BPF_PROG_TEST_RUN.
 *
 * bench/packet_rates/programs.py compiles this text and gives the addresses as macros (two halves each, in host byte
 * order): HOME_HIGH, CARE_OF_HIGH, CHANGED_CARE_OF_HIGH, ROUTED_HIGH, HOME_AGENT_*, CORRESPONDENT_*; and
 * HOME_MULTIPLIER, ROUTER_MAC_WORD. */
#include <uapi/linux/bpf.h>

#include "consts.h"
#include "headers.h"

#define PAYLOAD_SIZE 10 /* makes the inner frame 64 bytes */
#define INNER_FRAME_SIZE (sizeof(struct ethernet_header) + IPV6_HEADER_SIZE + PAYLOAD_SIZE)
#define NEXT_HEADER_UDP 17
#define VERSION_6 bpf_htonl(0x60000000)

enum target { UNDER_TEST, UNDO_ENCAPSULATION_DRIVER, UNDO_DECAPSULATION_DRIVER, NUMBER_OF_TARGETS };
enum style { INDEPENDENT, DEPENDENT };

/* One of each map: the sequence of keys, and what a change of a binding looked like to packets. */
struct sequence {
	__u64 state;
	__u64 bindings; /* keys are drawn from this many */
	__u64 fences;
};

struct sighting {
	__u64 care_of_address; /* low half, as it stood in the last frame the program under test made */
	__u64 seen_at; /* ns of CLOCK_MONOTONIC, when it changed */
	__u64 changes;
};

/* What became of packets while bindings were changed. */
struct tally {
	__u64 staying; /* so many bindings, the first ones, are never removed */
	__u64 index; /* of the binding that the frame was for */
	__u64 to_first; /* packets to the care-of address before the change of their binding */
	__u64 to_second; /* and to the one after it */
	__u64 unbound;
	__u64 lost; /* the same, but of a binding that is never removed */
	__u64 astray;
};

BPF_ARRAY(tallies, struct tally, 1);
BPF_ARRAY(sequences, struct sequence, 1);
BPF_ARRAY(sightings, struct sighting, 1);
BPF_PERCPU_ARRAY(received, __u64, 1);
BPF_PROG_ARRAY(targets, NUMBER_OF_TARGETS);

INLINE void write_ipv6(struct ipv6_header *header, __u32 payload, __u8 next_header, __u64 source_high, __u64 source_low,
		       __u64 destination_high, __u64 destination_low)
{
	header->version_class_flow = VERSION_6;
	header->payload_length = bpf_htons(payload);
	header->next_header = next_header;
	header->hop_limit = OUTER_HOP_LIMIT;
	header->source[0] = bpf_htonll(source_high);
	header->source[1] = bpf_htonll(source_low);
	header->destination[0] = bpf_htonll(destination_high);
	header->destination[1] = bpf_htonll(destination_low);
}

INLINE void write_ethernet(struct ethernet_header *link)
{
	__u64 *words = (__u64 *)link;

	words[0] = ROUTER_MAC_WORD; /* destination, and two bytes of the source */
	*(__u32 *)(words + 1) = 0;
	link->type = bpf_htons(ETHERNET_TYPE_IPV6);
}

INLINE __u64 home_low(__u64 index)
{
	return (index + 1) * HOME_MULTIPLIER;
}

/* Index of the next binding: uniform over all of them. A dependent one waits until all loads for the last packet have
 * ended (a locked instruction), an independent one lets the processor overlap them. */
INLINE __u64 next_index(enum style style)
{
	__u32 zero = 0;
	struct sequence *sequence = sequences.lookup(&zero);

	if (!sequence)
		return 0;
	if (style == DEPENDENT)
		__sync_fetch_and_add(&sequence->fences, 1);
	sequence->state = sequence->state * 6364136223846793005ULL + 1442695040888963407ULL;
	return ((sequence->state >> 32) * sequence->bindings) >> 32;
}

/* To a home address, from the correspondent. */
INLINE int write_plain(struct xdp_md *ctx, __u64 destination_high, __u64 destination_low)
{
	struct ethernet_header *link = (void *)(long)ctx->data;
	struct ipv6_header *packet = (void *)(link + 1);

	if ((void *)(packet + 1) > (void *)(long)ctx->data_end)
		return 0;
	write_ethernet(link);
	write_ipv6(packet, PAYLOAD_SIZE, NEXT_HEADER_UDP, CORRESPONDENT_HIGH, CORRESPONDENT_LOW, destination_high,
		   destination_low);
	return 1;
}

/* From a mobile node's tunnel, to the correspondent. */
INLINE int write_tunnelled(struct xdp_md *ctx, __u64 index)
{
	struct ethernet_header *link = (void *)(long)ctx->data;
	struct ipv6_header *outer = (void *)(link + 1);
	struct ipv6_header *inner = outer + 1;

	if ((void *)(inner + 1) > (void *)(long)ctx->data_end)
		return 0;
	write_ethernet(link);
	write_ipv6(outer, IPV6_HEADER_SIZE + PAYLOAD_SIZE, NEXT_HEADER_IPV6, CARE_OF_HIGH, index + 1, HOME_AGENT_HIGH,
		   HOME_AGENT_LOW);
	write_ipv6(inner, PAYLOAD_SIZE, NEXT_HEADER_UDP, HOME_HIGH, home_low(index), CORRESPONDENT_HIGH, CORRESPONDENT_LOW);
	return 1;
}

/* The floors. */

int empty(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* What encapsulation cannot do without: 40 bytes more in front, an Ethernet and an IPv6 header written there. Then the
 * frame is put back as it was. */
int adjust_write(struct xdp_md *ctx)
{
	struct ethernet_header *link;
	struct ipv6_header *outer;

	if (bpf_xdp_adjust_head(ctx, -IPV6_HEADER_SIZE))
		return XDP_ABORTED;
	link = (void *)(long)ctx->data;
	outer = (void *)(link + 1);
	if ((void *)(outer + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	write_ethernet(link);
	write_ipv6(outer, IPV6_HEADER_SIZE + PAYLOAD_SIZE, NEXT_HEADER_IPV6, HOME_AGENT_HIGH, HOME_AGENT_LOW, CARE_OF_HIGH, 1);
	if (bpf_xdp_adjust_head(ctx, IPV6_HEADER_SIZE))
		return XDP_ABORTED;
	link = (void *)(long)ctx->data;
	if ((void *)(link + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	write_ethernet(link);
	return XDP_PASS;
}

/* Drivers for BPF_PROG_TEST_RUN: the frame arrives as the program under test left it the last time. */

INLINE int drive_encapsulation(struct xdp_md *ctx, enum style style, enum target target)
{
	if (bpf_xdp_adjust_head(ctx, IPV6_HEADER_SIZE))
		return XDP_ABORTED;
	if (!write_plain(ctx, HOME_HIGH, home_low(next_index(style))))
		return XDP_ABORTED;
	targets.call(ctx, target);
	return XDP_ABORTED;
}

INLINE int drive_decapsulation(struct xdp_md *ctx, enum style style, enum target target)
{
	if (bpf_xdp_adjust_head(ctx, -IPV6_HEADER_SIZE))
		return XDP_ABORTED;
	if (!write_tunnelled(ctx, next_index(style)))
		return XDP_ABORTED;
	targets.call(ctx, target);
	return XDP_ABORTED;
}

int encapsulation(struct xdp_md *ctx)
{
	return drive_encapsulation(ctx, INDEPENDENT, UNDER_TEST);
}

int encapsulation_dependent(struct xdp_md *ctx)
{
	return drive_encapsulation(ctx, DEPENDENT, UNDER_TEST);
}

int decapsulation(struct xdp_md *ctx)
{
	return drive_decapsulation(ctx, INDEPENDENT, UNDER_TEST);
}

int decapsulation_dependent(struct xdp_md *ctx)
{
	return drive_decapsulation(ctx, DEPENDENT, UNDER_TEST);
}

/* The drivers alone: the program under test only moves the head to where the driver expects it. */

int encapsulation_driver(struct xdp_md *ctx)
{
	return drive_encapsulation(ctx, INDEPENDENT, UNDO_ENCAPSULATION_DRIVER);
}

int encapsulation_driver_dependent(struct xdp_md *ctx)
{
	return drive_encapsulation(ctx, DEPENDENT, UNDO_ENCAPSULATION_DRIVER);
}

int decapsulation_driver(struct xdp_md *ctx)
{
	return drive_decapsulation(ctx, INDEPENDENT, UNDO_DECAPSULATION_DRIVER);
}

int decapsulation_driver_dependent(struct xdp_md *ctx)
{
	return drive_decapsulation(ctx, DEPENDENT, UNDO_DECAPSULATION_DRIVER);
}

int undo_encapsulation_driver(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -IPV6_HEADER_SIZE) ? XDP_ABORTED : XDP_PASS;
}

int undo_decapsulation_driver(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, IPV6_HEADER_SIZE) ? XDP_ABORTED : XDP_PASS;
}

/* Notes when the care-of address in the outer header changes, then drives as above. The clock is read at a change only. */
int watch_encapsulation(struct xdp_md *ctx)
{
	struct ethernet_header *link = (void *)(long)ctx->data;
	struct ipv6_header *outer = (void *)(link + 1);
	struct sighting *sighting;
	__u32 zero = 0;

	if ((void *)(outer + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	sighting = sightings.lookup(&zero);
	if (!sighting)
		return XDP_ABORTED;
	if (sighting->care_of_address != outer->destination[1]) {
		sighting->seen_at = bpf_ktime_get_ns();
		sighting->care_of_address = outer->destination[1];
		sighting->changes += 1;
	}
	return drive_encapsulation(ctx, INDEPENDENT, UNDER_TEST);
}

INLINE void judge(struct tally *tally, struct ipv6_header *outer, struct ipv6_header *inner)
{
	__u64 high = bpf_ntohll(outer->destination[0]);

	if (outer->next_header != NEXT_HEADER_IPV6) {
		tally->unbound += 1;
		tally->lost += tally->index < tally->staying;
	} else if (bpf_ntohll(outer->destination[1]) != tally->index + 1 ||
		   bpf_ntohll(inner->destination[1]) != home_low(tally->index) ||
		   bpf_ntohll(outer->source[1]) != HOME_AGENT_LOW) {
		tally->astray += 1;
	} else if (high == CARE_OF_HIGH) {
		tally->to_first += 1;
	} else if (high == CHANGED_CARE_OF_HIGH) {
		tally->to_second += 1;
	} else {
		tally->astray += 1;
	}
}

/* Judges what the program under test has made of a frame, and gives it the next one. The first frame of each
 * BPF_PROG_TEST_RUN is of zeros. */
int judge_encapsulation(struct xdp_md *ctx)
{
	struct ethernet_header *link = (void *)(long)ctx->data;
	struct ipv6_header *outer = (void *)(link + 1);
	struct tally *tally;
	__u32 zero = 0;

	if ((void *)(outer + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	tally = tallies.lookup(&zero);
	if (!tally)
		return XDP_ABORTED;
	if (outer->version_class_flow) {
		struct ipv6_header *inner = outer;

		if (outer->next_header == NEXT_HEADER_IPV6 && (void *)(++inner + 1) > (void *)(long)ctx->data_end)
			return XDP_ABORTED;
		judge(tally, outer, inner);
		if (inner != outer && bpf_xdp_adjust_head(ctx, IPV6_HEADER_SIZE))
			return XDP_ABORTED;
	}
	tally->index = next_index(INDEPENDENT);
	if (!write_plain(ctx, HOME_HIGH, home_low(tally->index)))
		return XDP_ABORTED;
	targets.call(ctx, UNDER_TEST);
	return XDP_ABORTED;
}

/* Generators of live frames, which leave by the interface they are run on, and what counts them at the other end. */

int generate_to_home_addresses(struct xdp_md *ctx)
{
	return write_plain(ctx, HOME_HIGH, home_low(next_index(INDEPENDENT))) ? XDP_TX : XDP_ABORTED;
}

int generate_from_tunnels(struct xdp_md *ctx)
{
	return write_tunnelled(ctx, next_index(INDEPENDENT)) ? XDP_TX : XDP_ABORTED;
}

int generate_to_routed_prefix(struct xdp_md *ctx)
{
	return write_plain(ctx, ROUTED_HIGH, home_low(next_index(INDEPENDENT))) ? XDP_TX : XDP_ABORTED;
}

/* Counts what was generated, and nothing that the router says by itself. */
int count_and_drop(struct xdp_md *ctx)
{
	struct ethernet_header *link = (void *)(long)ctx->data;
	struct ipv6_header *packet = (void *)(link + 1);
	__u32 zero = 0;
	__u64 *frames = received.lookup(&zero);

	if ((void *)(packet + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	if (frames && (packet->next_header == NEXT_HEADER_UDP || packet->next_header == NEXT_HEADER_IPV6))
		*frames += 1;
	return XDP_DROP;
}
