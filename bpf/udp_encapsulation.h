/* ESP in UDP (RFC 3948), as mobile nodes behind NATs send their signalling. The sender of a UDP header, and every NAT on
 * the way, counts the addresses in the IPv6 header into its checksum, not the home address. */
#pragma once

struct encapsulated_esp {
	struct udp_header udp;
	__u32 spi;
};

/* Reads the headers at `offset` of the frame; whether they are these. */
INLINE int take_esp_in_udp(struct xdp_md *ctx, __u32 offset, struct encapsulated_esp *esp)
{
	/* An SPI of zero is the marker of an IKE message: those have no Home Address option. */
	return !bpf_xdp_load_bytes(ctx, offset, esp, sizeof(*esp)) &&
	       esp->udp.destination_port == bpf_htons(NAT_TRAVERSAL_PORT) && esp->spi;
}

/* Have the checksum count `new_source` in the place of `old_source` (RFC 1624). */
INLINE void correct_udp_checksum(struct udp_header *udp, const __u64 *old_source, const __u64 *new_source)
{
	__u64 sum = (__u16)~udp->checksum;
	__u16 checksum;

	if (!udp->checksum)
		return;
	for (int i = 0; i < 2; i++) {
		sum += (__u32)~old_source[i];
		sum += (__u32)(~old_source[i] >> 32);
		sum += (__u32)new_source[i];
		sum += (__u32)(new_source[i] >> 32);
	}
	checksum = fold_checksum(sum);
	udp->checksum = checksum ? checksum : 0xFFFF; /* zero would mean "none" */
}
