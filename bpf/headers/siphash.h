/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef MESH_SIPHASH_H
#define MESH_SIPHASH_H

#include <linux/types.h>
#include <bpf/bpf_helpers.h>

/*
 * SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
 * 2012) of exactly 32 bytes: four whole words and the length word.
 */
#define SIP_ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

struct sip_state {
	__u64 v0, v1, v2, v3;
};

static __always_inline void sip_round(struct sip_state *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = SIP_ROTL(s->v1, 13) ^ s->v0;
	s->v3 = SIP_ROTL(s->v3, 16) ^ s->v2;
	s->v0 = SIP_ROTL(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = SIP_ROTL(s->v1, 17) ^ s->v2;
	s->v3 = SIP_ROTL(s->v3, 21) ^ s->v0;
	s->v2 = SIP_ROTL(s->v2, 32);
}

static __always_inline void sip_word(struct sip_state *s, __u64 word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

/* The words are the input read as little-endian integers. */
static __always_inline __u64 siphash_32(__u64 k0, __u64 k1, const __u64 words[4])
{
	struct sip_state s = {
		.v0 = k0 ^ 0x736f6d6570736575ULL,
		.v1 = k1 ^ 0x646f72616e646f6dULL,
		.v2 = k0 ^ 0x6c7967656e657261ULL,
		.v3 = k1 ^ 0x7465646279746573ULL,
	};

	sip_word(&s, words[0]);
	sip_word(&s, words[1]);
	sip_word(&s, words[2]);
	sip_word(&s, words[3]);
	sip_word(&s, 32ULL << 56);
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

#endif
