/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef MESH_ANSWER_H
#define MESH_ANSWER_H

/*
 * The packet that hands a caller its cookie. Nothing is kept for it: it goes back the
 * way that the call came, and is no longer than that.
 */
#include "contact.h"
#include "frame.h"
#include "packet.h"
#include "tables.h"

/* A frame of type FRAME_HANDSHAKE_COOKIE. The message's id is zero: the token says to
 * whom it matters.
 */
struct cookie_frame {
	struct frame_header header;
	struct handshake_prefix prefix;
	__u64 cookie[2];
} __attribute__((packed, aligned(4)));

/* Everything lies on four bytes, and what is sent starts behind the pad. */
struct answer_ipv4 {
	__u16 pad;
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	struct cookie_frame frame;
} __attribute__((packed, aligned(4)));

struct answer_ipv6 {
	__u16 pad;
	struct ethhdr eth;
	struct ipv6hdr ip;
	struct udphdr udp;
	struct cookie_frame frame;
} __attribute__((packed, aligned(4)));

union answer {
	struct answer_ipv4 ipv4;
	struct answer_ipv6 ipv6;
};

#define ANSWER_PAD 2
#define ANSWER_IPV4 (sizeof(struct answer_ipv4) - ANSWER_PAD)
#define ANSWER_IPV6 (sizeof(struct answer_ipv6) - ANSWER_PAD)
#define ANSWER_UDP (sizeof(struct udphdr) + sizeof(struct cookie_frame))
#define ANSWER_HOPS 64

/*
 * Whether one answer to one sender is what a packet would get. Not one that was sent to
 * many, who would all answer, nor one for somebody else, whose own answer this would be
 * mistaken for: switches flood what they do not know the way to. And not one that says
 * that it comes from many.
 */
static __always_inline bool answer_due(const struct ethhdr *eth, const struct datagram *d)
{
	const __u8 *source = (const __u8 *)d->source;
	const __u8 *own;
	__u32 zero = 0;

	own = bpf_map_lookup_elem(&station, &zero);
	if (!own || (eth->h_source[0] & 1))
		return false;
	for (int i = 0; i < ETH_ALEN; i++)
		if (eth->h_dest[i] != own[i])
			return false;
	/* Multicast (RFC 4291, section 2.7) and what lies above it (RFC 1112, RFC 919). */
	return d->ipv6 ? source[0] != 0xff : source[12] < 224;
}

static __always_inline __u16 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u64 checksum_add(const void *bytes, __u32 size, __u64 sum)
{
	const __u32 *words = bytes;

	for (__u32 i = 0; i < size / 4; i++)
		sum += words[i];
	return sum;
}

/*
 * The sum of the pseudo header (RFC 768, RFC 8200 section 8.1) of a UDP datagram
 * between the two ends of d. IPv4 addresses are mapped: their prefixes add up to
 * 0xffff each, which is zero.
 */
static __always_inline __u64 checksum_pseudo(const struct datagram *d, __be16 length)
{
	__u64 sum = length + bpf_htons(IPPROTO_UDP);

	sum = checksum_add(d->source, sizeof(d->source), sum);
	return checksum_add(d->destination, sizeof(d->destination), sum);
}

