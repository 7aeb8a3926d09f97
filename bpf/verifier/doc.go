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
//	              (segmentation offload); counted by rule, too (see Verifier.Malformed)
//	rate_limited  a handshake frame over the limit of its source, or of all sources of its kind
//	pass          any other handshake frame
//	no_session    the session id is unknown
//	bad_tag       the header's SipHash-2-4 tag is not the session's
//	revoked       the session was revoked
//	expired       the session has expired
//	replay        the sequence number was seen before or lies frame.ReplayWindow or more back
//	expired       a data frame while the session is not verified
//	pass          anything else; signature fragments go to ReadSignature instead of the socket
//
// # First contact
//
// Handshake frames are of no session, and who sends one can borrow any address. So there
// are four kinds of them, each with a limit of its own (Config.ContactRate) behind that of
// a single source, and none is in another's way: of strangers and of known peers (PutPeer,
// the reserve), and of each what is proven and what is not. Proof is what only the owner
// of an address can know: an init shows the cookie that was sent there (frame.Cookie),
// any other message the id of one that this node has sent to its source (PutCall). The
// first frame of an init that is over its limit and shows no cookie is answered with one
// from here, back on the wire that it came by. That keeps nothing, costs less than the
// frame did and goes on at any rate, so that whoever really calls gets through: the second
// time, by its proof. Frames with VLAN tags, IPv4 options or IPv6 extension headers are
// not answered, nor are those to many or to another interface, or from many. Native XDP on
// a veth sends back only where the other end runs a program, too, which is one more reason
// for tcx there.
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
//	contact                   what first contact is judged by
//	sessions                  the session tables, whose only writer is here
//	events, counters          what the program tells: signatures, reports, counts
//	probe                     what the kernel lacks, in one line
//	bpf_bpfel                 generated from verifier.c
package verifier

//go:generate go tool bpf2go -target bpfel -no-global-types -type frame_header -type frame_constant -type frame_class -type verdict -type counter -type contact -type session -type session_state -type replay_window -type cookie_secrets -type signature_event -type drop_event -cflags "-O2 -g -Wall -Wextra -Werror -mcpu=v3 -I../headers -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu" bpf verifier.c
