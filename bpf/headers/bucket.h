/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef MESH_BUCKET_H
#define MESH_BUCKET_H

#include <stdbool.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/* Contended updates give up after this many tries and refuse. */
#define BUCKET_TRIES 8

/*
 * A token bucket in one word, the generic cell rate algorithm of ITU-T I.371:
 * *arrival is when the next packet of a sender at exactly the allowed rate is
 * due. A packet may come up to `tolerance` ns before that, so the burst is
 * tolerance / interval + 1 packets. Being one word, it needs no lock.
 */
static __always_inline bool bucket_take(__u64 *arrival, __u64 now, __u64 interval,
					__u64 tolerance)
{
	__u64 old = *(volatile __u64 *)arrival;

	for (int i = 0; i < BUCKET_TRIES; i++) {
		__u64 due = old > now ? old : now;
		__u64 seen;

		if (due - now > tolerance)
			return false;
		seen = __sync_val_compare_and_swap(arrival, old, due + interval);
		if (seen == old)
			return true;
		old = seen;
	}
	return false;
}

#endif
