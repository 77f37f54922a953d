/* What strangers may cost the control plane: IKE_SA_INIT requests, which need a key exchange each, and Mobility Headers
 * that nothing protects. Whoever has an IKE SA is not a stranger: its messages bear the responder's SPI, or are ESP.
 *
 * A request for an IKE SA passes as long as its /64 and its /48 (twice the rate) have a token, and, if the /64 was not
 * heard of lately, all new ones together have one. Where there is none, nobody is dropped: requests are answered with a
 * cookie from here (RFC 7296 section 2.6), which only somebody who receives at the source address can return. Those who
 * have done so have buckets of their own, so neither forged sources out of one prefix nor out of all can keep them out.
 * Networks are remembered once a token was spent on them, so a flood cannot push honest ones out faster than new ones
 * are admitted, and whoever is pushed out has only to show a cookie. */
#pragma once

#define IKE_PORT 500
#define IKE_SA_INIT 34
#define IKE_FLAG_RESPONSE 0x20
#define IKE_PAYLOAD_NOTIFY 41
#define IKE_VERSION_2 0x20
#define IKE_NOTIFY_COOKIE 16390
#define MARKER_SIZE 4 /* in front of IKE on port 4500, RFC 3948 section 2.2 */

/* Once asked for, cookies are for this long: were one copy of a request answered with a cookie and a later copy passed,
 * the initiator would sign the request with the cookie and the responder check the one without. */
#define CHALLENGE_NS 10000000000ULL
#define COOKIE_EPOCH_SHIFT 35 /* a cookie is good for between one and two times 34 seconds */

#define NETWORK_LENGTH 64
#define SITE_LENGTH 48
#define SITE_MASK bpf_htonll(0xFFFFFFFFFFFF0000ULL)

/* What a bucket in `strangers` is for. */
#define BUCKET_CLAIMED 1 /* requests whose source may be forged */
#define BUCKET_PROVEN 2 /* requests of those who have returned a cookie */
#define BUCKET_MOBILITY 3 /* Mobility Headers in the clear */
#define BUCKET_INITIATOR 4 /* no bucket: an initiator that has returned a cookie, by a hash of address, port and SPI */

/* Buckets in `strangers_in_all`. */
#define ALL_NEW_NETWORKS 0
#define ALL_MOBILITY 1

/* The header of an IKE message (RFC 7296 section 3.1), behind that of UDP but for the marker of port 4500. */
#define IKE_HEADER                                                                                                     \
	__u64 initiator_spi;                                                                                           \
	__u64 responder_spi;                                                                                           \
	__u8 next_payload;                                                                                             \
	__u8 version;                                                                                                  \
	__u8 exchange_type;                                                                                            \
	__u8 flags;                                                                                                    \
	__be32 message_id;                                                                                             \
	__be32 length

struct ike_request {
	struct udp_header udp;
	IKE_HEADER;
} __attribute__((packed));

/* Notify payload (section 3.10) with a cookie of this program's. */
struct cookie_payload {
	__u8 next_payload;
	__u8 critical;
	__be16 length;
	__u8 protocol;
	__u8 spi_size;
	__be16 type;
	__u64 epoch;
	__u64 code;
} __attribute__((packed));

struct cookie_message {
	IKE_HEADER;
	struct cookie_payload cookie;
} __attribute__((packed, aligned(4)));

struct initiator {
	struct ipv6_address source;
	__u64 spi;
	__u64 ports; /* both, of the UDP header */
};

INLINE __u64 rotate(__u64 word, int bits)
{
	return word << bits | word >> (64 - bits);
}

#define SIP_ROUND(v0, v1, v2, v3)                                                                                      \
	do {                                                                                                           \
		v0 += v1;                                                                                              \
		v1 = rotate(v1, 13) ^ v0;                                                                              \
		v0 = rotate(v0, 32);                                                                                   \
		v2 += v3;                                                                                              \
		v3 = rotate(v3, 16) ^ v2;                                                                              \
		v0 += v3;                                                                                              \
		v3 = rotate(v3, 21) ^ v0;                                                                              \
		v2 += v1;                                                                                              \
		v1 = rotate(v1, 17) ^ v2;                                                                              \
		v2 = rotate(v2, 32);                                                                                   \
	} while (0)

