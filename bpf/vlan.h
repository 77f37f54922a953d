/* Frames with an 802.1Q tag. Between here and the wire they have none: a tag of a VLAN that has a device on the port is
 * taken off before anything else, routing sees the frame as one of that device, and what leaves by such a device gets
 * its tag last. What goes to the kernel or back where it came from has the tag it came with. */
#pragma once

#if WITH_VLANS

#define ETHERNET_TYPE_VLAN 0x8100
#define VLAN_IDENTIFIER_MASK 0xFFF
#define TAG_PRESENT 0x10000 /* above the 16 bits of the tag */
#define TAG_SIZE 4

struct vlan_tag {
	__be16 control;
	__be16 type; /* of what follows */
};

struct tagged_header {
	struct link_addresses addresses;
	__be16 type;
	__be16 control;
};

INLINE struct frame_tags *tags_of_frame(void)
{
	__u32 zero = 0;

	return frame_tags.lookup(&zero);
}

/* The interface that routing has to see the frame come in by. */
INLINE __u32 ingress_of(struct xdp_md *ctx)
{
	struct frame_tags *tags = tags_of_frame();

	/* Not of the context instead: the compiler would choose between two pointers, and no verifier allows to read from
	 * the context by one that was moved. */
	return tags ? tags->ingress : 0;
}

/* Remembers the tag that frames leave by the interface with. */
INLINE void choose_tag(__u32 interface)
{
	struct frame_tags *tags = tags_of_frame();
	__u32 *tag = interface_tags.lookup(&interface);

	if (tags)
		tags->sent = tag ? *tag : 0;
}

/* 0 for a tag of a VLAN that has no device here; the frame is as it was then. */
INLINE int take_tag(struct xdp_md *ctx, struct frame_tags *tags)
{
	struct cursor frame = cursor_of(ctx);
	struct ethernet_header *link = take_ethernet(&frame);
	struct vlan_tag *tag = link ? take(&frame, sizeof(*tag)) : NULL;
	struct vlan vlan = { .port = ctx->ingress_ifindex };
	struct link_addresses addresses, *moved;
	__u32 control, *device;

	if (!tag || link->type != bpf_htons(ETHERNET_TYPE_VLAN))
		return 1;
	control = length_of(tag->control);
	vlan.identifier = control & VLAN_IDENTIFIER_MASK;
	if (vlan.identifier) { /* else the tag has a priority and no VLAN */
		device = vlans.lookup(&vlan);
		if (!device)
			return 0;
		tags->ingress = *device;
	}
	addresses = *(struct link_addresses *)link;
	if (bpf_xdp_adjust_head(ctx, TAG_SIZE))
		return 0;
	tags->received = TAG_PRESENT | control;
	frame = cursor_of(ctx);
	moved = take(&frame, sizeof(*moved));
	if (moved)
		*moved = addresses;
	return 1;
}

INLINE int put_tag(struct xdp_md *ctx, __u32 tag)
{
	struct cursor frame = cursor_of(ctx);
	struct link_addresses *received = take(&frame, sizeof(*received));
	struct link_addresses addresses;
	struct tagged_header *header;

	if (!received)
		return 0;
	addresses = *received;
	if (bpf_xdp_adjust_head(ctx, -TAG_SIZE))
		return 0;
	frame = cursor_of(ctx);
	header = take(&frame, sizeof(*header));
	if (!header)
		return 0;
	header->addresses = addresses;
	header->type = bpf_htons(ETHERNET_TYPE_VLAN);
	header->control = bpf_htons((__u16)tag);
	return 1;
}

#else

INLINE __u32 ingress_of(struct xdp_md *ctx)
{
	return ctx->ingress_ifindex;
}

INLINE void choose_tag(__u32 interface)
{
}

#endif
