// Package session keeps authenticated, encrypted sessions between mesh nodes
// and has their peers attest themselves about once a second.
//
// # Handshake
//
// Three messages, fragmented over frames of frame.ClassHandshake (I and R are
// the two sides, cert their certificates, see package identity):
//
//	init    I → R  generation, nonce, X-Wing public key, R's name, cert of I
//	reply   R → I  generation, nonce, X-Wing ciphertext, cert of R, MAC, signature
//	finish  I → R  MAC, signature
//
// X-Wing (draft-connolly-cfrg-xwing-kem) is X25519 and ML-KEM-768 in one KEM;
// its key pair is made for one handshake. With H1 = SHA-256(protocol, init,
// reply up to R's certificate), each part preceded by its length, and SS the
// KEM's secret, HKDF-SHA-256 (RFC 5869; salt H1, key material SS) yields, under a
// label each, the session id and per direction an AES-256-GCM key, an IV, a
// SipHash key for frame headers and a confirmation key. R's MAC is HMAC-SHA-256
// of H1 under its confirmation key; its ML-DSA-65 signature covers H1 and the
// MAC. I's are the same over H2 = SHA-256(H1, R's MAC, R's signature). The two
// signatures are made for different contexts (FIPS 204), as are certificates and
// attestations, so none can pass for another. This is the SIGMA-I pattern
// without its identity hiding: each side signs both identities, both nonces and
// both KEM values, and proves that it holds the key.
//
// R accepts the session when the finish message verifies, I when it opens the
// first sealed frame of R; until then I repeats its message with exponential
// backoff and jitter, and goes on sending on an older session. Both keep the older
// one for receiving during Limits.Grace, so rotation loses no frame. Handshakes
// that cross are settled twice: the call of the node with the lesser name stands
// if it is under way, and is repeated when the other one comes; and of two sessions
// both sides prefer the one with the higher generation (the highest both knew, plus
// one), then the higher id.
//
// A node that starts again has a new key and a newer certificate. Once its name
// has proven that one, older ones of the same name are refused, and the sessions
// that were made with them end at once: two processes under one name, as when a
// pod is deleted by force, do not fight over it.
//
// # What is authenticated, and what an attacker can do
//
// After a handshake each side knows that the other holds the private key of a
// certificate that the mesh root signed for the expected name, now (nonces
// and KEM values are fresh), for this session, with this node. A change of any
// bit of any message makes it fail. Losing a node's signing key lets the
// thief pose as that node from then on, but neither opens past sessions (the
// KEM keys are gone) nor lets anybody pose as another node towards it.
// Recorded traffic stays secret while either X25519 or ML-KEM-768 holds.
//
// Who reads and changes everything on the wire can
//   - drop, delay and replay frames: replays are refused by the kernel's window
//     and again by userspace's, and delay shows as late challenges;
//   - see who talks to whom: certificates travel in the clear;
//   - spoil attestation signatures, whose frames carry a MAC over their headers
//     only: that makes verification fail, which the node sees, and never succeed.
//     Sessions end by it, but it convicts nobody: after an attestation that was bad in
//     clear its signer is asked for a proof, the same sealed, and only what opens and
//     is bad counts against a peer (ProvenBad).
//
// Who only sends, from any source address, can make a node verify a certificate
// and answer a call; how often is bounded in the kernel (see package verifier: what is
// sent in the name of an address, what its owner sends, strangers and known peers each
// have their limits), by bounds per source on what is reassembled and, from
// Limits.CookieAfter calls under way on, by a stateless cookie that only the owner of
// the source address gets. The kernel asks for the same cookie, and answers by itself,
// as soon as its limits are reached; Admission tells it of secrets, calls and peers. It
// cannot touch calls it does not see: what answers a message carries the 128-bit hash of
// that message, and counts as proven only from where that one was sent to. Nothing that
// fails before a frame of a session is authenticated is reported as VerificationFailed, so
// that an outsider cannot have an innocent session invalidated.
//
// A peer with a good certificate that misbehaves can waste the resources that
// one peer gets: reassembly per session, one signature at a time, four
// verifications per challenge.
//
// # Frames
//
// Control and data frames are sealed with AES-256-GCM; the frame header,
// tag included, is associated data and the nonce is the IV xor the sequence
// number, as in TLS 1.3. Limits.SequenceLimit keeps a key far below the bound on
// frames of this size (RFC 9001, appendix B: 2^28). Go cannot promise to erase
// secrets from memory; they are dropped as soon as they are not needed.
//
// # Sizes
//
// No frame is ever fragmented by IP: what is too large for its path is lost, and the
// verifier drops fragments. Handshakes, and all that is sent before more is known, fit
// every path (package pmtu). Then sealed probes, which the peer answers, find what the
// straight path carries, up to what the interface does, and frames fill that. What goes by
// relay is made to fit into one frame to the relay; where it does not, that is split, as
// at every further hop whose path is narrower.
//
// A path that has become narrower loses the frames that fill it. Attestations do: who
// asks for one again, or after others came to nothing, asks for it in frames that every
// path carries, and its signer uses no others until probes have found more. Besides, the
// size in use is probed every ten seconds.
//
// # Relays
//
// Where the routes (Config.Relays) lead to a peer over a neighbour, a whole frame of
// the session with the peer, or of a handshake with it, travels as the payload of a
// Relay message, sealed from neighbour to neighbour. The ends' session is between
// the ends: a relay sees who talks to whom, and how much, and can drop, delay or
// replay, which is what anybody on a wire can do. It cannot spoil an attestation and
// have the signer blamed: by relay attestations are sealed, too, in frames of a type of
// their own, so that one that a relay sends on straight is no clear one there; and no
// message is joined of fragments that came sealed and of such that did not. Relayed frames
// do not pass the receiver's kernel, so what that asks of others is asked of them here: the
// session, its tag, whether it is verified, and the replay window of what is sealed.
//
// Heartbeats, probes and routing messages are about the link itself and never
// relayed; nor are cookies, which prove an address. A frame crosses at most relayHops
// links and never goes back to where it came from. Of each origin a neighbour may
// hand over so much per second and no more, handshakes least, of all origins together as
// much as of a few, and only of origins that the routes know or whose session proves them.
// What is refused is counted by neighbour and reason, and says nothing about the node that
// it names as its origin.
//
// The ends of a cut link notice at different times. Who still has the straight way,
// or none, answers for a moment (answerBack, unaware) the way that the last good frame
// came. Handshakes go both ways: the routes take a link for cut, too, when only its
// session has ended, and a link may be cut in one direction only.
//
// # Attestation
//
// A challenge (number, 32 random bytes and priority, sealed) is answered by an
// ML-DSA-65 signature over session id, signer's role, challenge and number. A good answer
// lets data of the session pass for Limits.Verified, in the kernel and here; so
// does the handshake itself, which proves the same. A challenge without an answer
// at its deadline is overdue; if nobody extends it (to at most 3 s after it was sent, and
// what had more time already is sent again), it times out, and
// the next ones follow at the pace of an exponential backoff up to
// Limits.BackoffMax, from the fourth on together with a call in case the peer has
// lost the session; so do those of a session that has not been verified for
// Limits.Verified after it lapsed. To be faster than that is the caller's decision:
// Reverify.
//
// The challenge that each session gets every Limits.Challenge is critical: without
// its answer data stops after Limits.Verified. It is never shed. Challenges every
// Limits.Reattest on top of it, if asked for, have low priority: they show sooner
// that a peer no longer holds its key, and are first to go under load. The
// challenge says which it is, so that both sides put their work behind
// handshakes and critical attestations. They have no deadline, and only a
// signature that is bad makes them count as failed. With SetShedding a node asks
// for none and answers one per peer and Limits.Challenge; what it turns away is
// counted. A peer that calls all its challenges critical still gets one signature
// at a time.
//
// # Map
//
//	api, manager, operations, peer   what callers see; the sessions of a node, by peer
//	initiate, respond, contact, admission, cookie, transcript, wire
//	                                 handshakes
//	session, window, send, receive   sealed frames
//	attestation, proof, reattest, estimator
//	                                 challenges, their answers and deadlines
//	pathmtu                          how large the frames of a path may be
//	relaying, relay_limit            frames that others pass on
//	schedule                         what is due when
package session
