/* SPDX-License-Identifier: GPL-2.0 OR MIT */
#ifndef MESH_FRAME_H
#define MESH_FRAME_H

#include <stdbool.h>
#include <linux/types.h>

/*
 * The mesh frame as the eBPF programs see it. The Go side is bpf/frame; a test
 * compares the two through the BTF of the compiled object, so every constant is
 * an enumerator, not a macro.
 */
enum frame_constant {
	FRAME_PORT = 26970,
	FRAME_MAGIC = 0x7834,
	FRAME_VERSION = 1,
	FRAME_HEADER_LEN = 40,
	FRAME_MAX_PAYLOAD = 1400,
	FRAME_MAX_FRAGMENTS = 16,
	FRAME_TAG_OFFSET = 32,
	FRAME_REPLAY_WINDOW = 2016,
	/* log2 of the first sequence number that is out of range */
	FRAME_SEQUENCE_BITS = 37,
	/* what starts every frame of a handshake message, and what a cookie is long */
	FRAME_HANDSHAKE_PREFIX = 32,
	FRAME_COOKIE_LEN = 16,
	/* the types that the verifier tells apart */
	FRAME_HANDSHAKE_INIT = 0x11,
	FRAME_HANDSHAKE_COOKIE = 0x14,
};

/* The class of a frame is the high nibble of its type. */
enum frame_class {
	FRAME_CLASS_HANDSHAKE = 0x10,
	FRAME_CLASS_SIGNATURE = 0x20,
	FRAME_CLASS_CONTROL = 0x30,
	FRAME_CLASS_DATA = 0x40,
	FRAME_CLASS_MASK = 0xf0,
};

/* All integers are big-endian. Naturally aligned, hence not packed: clang then
 * loads whole words.
 */
struct frame_header {
	__u16 magic;
	__u8 version;
	__u8 type;
	__u16 length;
	__u8 fragment;
	__u8 fragments;
	__u64 session[2];
	__u64 sequence;
	__u64 tag;
};

_Static_assert(sizeof(struct frame_header) == FRAME_HEADER_LEN, "frame header size");

#endif