/* Writes the UDP header and the frame of an answer to the frame with the prefix. */
static __always_inline bool answer_write(struct udphdr *udp, struct cookie_frame *f,
					 const struct udphdr *asked,
					 const struct handshake_prefix *prefix,
					 const struct datagram *d, bool offload)
{
	__u32 zero = 0;
	struct cookie_secrets *secrets = bpf_map_lookup_elem(&cookies, &zero);
	__u64 pseudo = checksum_pseudo(d, bpf_htons(ANSWER_UDP));
	__u16 sum;

	if (!secrets)
		return false;
	f->header.magic = bpf_htons(FRAME_MAGIC);
	f->header.version = FRAME_VERSION;
	f->header.type = FRAME_HANDSHAKE_COOKIE;
	f->header.length = bpf_htons(FRAME_HANDSHAKE_PREFIX + FRAME_COOKIE_LEN);
	f->header.fragments = 1;
	f->prefix.token[0] = prefix->call[0];
	f->prefix.token[1] = prefix->call[1];
	f->cookie[0] = cookie(secrets->current, d, prefix);
	udp->source = bpf_htons(FRAME_PORT);
	udp->dest = d->source_port;
	udp->len = bpf_htons(ANSWER_UDP);
	/* A sender on this machine may have left the checksum to the last device: then
	 * there is the pseudo header's sum, and the device expects it again. An honest
	 * checksum is equal to that one by a chance of 2^-16.
	 */
	if (offload && asked->check == checksum_fold(checksum_pseudo(d, asked->len))) {
		udp->check = checksum_fold(pseudo);
		return true;
	}
	sum = ~checksum_fold(checksum_add(f, sizeof(*f), checksum_add(udp, sizeof(*udp), pseudo)));
	udp->check = sum ? sum : 0xffff;
	return true;
}

/*
 * Makes the answer to the call that a packet holds; returns how many bytes of it
 * follow the pad, 0 if there is none. VLAN tags, options and extension headers are
 * not answered: nodes send none. offload says that the packet's checksum may be
 * unfinished.
 */
static __always_inline __u32 answer(union answer *a, const struct packet *p,
				    const struct datagram *d, bool offload)
{
	const __u32 ip = sizeof(struct ethhdr);
	const __u32 udp = ip + (d->ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	struct ethhdr *eth = PACKET_AT(p, 0, struct ethhdr);
	const struct handshake_prefix *prefix;
	struct udphdr *asked;

	if (!eth || d->udp != udp || !answer_due(eth, d))
		return 0;
	__builtin_memset(a, 0, sizeof(*a));
	barrier(); /* else clang keeps its fields apart and runs out of stack */
	/* Both families start alike. */
	__builtin_memcpy(a->ipv4.eth.h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(a->ipv4.eth.h_source, eth->h_dest, ETH_ALEN);
	a->ipv4.eth.h_proto = eth->h_proto;
	asked = PACKET_AT(p, udp, struct udphdr);
	prefix = PACKET_AT(p, udp + sizeof(*asked) + sizeof(struct frame_header),
			   struct handshake_prefix);
	if (!asked || !prefix)
		return 0;
	if (d->ipv6) {
		a->ipv6.ip.version = 6;
		a->ipv6.ip.payload_len = bpf_htons(ANSWER_UDP);
		a->ipv6.ip.nexthdr = IPPROTO_UDP;
		a->ipv6.ip.hop_limit = ANSWER_HOPS;
		__builtin_memcpy(&a->ipv6.ip.saddr, d->destination, sizeof(d->destination));
		__builtin_memcpy(&a->ipv6.ip.daddr, d->source, sizeof(d->source));
		return answer_write(&a->ipv6.udp, &a->ipv6.frame, asked, prefix, d, offload) ? ANSWER_IPV6 : 0;
	}
	a->ipv4.ip.version = 4;
	a->ipv4.ip.ihl = sizeof(struct iphdr) / 4;
	a->ipv4.ip.tot_len = bpf_htons(sizeof(struct iphdr) + ANSWER_UDP);
	a->ipv4.ip.frag_off = bpf_htons(0x4000); /* do not fragment */
	a->ipv4.ip.ttl = ANSWER_HOPS;
	a->ipv4.ip.protocol = IPPROTO_UDP;
	a->ipv4.ip.saddr = d->destination[3];
	a->ipv4.ip.daddr = d->source[3];
	a->ipv4.ip.check = ~checksum_fold(checksum_add(&a->ipv4.ip, sizeof(a->ipv4.ip), 0));
	return answer_write(&a->ipv4.udp, &a->ipv4.frame, asked, prefix, d, offload) ? ANSWER_IPV4 : 0;
}

#endif
