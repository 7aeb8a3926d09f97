// Package verifier loads and runs the eBPF program that judges every mesh
// datagram before the node's socket sees it, as an XDP program or at tcx ingress.
//
// The verdict of a packet, in the order in which it is reached; all but pass and
// not_mesh drop it, and drops are reported (see Report):
//
//	not_mesh      no UDP datagram to frame.Port; left alone
//	malformed     a mesh datagram that is an IP fragment, whose lengths disagree, whose frame
//	              header breaks a rule of package frame, or that hides behind more than two
//	              VLAN tags or eight IPv6 extension headers; or several in one packet
//	              (segmentation offload)
//	rate_limited  a handshake frame over its source address's limit
//	pass          any other handshake frame
//	no_session    the session id is unknown
//	bad_tag       the header's SipHash-2-4 tag is not the session's
//	revoked       the session was revoked
//	expired       the session has expired
//	replay        the sequence number was seen before or lies frame.ReplayWindow or more back
//	expired       a data frame while the session is not verified
//	pass          anything else; signature fragments go to ReadSignature instead of the socket
//
// Sequence numbers run from 1 to MaxSequence; others are malformed. Times are
// CLOCK_MONOTONIC on both sides of the system call (see Now); the program reads
// it as of the last kernel tick, which lags at most 10 ms.
//
// It needs Linux 5.15 or later (tcx: 6.6; generic XDP: the kernel's type information,
// CONFIG_DEBUG_INFO_BTF), and CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
//
// # Map
//
//	verifier, attach, driver  loading, and the ways to attach
//	sessions                  the session tables, whose only writer is here
//	events, counters          what the program tells: signatures, reports, counts
//	probe                     what the kernel lacks, in one line
//	bpf_bpfel                 generated from verifier.c
package verifier

//go:generate go tool bpf2go -target bpfel -no-global-types -type frame_header -type frame_constant -type frame_class -type verdict -type counter -type session -type session_state -type replay_window -type signature_event -type drop_event -cflags "-O2 -g -Wall -Wextra -Werror -mcpu=v3 -I../headers -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" bpf verifier.c
