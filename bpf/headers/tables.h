/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef MESH_TABLES_H
#define MESH_TABLES_H

/*
 * What the verifier shares with userspace: its maps, and the types in them, from
 * which the Go ones are generated.
 */
#include "frame.h"
#include "replay.h"

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum verdict {
	VERDICT_PASS,
	VERDICT_NOT_MESH,
	VERDICT_MALFORMED,
	VERDICT_NO_SESSION,
	VERDICT_EXPIRED,
	VERDICT_REVOKED,
	VERDICT_BAD_TAG,
	VERDICT_REPLAY,
	VERDICT_RATE_LIMITED,
	VERDICT_COUNT,
};

/* Counters behind the verdicts'. */
enum counter {
	COUNTER_RING_LOST = VERDICT_COUNT, /* an event found its ring full */
	COUNTER_REPORT_HELD, /* a report was held back by the bucket */
	COUNTER_COOKIE, /* a handshake frame over its limit was answered with a cookie */
	/* Malformed packets once more, by the rule that they break. */
	COUNTER_FRAGMENT, /* an IP fragment: frames are larger than their path's MTU */
	COUNTER_LENGTH, /* lengths that disagree */
	COUNTER_HEADER, /* a frame header that no node writes */
	COUNTER_HIDDEN, /* bytes that cannot be seen, or several datagrams in one */
	COUNTER_COUNT,
};

/* What never changes while a session lives, so that a lookup never sees a
 * session half written: an update of a hash element may recycle its memory.
 */
struct session {
	__u64 key[2]; /* little-endian halves of the SipHash key */
	__u32 slot; /* index of the session's state and window */
	__u32 pad;
};

/* What userspace changes in place; times are ktime in ns. */
struct session_state {
	__u64 expires;
	__u64 verified_until;
	__u64 revoked;
};

/* What cookies are made with, and were before; little-endian halves of SipHash keys. */
struct cookie_secrets {
	__u64 current[2];
	__u64 previous[2];
};

/* The kinds of first contact, by bits; each has a bucket. */
enum contact {
	CONTACT_KNOWN = 1, /* from where a peer is */
	CONTACT_PROVEN = 2, /* who sent it receives what is sent there */
	CONTACT_KINDS = 4,
};

/* A fragment of a signature on its way to the verification pool. */
struct signature_event {
	__u64 time; /* ktime in ns */
	__u8 session[16];
	__u64 sequence;
	__u16 length; /* of the payload */
	__u8 type;
	__u8 fragment;
	__u8 fragments;
	__u8 pad[3];
	__u8 payload[FRAME_MAX_PAYLOAD];
};

/* A dropped packet. session is zero if no header was read. */
struct drop_event {
	__u64 time; /* ktime in ns */
	__u8 session[16];
	__u8 source[16]; /* IPv4 mapped */
	__u8 source_port[2]; /* network order */
	__u8 verdict;
	__u8 pad[5];
};

/* For the generated Go types. */
const enum verdict *const unused_verdict __attribute__((unused));
const enum contact *const unused_contact __attribute__((unused));
const enum counter *const unused_counter __attribute__((unused));
const enum frame_constant *const unused_frame_constant __attribute__((unused));
const enum frame_class *const unused_frame_class __attribute__((unused));
const struct frame_header *const unused_frame_header __attribute__((unused));
const struct signature_event *const unused_signature_event __attribute__((unused));
const struct drop_event *const unused_drop_event __attribute__((unused));

#define MAX_SESSIONS 65536

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_SESSIONS);
	__type(key, __u64[2]);
	__type(value, struct session);
} sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_SESSIONS);
	__type(key, __u32);
	__type(value, struct session_state);
} states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_SESSIONS);
	__type(key, __u32);
	__type(value, struct replay_window);
} windows SEC(".maps");

/* Of sources of handshakes. Who they are is not authenticated, hence these are the
 * only tables in which an entry may push out another. What is sent in the name of an
 * address, and what its owner sends:
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32[4]);
	__type(value, __u64);
} handshake_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32[4]);
	__type(value, __u64);
} proven_buckets SEC(".maps");

/* Of all sources of a kind, by enum contact. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CONTACT_KINDS);
	__type(key, __u32);
	__type(value, __u64);
} contact_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cookie_secrets);
} cookies SEC(".maps");

#define MAX_CONTACTS 16384

/* Calls and answers to calls that this node has sent: their ids, and to which address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_CONTACTS);
	__type(key, __u64[2]);
	__type(value, __u32[4]);
} calls SEC(".maps");

/* The addresses of this node's peers. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MAX_CONTACTS);
	__type(key, __u32[4]);
	__type(value, __u8);
} acquaintances SEC(".maps");

/* The interface's own address; userspace sets it before the program is attached. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[6]);
} station SEC(".maps");

/* One bucket per verdict: a flood of one kind does not hide another kind. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, VERDICT_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} report_buckets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} signatures SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} reports SEC(".maps");

#endif