/* SipHash-2-4 of who it is and of a number. */
INLINE __u64 code_of(const struct initiator *who, __u64 number)
{
	const __u64 words[] = { who->source.high, who->source.low, who->spi, who->ports, number, 40ULL << 56 };
	__u64 v0 = COOKIE_KEY_0 ^ 0x736f6d6570736575ULL;
	__u64 v1 = COOKIE_KEY_1 ^ 0x646f72616e646f6dULL;
	__u64 v2 = COOKIE_KEY_0 ^ 0x6c7967656e657261ULL;
	__u64 v3 = COOKIE_KEY_1 ^ 0x7465646279746573ULL;

#pragma unroll
	for (int i = 0; i < 6; i++) {
		v3 ^= words[i];
		SIP_ROUND(v0, v1, v2, v3);
		SIP_ROUND(v0, v1, v2, v3);
		v0 ^= words[i];
	}
	v2 ^= 0xFF;
	SIP_ROUND(v0, v1, v2, v3);
	SIP_ROUND(v0, v1, v2, v3);
	SIP_ROUND(v0, v1, v2, v3);
	SIP_ROUND(v0, v1, v2, v3);
	return v0 ^ v1 ^ v2 ^ v3;
}

/* One token. The bucket is the time at which it will be full again; a token is `interval` of that. Processors that take
 * one at the same moment may get by with one between them. */
INLINE int take_token(struct stranger_bucket *bucket, __u64 now, __u64 interval)
{
	__u64 full_at = *(volatile __u64 *)&bucket->full_at;

	if (full_at <= now) {
		*(volatile __u64 *)&bucket->full_at = now + interval;
		return 1;
	}
	if (full_at - now > STRANGER_BURST_NS - interval)
		return 0;
	__sync_fetch_and_add(&bucket->full_at, interval);
	return 1;
}

/* The same, and whether there has been one for everybody of late. */
INLINE int take_token_unchallenged(struct stranger_bucket *bucket, __u64 now, __u64 interval)
{
	if (take_token(bucket, now, interval))
		return bucket->challenged_until <= now;
	bucket->challenged_until = now + CHALLENGE_NS;
	return 0;
}

INLINE struct stranger_bucket *bucket_of(__u64 prefix, __u32 length, __u32 kind)
{
	struct stranger_key key = { .prefix = prefix, .length = length, .kind = kind };
	struct stranger_bucket full = {};

	return strangers.lookup_or_try_init(&key, &full);
}

/* A token each of the source's /64 and of its /48. */
INLINE int admit_of_network(const struct ipv6_address *source, __u32 kind, __u64 now, __u64 interval)
{
	struct stranger_bucket *network = bucket_of(source->high, NETWORK_LENGTH, kind);
	struct stranger_bucket *site = bucket_of(source->high & SITE_MASK, SITE_LENGTH, kind);

	return network && site && take_token(network, now, interval) && take_token(site, now, interval / 2);
}

/* Whether a request may pass whose source may be forged. */
INLINE int admit_claimed(const struct ipv6_address *source, __u64 now)
{
	struct stranger_key key = { .prefix = source->high, .length = NETWORK_LENGTH, .kind = BUCKET_CLAIMED };
	struct stranger_bucket *network = strangers.lookup(&key);
	struct stranger_bucket *site;
	__u32 new_networks = ALL_NEW_NETWORKS;

	if (!network) {
		struct stranger_bucket *all = strangers_in_all.lookup(&new_networks);

		if (!all || !take_token_unchallenged(all, now, IKE_NEW_NETWORKS_INTERVAL_NS))
			return 0;
		network = bucket_of(source->high, NETWORK_LENGTH, BUCKET_CLAIMED);
	}
	site = bucket_of(source->high & SITE_MASK, SITE_LENGTH, BUCKET_CLAIMED);
	return network && site && take_token_unchallenged(network, now, IKE_NETWORK_INTERVAL_NS) &&
	       take_token_unchallenged(site, now, IKE_NETWORK_INTERVAL_NS / 2);
}

INLINE struct stranger_key initiator_key(const struct initiator *who)
{
	struct stranger_key key = { .prefix = code_of(who, ~0ULL), .kind = BUCKET_INITIATOR };

	return key;
}

