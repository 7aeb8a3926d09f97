/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef MESH_CONTACT_H
#define MESH_CONTACT_H

/*
 * First contact: which handshake frames pass. Anybody can send them in the name of
 * any address, so nothing that a source says counts before it has proven that it
 * receives what is sent there, and what has not proven it has buckets of its own.
 */
#include "bucket.h"
#include "frame.h"
#include "packet.h"
#include "siphash.h"
#include "tables.h"

/* Nanoseconds; userspace sets them before the program is loaded. */
const volatile __u64 handshake_interval = 5000000;
const volatile __u64 handshake_tolerance = 1000000000;
const volatile __u64 contact_interval = 1000000;
const volatile __u64 contact_tolerance = 500000000;

/* What every frame of a handshake message starts with. */
struct handshake_prefix {
	__u64 call[2]; /* of an init its own id, otherwise the message's */
	__u64 token[2]; /* of an init the cookie, otherwise the id of what it answers */
};

_Static_assert(sizeof(struct handshake_prefix) == FRAME_HANDSHAKE_PREFIX, "prefix size");

/*
 * The cookie of a call from a source: SipHash-2-4 of address, port and the first 14
 * bytes of the call's id, under a secret that userspace changes every two minutes.
 * Who guesses one at 100,000 frames a second for the four minutes that it is good
 * for is right with a probability below 2^-38. Package frame has the same function.
 */
static __noinline __u64 cookie(const __u64 secret[2], const struct datagram *d,
			       const struct handshake_prefix *call)
{
	const __u64 rest = call->call[1];
	__u64 words[4];

	__builtin_memcpy(words, d->source, sizeof(d->source));
	words[2] = (__u64)d->source_port | call->call[0] << 16;
	words[3] = call->call[0] >> 48 | rest << 16;
	return bpf_cpu_to_be64(siphash_32(secret[0], secret[1], words));
}

/* The prefix of a handshake frame, 0 if its payload of length bytes has no room for it. */
static __always_inline const struct handshake_prefix *
handshake_prefix(const struct packet *p, const struct frame_header *f, __u32 length)
{
	const struct handshake_prefix *prefix = (const void *)(f + 1);

	if (length < sizeof(*prefix) || (void *)(prefix + 1) > p->data_end)
		return 0;
	return prefix;
}

/* Whether two addresses are the same. */
static __always_inline bool same_address(const __u32 *a, const __u32 *b)
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* Whether a frame shows what only who is at its source can know: an init the cookie
 * that was sent there, any other message the id of one that this node has sent there. An
 * id that was sent elsewhere does not count: who has got it could show it in the names of
 * others. The token is as random as the secret: comparing it in one instruction tells
 * nobody how much of it was right.
 */
static __always_inline bool handshake_proven(const struct frame_header *f, const struct datagram *d,
					     const struct handshake_prefix *prefix)
{
	struct cookie_secrets *secrets;
	const __u32 *to;
	__u64 token[2];
	__u32 zero = 0;

	if (!prefix)
		return false;
	__builtin_memcpy(token, prefix->token, sizeof(token));
	if (f->type != FRAME_HANDSHAKE_INIT) {
		to = bpf_map_lookup_elem(&calls, token);
		return to && same_address(to, d->source);
	}
	secrets = bpf_map_lookup_elem(&cookies, &zero);
	if (!secrets || !token[0] || token[1])
		return false;
	return token[0] == cookie(secrets->current, d, prefix) ||
	       token[0] == cookie(secrets->previous, d, prefix);
}

/* Takes from the bucket of a source in buckets, a bucket that is made if need be. */
static __always_inline bool source_allowed(void *buckets, const struct datagram *d, __u64 now)
{
	__u64 first = now + handshake_interval, *bucket;
	__u32 source[4]; /* on older kernels a key must lie on the function's own stack */

	__builtin_memcpy(source, d->source, sizeof(source));
	bucket = bpf_map_lookup_elem(buckets, source);
	if (bucket)
		return bucket_take(bucket, now, handshake_interval, handshake_tolerance);
	return !bpf_map_update_elem(buckets, source, &first, BPF_ANY);
}

/*
 * Whether a handshake frame passes. Each source has a bucket, one for what is sent in
 * its name and one for what it has proven to send; and behind them there is one for
 * all of a kind, so that many sources together have a limit. The sources where this
 * node knows its peers to be are a kind of their own: a reserve that strangers, false
 * or true, cannot use up.
 */
static __always_inline bool handshake_allowed(const struct datagram *d, bool proven, __u64 now)
{
	__u32 source[4], kind = proven ? CONTACT_PROVEN : 0;
	__u64 *all;

	__builtin_memcpy(source, d->source, sizeof(source));
	if (bpf_map_lookup_elem(&acquaintances, source))
		kind |= CONTACT_KNOWN;
	if (!(proven ? source_allowed(&proven_buckets, d, now)
		     : source_allowed(&handshake_buckets, d, now)))
		return false;
	all = bpf_map_lookup_elem(&contact_buckets, &kind);
	return all && bucket_take(all, now, contact_interval, contact_tolerance);
}

/* Whether a frame that is over its limits is to be answered with a cookie: the first
 * one of an init that shows none. The answer is no larger than what it answers, so that
 * it is of no use against whose address was borrowed.
 */
static __always_inline bool handshake_answerable(const struct frame_header *f, bool proven,
						 __u32 length)
{
	return !proven && f->type == FRAME_HANDSHAKE_INIT && !f->fragment &&
	       length >= FRAME_HANDSHAKE_PREFIX + FRAME_COOKIE_LEN;
}

#endif
