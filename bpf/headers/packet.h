/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef MESH_PACKET_H
#define MESH_PACKET_H

#include "frame.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* More tags or extension headers than this hide what follows. The kernel strips
 * any number of priority tags and walks any number of extension headers, so
 * packets with more must not pass unseen.
 */
#define PACKET_MAX_VLANS 2
#define PACKET_MAX_EXTENSIONS 8

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

struct ipv6_extension {
	__u8 nexthdr;
	__u8 length;
	__be16 fragment; /* of a fragment header */
	__be32 identification;
};

/* What the parser reads: the directly accessible bytes and the packet's length,
 * which is larger when the rest of an skb is paged.
 */
struct packet {
	void *data;
	void *data_end;
	__u32 length;
};

/* A mesh datagram within a packet; addresses in network order, IPv4 mapped. */
struct datagram {
	__u32 udp; /* offset of the UDP header */
	__u32 length; /* of the UDP payload */
	__be32 source[4];
	__be32 destination[4];
	__be16 source_port;
	bool ipv6;
};

enum packet_kind {
	PACKET_OTHER,
	PACKET_MESH,
	/* Malformed, by the rule that is broken. */
	PACKET_FRAGMENT, /* an IP fragment */
	PACKET_LENGTH, /* lengths that disagree */
	PACKET_HIDDEN, /* bytes that cannot be seen from here */
};

#define PACKET_AT(p, off, type)                                       \
	({                                                            \
		type *_at = (p)->data + (off);                        \
		(void *)(_at + 1) <= (p)->data_end ? _at : (type *)0; \
	})

/* What a packet is whose header of size bytes at off cannot be read: not mesh if
 * the packet ends before, as the kernel drops it; but bytes that are there and
 * cannot be seen must not pass.
 */
static __always_inline enum packet_kind packet_unreadable(struct packet *p, __u32 off, __u32 size)
{
	return off + size <= p->length ? PACKET_HIDDEN : PACKET_OTHER;
}

/*
 * Checks the UDP header at d->udp. end is where the IP header says that the
 * datagram ends. The port is judged from the bytes that are there, before any
 * length: the kernel accepts lengths that look odd from here, and a mesh
 * datagram that lies about its length must not pass as something else.
 */
static __always_inline enum packet_kind packet_udp(struct packet *p, struct datagram *d,
						   __u32 end, __be16 port, bool fragment)
{
	struct udphdr *udp = PACKET_AT(p, d->udp, struct udphdr);
	__u32 length;

	if (!udp)
		return fragment ? PACKET_FRAGMENT
				: packet_unreadable(p, d->udp, sizeof(*udp));
	if (udp->dest != port)
		return PACKET_OTHER;
	d->source_port = udp->source;
	length = bpf_ntohs(udp->len);
	if (fragment)
		return PACKET_FRAGMENT;
	if (length < sizeof(*udp) || end > p->length || d->udp + length != end)
		return PACKET_LENGTH;
	d->length = length - sizeof(*udp);
	return PACKET_MESH;
}

static __always_inline enum packet_kind packet_ipv4(struct packet *p, struct datagram *d,
						    __u32 off, __be16 port)
{
	struct iphdr *ip = PACKET_AT(p, off, struct iphdr);
	__u16 frag;

	if (!ip)
		return packet_unreadable(p, off, sizeof(*ip));
	if (ip->version != 4 || ip->ihl < 5 || ip->protocol != IPPROTO_UDP)
		return PACKET_OTHER;
	frag = bpf_ntohs(ip->frag_off);
	/* Without its first fragment, which is dropped, a datagram never completes. */
	if (frag & 0x1fff)
		return PACKET_OTHER;
	d->source[2] = d->destination[2] = bpf_htonl(0xffff);
	d->source[3] = ip->saddr;
	d->destination[3] = ip->daddr;
	d->udp = off + ip->ihl * 4;
	return packet_udp(p, d, off + bpf_ntohs(ip->tot_len), port, frag & 0x2000);
}

static __always_inline enum packet_kind packet_ipv6(struct packet *p, struct datagram *d,
						    __u32 off, __be16 port)
{
	struct ipv6hdr *ip = PACKET_AT(p, off, struct ipv6hdr);
	bool fragment = false;
	__u8 next;
	__u32 end;

	if (!ip)
		return packet_unreadable(p, off, sizeof(*ip));
	if (ip->version != 6)
		return PACKET_OTHER;
	d->ipv6 = true;
	__builtin_memcpy(d->source, &ip->saddr, sizeof(d->source));
	__builtin_memcpy(d->destination, &ip->daddr, sizeof(d->destination));
	next = ip->nexthdr;
	off += sizeof(*ip);
	end = off + bpf_ntohs(ip->payload_len);

	for (int i = 0; i <= PACKET_MAX_EXTENSIONS; i++) {
		struct ipv6_extension *ext;

		if (next == IPPROTO_UDP) {
			d->udp = off;
			return packet_udp(p, d, end, port, fragment);
		}
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING &&
		    next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			return PACKET_OTHER;
		ext = PACKET_AT(p, off, struct ipv6_extension);
		if (!ext)
			return fragment ? PACKET_FRAGMENT
					: packet_unreadable(p, off, sizeof(*ext));
		if (next == IPPROTO_FRAGMENT) {
			if (ext->fragment & bpf_htons(0xfff8))
				return PACKET_OTHER;
			fragment = true;
			off += sizeof(*ext);
		} else {
			off += (ext->length + 1) * 8;
		}
		next = ext->nexthdr;
	}
	return PACKET_HIDDEN;
}

/* Finds a UDP datagram to port (network order) in an Ethernet frame; d must be zero. */
static __always_inline enum packet_kind packet_parse(struct packet *p, struct datagram *d,
						     __be16 port)
{
	struct ethhdr *eth = PACKET_AT(p, 0, struct ethhdr);
	__u32 off = sizeof(*eth);
	__be16 proto;

	if (!eth)
		return PACKET_OTHER;
	proto = eth->h_proto;
	for (int i = 0; i <= PACKET_MAX_VLANS; i++) {
		struct vlan_tag *tag = PACKET_AT(p, off, struct vlan_tag);

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if (!tag)
			return packet_unreadable(p, off, sizeof(*tag));
		if (i == PACKET_MAX_VLANS)
			return PACKET_HIDDEN;
		off += sizeof(*tag);
		proto = tag->proto;
	}
	if (proto == bpf_htons(ETH_P_IP))
		return packet_ipv4(p, d, off, port);
	if (proto == bpf_htons(ETH_P_IPV6))
		return packet_ipv6(p, d, off, port);
	return PACKET_OTHER;
}

#endif