/* Whether the request at `offset` begins with a cookie made here. */
INLINE int bears_cookie(struct xdp_md *ctx, __u32 offset, const struct ike_request *request,
			const struct initiator *who, __u64 now)
{
	struct cookie_payload cookie;

	if (request->next_payload != IKE_PAYLOAD_NOTIFY ||
	    bpf_xdp_load_bytes(ctx, offset + sizeof(*request), &cookie, sizeof(cookie)))
		return 0;
	return cookie.length == bpf_htons(sizeof(cookie)) && cookie.type == bpf_htons(IKE_NOTIFY_COOKIE) &&
	       (now >> COOKIE_EPOCH_SHIFT) - cookie.epoch <= 1 && cookie.code == code_of(who, cookie.epoch);
}

/* The request turned into its answer, never longer than itself. */
INLINE enum reason answer_with_cookie(struct xdp_md *ctx, const struct ethernet_header *link,
				      const struct ipv6_header *packet, const struct initiator *who, __u64 now)
{
	const __u32 marker = who->ports >> 16 == bpf_htons(NAT_TRAVERSAL_PORT) ? MARKER_SIZE : 0;
	const __u32 length = sizeof(struct udp_header) + marker + sizeof(struct cookie_message);
	struct cookie_message message = {
		.initiator_spi = who->spi,
		.next_payload = IKE_PAYLOAD_NOTIFY,
		.version = IKE_VERSION_2,
		.exchange_type = IKE_SA_INIT,
		.flags = IKE_FLAG_RESPONSE,
		.length = bpf_htonl(sizeof(message)),
		.cookie = {
			.length = bpf_htons(sizeof(message.cookie)),
			.type = bpf_htons(IKE_NOTIFY_COOKIE),
			.epoch = now >> COOKIE_EPOCH_SHIFT,
		},
	};
	struct cursor rest;
	struct udp_header *udp;
	__u32 *words;
	__u64 sum;

	message.cookie.code = code_of(who, message.cookie.epoch);
	if (!is_forwardable(packet->source))
		return DROP_IKE_RATE_LIMITED;
	rest.position = begin_answer(ctx, link, packet, NEXT_HEADER_UDP, length);
	rest.end = (void *)(long)ctx->data_end;
	if (!rest.position)
		return DROP_IKE_RATE_LIMITED; /* too short for a request */
	udp = take(&rest, sizeof(*udp));
	if (!udp)
		return DROP_NO_ROOM;
	udp->source_port = who->ports >> 16;
	udp->destination_port = who->ports;
	udp->length = bpf_htons(length);
	udp->checksum = 0;
	sum = sum_of_ipv6_header((struct ipv6_header *)udp - 1) + sum_of_words(udp, sizeof(*udp) / 4) +
	      sum_of_words(&message, sizeof(message) / 4);
	udp->checksum = fold_checksum(sum);
	if (!udp->checksum)
		udp->checksum = 0xFFFF; /* zero would mean "none" */
	if (marker) {
		words = take(&rest, MARKER_SIZE);
		if (!words)
			return DROP_NO_ROOM;
		*words = 0;
	}
	words = take(&rest, sizeof(message));
	if (!words)
		return DROP_NO_ROOM;
	__builtin_memcpy(words, &message, sizeof(message));
	return REPLY_IKE_COOKIE;
}

/* Whether a stranger asks for an IKE SA in the UDP datagram at `offset`. */
INLINE int take_request(struct xdp_md *ctx, __u32 offset, struct ike_request *request)
{
	__u32 marker;

	if (bpf_xdp_load_bytes(ctx, offset, request, sizeof(*request)))
		return 0;
	if (request->udp.destination_port == bpf_htons(NAT_TRAVERSAL_PORT)) {
		if (bpf_xdp_load_bytes(ctx, offset + sizeof(struct udp_header), &marker, MARKER_SIZE) || marker ||
		    bpf_xdp_load_bytes(ctx, offset + sizeof(struct udp_header) + MARKER_SIZE,
				       &request->initiator_spi, sizeof(*request) - sizeof(struct udp_header)))
			return 0;
	} else if (request->udp.destination_port != bpf_htons(IKE_PORT)) {
		return 0;
	}
	return !request->responder_spi && request->exchange_type == IKE_SA_INIT &&
	       !(request->flags & IKE_FLAG_RESPONSE);
}

