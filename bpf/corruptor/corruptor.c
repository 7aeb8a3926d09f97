// SPDX-License-Identifier: GPL-2.0 OR MIT
//
// The signature corruptor: at tcx egress, flips bits in the payload of signature
// fragments on their way to chosen peers and keeps the UDP checksum right, so
// that only a look at the signature can tell.

//go:build ignore

#include "frame.h"
#include "packet.h"

#include <linux/pkt_cls.h>

char __license[] SEC("license") = "Dual MIT/GPL";

/* Userspace sets them before the program is loaded. */
const volatile __u32 flip_offset = 0; /* of the byte within the payload */
const volatile __u8 flip_mask = 1;
const volatile __u64 flip_chance = 1ULL << 32; /* of 2^32 */
const volatile __u8 all_peers = 0;

enum counter {
	COUNTER_SEEN, /* signature fragments to chosen peers */
	COUNTER_CORRUPTED,
	COUNTER_FAILED, /* chosen, but too short or not writable */
	COUNTER_COUNT,
};

const enum counter *const unused_counter __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32[4]);
	__type(value, __u8);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += 1;
}

/* Flips the bits in the datagram with its UDP header at udp; 0 if done. */
static __always_inline int corrupt(struct __sk_buff *skb, __u32 udp, __u32 length)
{
	/* The checksum is over 16-bit words from the UDP header on. */
	__u32 payload = udp + sizeof(struct udphdr) + sizeof(struct frame_header);
	__u32 word = payload + (flip_offset & ~1u);
	__u32 shift = (flip_offset & 1) * 8; /* of the byte in a little-endian word */
	__u16 from = 0, to;
	__u8 flipped;

	if (flip_offset >= length)
		return -1;
	/* The last byte of an odd payload counts with a zero after it. */
	if ((flip_offset | 1) < length) {
		if (bpf_skb_load_bytes(skb, word, &from, 2))
			return -1;
	} else if (bpf_skb_load_bytes(skb, word, &from, 1)) {
		return -1;
	}
	to = from ^ (__u16)flip_mask << shift;
	flipped = to >> shift;
	/* No BPF_F_RECOMPUTE_CSUM: for skb->csum the two changes cancel out. */
	if (bpf_skb_store_bytes(skb, payload + flip_offset, &flipped, 1, 0))
		return -1;
	/* Leaves alone a checksum of zero, which means none, and one that is yet to be
	 * computed.
	 */
	return bpf_l4_csum_replace(skb, udp + __builtin_offsetof(struct udphdr, check), from, to,
				   BPF_F_MARK_MANGLED_0 | 2);
}

#define LINEAR_BYTES 256

SEC("tc")
int corrupt_signatures(struct __sk_buff *skb)
{
	__u32 want = skb->len < LINEAR_BYTES ? skb->len : LINEAR_BYTES;
	struct frame_header *frame;
	struct datagram d = {};
	struct packet p;

	/* A failed pull leaves headers unseen, and such packets alone. */
	if (skb->data_end - skb->data < want)
		bpf_skb_pull_data(skb, want);
	p.data = (void *)(long)skb->data;
	p.data_end = (void *)(long)skb->data_end;
	p.length = skb->len;
	if (packet_parse(&p, &d, bpf_htons(FRAME_PORT)) != PACKET_MESH)
		return TC_ACT_UNSPEC;
	frame = PACKET_AT(&p, d.udp + sizeof(struct udphdr), struct frame_header);
	if (!frame || frame->magic != bpf_htons(FRAME_MAGIC) || frame->version != FRAME_VERSION ||
	    (frame->type & FRAME_CLASS_MASK) != FRAME_CLASS_SIGNATURE)
		return TC_ACT_UNSPEC;
	if (!all_peers && !bpf_map_lookup_elem(&peers, d.destination))
		return TC_ACT_UNSPEC;
	count(COUNTER_SEEN);
	if (bpf_get_prandom_u32() >= flip_chance)
		return TC_ACT_UNSPEC;
	count(corrupt(skb, d.udp, d.length - sizeof(*frame)) ? COUNTER_FAILED : COUNTER_CORRUPTED);
	return TC_ACT_UNSPEC;
}
