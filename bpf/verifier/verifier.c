// SPDX-License-Identifier: GPL-2.0 OR MIT
//
// The mesh verifier: judges every mesh datagram that reaches a pod's interface
// before the socket sees it, as an XDP program or at tcx ingress. Userspace
// alone writes sessions and states, this program alone windows, buckets and
// counters. Verdicts are explained in the Go package's documentation.

//go:build ignore

#include "answer.h"
#include "bucket.h"
#include "contact.h"
#include "frame.h"
#include "packet.h"
#include "replay.h"
#include "siphash.h"
#include "tables.h"

#include <linux/pkt_cls.h>
#include <bpf/bpf_core_read.h>

char __license[] SEC("license") = "Dual MIT/GPL";

/* Nanoseconds; userspace sets them before the program is loaded. */
const volatile __u64 report_interval = 10000000;
const volatile __u64 report_tolerance = 1000000000;

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &counter);

	if (value)
		*value += 1;
}

static __always_inline void report(__u32 verdict, const struct datagram *d,
				   const struct frame_header *frame, __u64 now)
{
	__u64 *bucket = bpf_map_lookup_elem(&report_buckets, &verdict);
	struct drop_event *event;

	if (!bucket || !bucket_take(bucket, now, report_interval, report_tolerance)) {
		count(COUNTER_REPORT_HELD);
		return;
	}
	event = bpf_ringbuf_reserve(&reports, sizeof(*event), 0);
	if (!event) {
		count(COUNTER_RING_LOST);
		return;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->verdict = verdict;
	__builtin_memcpy(event->source, d->source, sizeof(event->source));
	__builtin_memcpy(event->source_port, &d->source_port, sizeof(event->source_port));
	if (frame)
		__builtin_memcpy(event->session, frame->session, sizeof(event->session));
	bpf_ringbuf_submit(event, 0);
}

static __always_inline void emit_signature(const struct packet *p, const struct frame_header *frame,
					   __u32 length)
{
	struct signature_event *event = bpf_ringbuf_reserve(&signatures, sizeof(*event), 0);
	const __u8 *payload = (const __u8 *)(frame + 1);
	__u32 done = 0;

	if (!event) {
		count(COUNTER_RING_LOST);
		return;
	}
	event->time = bpf_ktime_get_ns();
	__builtin_memcpy(event->session, frame->session, sizeof(event->session));
	event->sequence = bpf_be64_to_cpu(frame->sequence);
	event->length = length;
	event->type = frame->type;
	event->fragment = frame->fragment;
	event->fragments = frame->fragments;

	/* No helper copies packet bytes into a ring record on every kernel. */
	for (__u32 i = 0; i < FRAME_MAX_PAYLOAD / 8; i++) {
		const __u64 *from = (const __u64 *)payload + i;

		if (i * 8 + 8 > length || (void *)(from + 1) > p->data_end)
			break;
		((__u64 *)event->payload)[i] = *from;
		done = i * 8 + 8;
	}
	for (__u32 i = 0; i < 7; i++) {
		const __u8 *from = payload + done + i;

		if (done + i >= length || done + i >= FRAME_MAX_PAYLOAD ||
		    (void *)(from + 1) > p->data_end)
			break;
		event->payload[done + i] = *from;
	}
	bpf_ringbuf_submit(event, 0);
}

/* Whether the fields of a header that depend on its class are right. */
static __always_inline bool class_valid(const struct frame_header *f)
{
	__u64 sequence = bpf_be64_to_cpu(f->sequence);

	switch (f->type & FRAME_CLASS_MASK) {
	case FRAME_CLASS_HANDSHAKE:
		return !(f->session[0] | f->session[1] | f->sequence | f->tag);
	case FRAME_CLASS_SIGNATURE:
	case FRAME_CLASS_CONTROL:
	case FRAME_CLASS_DATA:
		return sequence && !(sequence >> FRAME_SEQUENCE_BITS);
	}
	return false;
}

/* The counter of the rule that a frame breaks, 0 if it is well formed. */
static __always_inline __u32 frame_broken(const struct packet *p, const struct frame_header *f,
					  __u32 length)
{
	if (f->magic != bpf_htons(FRAME_MAGIC) || f->version != FRAME_VERSION)
		return COUNTER_HEADER;
	if (length > FRAME_MAX_PAYLOAD || length != bpf_ntohs(f->length) ||
	    (void *)(f + 1) + length > p->data_end)
		return COUNTER_LENGTH;
	if (f->fragments > FRAME_MAX_FRAGMENTS || f->fragment >= f->fragments)
		return COUNTER_HEADER;
	return class_valid(f) ? 0 : COUNTER_HEADER;
}

/* The counter of the rule that a packet breaks before its frame is looked at. */
static __always_inline __u32 packet_broken(enum packet_kind kind, const struct datagram *d)
{
	switch (kind) {
	case PACKET_FRAGMENT:
		return COUNTER_FRAGMENT;
	case PACKET_MESH:
		return d->length < sizeof(struct frame_header) ? COUNTER_LENGTH : COUNTER_HIDDEN;
	case PACKET_LENGTH:
		return COUNTER_LENGTH;
	default:
		return COUNTER_HIDDEN;
	}
}

static __always_inline bool tag_matches(const struct session *s, const struct frame_header *f)
{
	const __u64 *raw = (const __u64 *)f;
	__u64 words[4] = { raw[0], raw[1], raw[2], raw[3] };

	return siphash_32(s->key[0], s->key[1], words) == bpf_be64_to_cpu(f->tag);
}

/* Judges a session's frame. The tag comes before the session's state, as what is
 * said of that is said of the peer, and before the window: only the peer may move
 * it. *deliver is cleared for what the socket must not see despite a pass.
 */
static __always_inline enum verdict judge_session(const struct packet *p,
						  const struct frame_header *f, __u32 length,
						  __u64 now, bool *deliver)
{
	struct session *session = bpf_map_lookup_elem(&sessions, f->session);
	struct replay_window *window;
	struct session_state *state;
	__u32 slot;

	if (!session)
		return VERDICT_NO_SESSION;
	slot = session->slot;
	state = bpf_map_lookup_elem(&states, &slot);
	if (!state)
		return VERDICT_NO_SESSION;
	if (!tag_matches(session, f))
		return VERDICT_BAD_TAG;
	if (state->revoked)
		return VERDICT_REVOKED;
	if (state->expires <= now)
		return VERDICT_EXPIRED;
	window = bpf_map_lookup_elem(&windows, &slot);
	if (!window)
		return VERDICT_NO_SESSION;
	if (!replay_accept(window, bpf_be64_to_cpu(f->sequence)))
		return VERDICT_REPLAY;
	switch (f->type & FRAME_CLASS_MASK) {
	case FRAME_CLASS_SIGNATURE:
		emit_signature(p, f, length);
		*deliver = false;
		break;
	case FRAME_CLASS_DATA:
		if (state->verified_until <= now)
			return VERDICT_EXPIRED;
		break;
	}
	return VERDICT_PASS;
}

/* No mesh frame starts further into a packet. */
#define MAX_OFFSET 32768

/* What becomes of a packet. */
enum outcome {
	OUTCOME_DROP,
	OUTCOME_PASS,
	OUTCOME_ANSWER, /* dropped, and its sender gets a cookie */
};

/* Judges, counts and reports a datagram that packet_parse called kind. */
static __always_inline enum outcome judge(const struct packet *p, enum packet_kind kind,
					  const struct datagram *d)
{
	enum verdict verdict = VERDICT_MALFORMED;
	enum outcome outcome = OUTCOME_DROP;
	struct frame_header *frame = 0;
	__u32 length = d->length - sizeof(*frame);
	/* A real clock read costs half a SipHash; the last tick, at most 10 ms ago, will do. */
	__u64 now = bpf_ktime_get_coarse_ns();
	bool deliver = true;
	__u32 broken;

	if (kind == PACKET_MESH && d->udp < MAX_OFFSET && d->length >= sizeof(*frame))
		frame = PACKET_AT(p, d->udp + sizeof(struct udphdr), struct frame_header);
	broken = frame ? frame_broken(p, frame, length) : packet_broken(kind, d);
	if (broken) {
		count(broken);
	} else if (frame) {
		if ((frame->type & FRAME_CLASS_MASK) == FRAME_CLASS_HANDSHAKE) {
			bool proven =
				handshake_proven(frame, d, handshake_prefix(p, frame, length));

			verdict = handshake_allowed(d, proven, now) ? VERDICT_PASS
								    : VERDICT_RATE_LIMITED;
			if (handshake_answerable(frame, proven, length))
				outcome = OUTCOME_ANSWER;
		} else {
			verdict = judge_session(p, frame, length, now, &deliver);
		}
	}
	count(verdict);
	if (verdict == VERDICT_PASS)
		return deliver ? OUTCOME_PASS : OUTCOME_DROP;
	report(verdict, d, frame, now);
	return outcome;
}

/* Functions with linkage are verified once and by themselves: what the parser
 * went through does not multiply with what the judge can do.
 */
__noinline int judge_xdp(struct xdp_md *ctx, enum packet_kind kind, struct datagram *d)
{
	struct packet p = {
		.data = (void *)(long)ctx->data,
		.data_end = (void *)(long)ctx->data_end,
	};

	return d ? judge(&p, kind, d) : OUTCOME_DROP;
}

__noinline int judge_tcx(struct __sk_buff *skb, enum packet_kind kind, struct datagram *d)
{
	struct packet p = {
		.data = (void *)(long)skb->data,
		.data_end = (void *)(long)skb->data_end,
	};

	return d ? judge(&p, kind, d) : OUTCOME_DROP;
}

/* Makes the packet the answer to itself. Of a driver's packet every checksum is whole. */
__noinline int answer_xdp(struct xdp_md *ctx, struct datagram *d, bool offload)
{
	struct packet p = {
		.data = (void *)(long)ctx->data,
		.data_end = (void *)(long)ctx->data_end,
	};
	__u64 had = p.data_end - p.data;
	union answer a;
	__u32 size;
	void *to;

	barrier_var(had); /* else clang subtracts from what is no number to the kernel */
	size = d ? answer(&a, &p, d, offload) : 0;
	if (!size || bpf_xdp_adjust_tail(ctx, (int)size - (int)had))
		return XDP_DROP;
	to = (void *)(long)ctx->data;
	if (size == ANSWER_IPV6 && to + ANSWER_IPV6 <= (void *)(long)ctx->data_end)
		__builtin_memcpy(to, &a.ipv6.eth, ANSWER_IPV6);
	else if (size == ANSWER_IPV4 && to + ANSWER_IPV4 <= (void *)(long)ctx->data_end)
		__builtin_memcpy(to, &a.ipv4.eth, ANSWER_IPV4);
	else
		return XDP_DROP;
	count(COUNTER_COOKIE);
	return XDP_TX;
}

__noinline int answer_tcx(struct __sk_buff *skb, struct datagram *d)
{
	struct packet p = {
		.data = (void *)(long)skb->data,
		.data_end = (void *)(long)skb->data_end,
	};
	union answer a;
	__u32 size = d ? answer(&a, &p, d, true) : 0;

	/* Not by the packet's own bytes: to write these costs every packet a look at
	 * whether somebody else has them, too.
	 */
	if (!size || bpf_skb_change_tail(skb, size, 0))
		return TC_ACT_SHOT;
	if (size == ANSWER_IPV6
		    ? bpf_skb_store_bytes(skb, 0, &a.ipv6.eth, ANSWER_IPV6, BPF_F_INVALIDATE_HASH)
		    : bpf_skb_store_bytes(skb, 0, &a.ipv4.eth, ANSWER_IPV4, BPF_F_INVALIDATE_HASH))
		return TC_ACT_SHOT;
	count(COUNTER_COOKIE);
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline int act_xdp(struct xdp_md *ctx, enum packet_kind kind, struct datagram *d,
				   bool offload)
{
	switch (judge_xdp(ctx, kind, d)) {
	case OUTCOME_PASS:
		return XDP_PASS;
	case OUTCOME_ANSWER:
		return answer_xdp(ctx, d, offload);
	}
	return XDP_DROP;
}

SEC("xdp")
int verify_xdp(struct xdp_md *ctx)
{
	struct packet p = {
		.data = (void *)(long)ctx->data,
		.data_end = (void *)(long)ctx->data_end,
		.length = ctx->data_end - ctx->data,
	};
	struct datagram d = {};
	enum packet_kind kind = packet_parse(&p, &d, bpf_htons(FRAME_PORT));

	if (kind == PACKET_OTHER) {
		count(VERDICT_NOT_MESH);
		return XDP_PASS;
	}
	return act_xdp(ctx, kind, &d, false);
}

/* What the running kernel's structures hold; the loader fills in where (CO-RE). */
struct xdp_buff___kernel {
	void *data_hard_start;
	__u32 frame_sz;
} __attribute__((preserve_access_index));

struct skb_shared_info___kernel {
	unsigned short gso_size;
} __attribute__((preserve_access_index));

#define SMP_CACHE_BYTES 64

/* Whether a packet is several datagrams (segmentation offload) that the kernel will
 * take apart behind this program. A native driver hands out none such. Generic XDP
 * does, and hides it: the skb's shared info lies where xdp_buff says that the
 * buffer ends, aligned as in xdp_get_shared_info_from_buff().
 */
static __always_inline bool several_datagrams(struct xdp_md *ctx)
{
	struct xdp_buff___kernel *buff = (void *)ctx;
	__u64 size = (bpf_core_type_size(struct skb_shared_info___kernel) + SMP_CACHE_BYTES - 1) &
		     ~(__u64)(SMP_CACHE_BYTES - 1);
	struct skb_shared_info___kernel *info;
	unsigned short gso_size;
	__u32 frame_size;
	void *start;

	if (bpf_core_read(&start, sizeof(start), &buff->data_hard_start) ||
	    bpf_core_read(&frame_size, sizeof(frame_size), &buff->frame_sz))
		return true;
	info = start + frame_size - size;
	return bpf_core_read(&gso_size, sizeof(gso_size), &info->gso_size) || gso_size;
}

SEC("xdp")
int verify_xdp_generic(struct xdp_md *ctx)
{
	struct packet p = {
		.data = (void *)(long)ctx->data,
		.data_end = (void *)(long)ctx->data_end,
		.length = ctx->data_end - ctx->data,
	};
	struct datagram d = {};
	enum packet_kind kind = packet_parse(&p, &d, bpf_htons(FRAME_PORT));

	if (kind == PACKET_OTHER) {
		count(VERDICT_NOT_MESH);
		return XDP_PASS;
	}
	if (several_datagrams(ctx))
		kind = PACKET_HIDDEN;
	return act_xdp(ctx, kind, &d, true);
}

/* The bytes of the largest mesh frame with every header before it. */
#define LINEAR_BYTES 2048

SEC("tc")
int verify_tcx(struct __sk_buff *skb)
{
	__u32 want = skb->len < LINEAR_BYTES ? skb->len : LINEAR_BYTES;
	struct datagram d = {};
	enum packet_kind kind;
	struct packet p;

	/* Headers that lie in a page would look absent: not readable, no pass. */
	if (skb->data_end - skb->data < want && bpf_skb_pull_data(skb, want)) {
		count(VERDICT_MALFORMED);
		count(COUNTER_HIDDEN);
		return TC_ACT_SHOT;
	}
	p.data = (void *)(long)skb->data;
	p.data_end = (void *)(long)skb->data_end;
	p.length = skb->len;
	kind = packet_parse(&p, &d, bpf_htons(FRAME_PORT));
	if (kind == PACKET_OTHER) {
		count(VERDICT_NOT_MESH);
		return TC_ACT_UNSPEC;
	}
	/* Several datagrams, which the kernel will take apart behind this program. */
	if (skb->gso_size)
		kind = PACKET_HIDDEN;
	switch (judge_tcx(skb, kind, &d)) {
	case OUTCOME_PASS:
		/* Unspecified is tcx "next": other programs at this hook keep their say. */
		return TC_ACT_UNSPEC;
	case OUTCOME_ANSWER:
		return answer_tcx(skb, &d);
	}
	return TC_ACT_SHOT;
}