INLINE enum reason screen_ike(struct xdp_md *ctx, const struct ethernet_header *link,
			      const struct ipv6_header *packet, __u32 offset)
{
	struct stranger_bucket nothing = {};
	struct ike_request request;
	struct initiator who;
	struct stranger_key key;
	int returned;
	__u64 now;

	if (!take_request(ctx, offset, &request))
		return PASS_HOME_AGENT;
	now = bpf_ktime_get_ns();
	who.source = address_of(packet->source);
	who.spi = request.initiator_spi;
	who.ports = request.udp.source_port | (__u32)request.udp.destination_port << 16;
	if (who.ports >> 16 == bpf_htons(NAT_TRAVERSAL_PORT))
		offset += MARKER_SIZE;
	returned = bears_cookie(ctx, offset, &request, &who, now);
	if (!returned && admit_claimed(&who.source, now))
		return PASS_HOME_AGENT;
	/* The control plane may ask for a cookie of its own: then the initiator comes once more, without ours. */
	key = initiator_key(&who);
	if (!returned && !strangers.lookup(&key))
		return answer_with_cookie(ctx, link, packet, &who, now);
	if (!admit_of_network(&who.source, BUCKET_PROVEN, now, IKE_NETWORK_INTERVAL_NS))
		return DROP_IKE_RATE_LIMITED;
	if (returned)
		strangers.update(&key, &nothing);
	return PASS_HOME_AGENT;
}

INLINE enum reason screen_mobility(const struct ipv6_header *packet)
{
	const struct ipv6_address source = address_of(packet->source);
	const __u64 now = bpf_ktime_get_ns();
	__u32 all = ALL_MOBILITY;
	struct stranger_bucket *bucket = strangers_in_all.lookup(&all);

	if (!admit_of_network(&source, BUCKET_MOBILITY, now, MOBILITY_NETWORK_INTERVAL_NS) || !bucket ||
	    !take_token(bucket, now, MOBILITY_INTERVAL_NS))
		return DROP_MOBILITY_RATE_LIMITED;
	return PASS_HOME_AGENT;
}

/* What becomes of a packet to the home agent: PASS_HOME_AGENT unless a stranger sends too many like it. Looks behind
 * extension headers as the kernel will, by offsets: the verifier would tell pointers apart for each way to them. */
COLD long screen_stranger(struct xdp_md *ctx, __u64 one, __u64 two, __u64 three)
{
	__u32 offset = sizeof(struct ethernet_header) + IPV6_HEADER_SIZE;
	struct ethernet_header *link;
	struct ipv6_header *packet;
	struct cursor frame;
	struct {
		struct options_header options;
		__be16 fragment_offset;
	} header;
	__u8 next;

	frame = cursor_of(ctx);
	packet = take_packet(&frame, &link);
	if (!packet)
		return PASS_MALFORMED;
	next = packet->next_header;
#pragma clang loop unroll(disable)
	for (int i = 0; i <= MAX_HEADERS_BEFORE; i++) {
		if (next == NEXT_HEADER_UDP)
			return screen_ike(ctx, link, packet, offset);
		if (next == NEXT_HEADER_MOBILITY)
			return screen_mobility(packet);
		if (next != NEXT_HEADER_HOP_BY_HOP && next != NEXT_HEADER_ROUTING && next != NEXT_HEADER_FRAGMENT &&
		    next != NEXT_HEADER_DESTINATION_OPTIONS)
			return PASS_HOME_AGENT;
		if (bpf_xdp_load_bytes(ctx, offset, &header, sizeof(header)))
			return PASS_HOME_AGENT;
		if (next != NEXT_HEADER_FRAGMENT)
			offset += (header.options.length + 1) * 8;
		else if (header.fragment_offset & bpf_htons(FRAGMENT_OFFSET_MASK))
			return PASS_HOME_AGENT; /* the first fragment has the header */
		else
			offset += 8;
		next = header.options.next_header;
	}
	return PASS_HOME_AGENT;
}
