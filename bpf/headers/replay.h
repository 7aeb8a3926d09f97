/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef MESH_REPLAY_H
#define MESH_REPLAY_H

#include "frame.h"

#include <bpf/bpf_helpers.h>

/* Contended updates give up after this many tries; the frame then counts as a
 * replay. Each lost try is another CPU's success on the same session.
 */
#define REPLAY_TRIES 16
/* A power of two of 32-entry words that covers the window at any alignment. A
 * sender's frames leave in order, but from several CPUs, and each CPU may have up to
 * net.core.netdev_max_backlog of them (1,000) in its queue while others overtake.
 */
#define REPLAY_WORDS 64

/*
 * An anti-replay window in the manner of RFC 6479, without a lock. A word holds
 * the 32 sequence numbers of one block: the block's number above, a bit per
 * accepted number below. Number and bits change together in one compare and
 * swap and a word's block number only grows, so whatever two CPUs do at once no
 * sequence number is accepted twice. `highest` only narrows what is accepted to
 * exactly the last FRAME_REPLAY_WINDOW numbers; it needs no atomic update, as one
 * that is lost lets an old number in that was never accepted before, at worst.
 */
struct replay_window {
	__u64 highest;
	__u64 words[REPLAY_WORDS];
};

_Static_assert(REPLAY_WORDS * 32 >= FRAME_REPLAY_WINDOW + 32, "replay words cover the window");
_Static_assert(FRAME_SEQUENCE_BITS - 5 <= 32, "a block number fits its half of the word");

static __always_inline bool replay_accept(struct replay_window *w, __u64 sequence)
{
	__u64 highest = *(volatile __u64 *)&w->highest;
	__u64 block = sequence >> 5, bit = 1ULL << (sequence & 31);
	__u64 *word = &w->words[block & (REPLAY_WORDS - 1)];
	__u64 old = *(volatile __u64 *)word;
	bool fresh = false;

	if (sequence + FRAME_REPLAY_WINDOW <= highest)
		return false;

	for (int i = 0; i < REPLAY_TRIES; i++) {
		__u64 next = bit, seen;

		if (old >> 32 > block)
			return false;
		if (old >> 32 == block)
			next = old | bit;
		else
			next = block << 32 | bit;
		if (next == old)
			return false;
		seen = __sync_val_compare_and_swap(word, old, next);
		fresh = seen == old;
		if (fresh)
			break;
		old = seen;
	}
	if (fresh && highest < sequence)
		*(volatile __u64 *)&w->highest = sequence;
	return fresh;
}

#endif
