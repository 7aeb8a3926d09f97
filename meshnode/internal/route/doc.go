// Package route finds the way to every node of the mesh over the links that
// are there, in the manner of B.A.T.M.A.N. IV: each node originates a message
// once a second and on every link change; neighbours pass it on with its
// transmit quality (TQ, 0 to 255) lowered by the link that it came over and by
// a hop penalty; the neighbour whose message of an originator carries the best
// TQ is the next hop to it.
//
// B.A.T.M.A.N. alone allows short loops while its windows disagree. Here a
// neighbour is only eligible under the feasibility condition of RFC 8966
// section 3.5.1, with (sequence, TQ) as the distance: it must have announced a
// newer sequence, or a better TQ of the same sequence, than this node ever
// announced itself. Distances then fall strictly along every path, so no loop
// can form at any time, whatever messages are lost or late. A node that loses
// its last feasible way asks for a newer sequence, as in section 3.8.2 there.
//
// # Who can say what
//
// An outsider has no session, and who is on the path can only keep messages away.
// A member passes on what others originate, and could invent it: a newer sequence or
// incarnation of somebody else would draw that one's traffic, and keep its real messages
// from counting. So an originator proves every sequence number: with it comes a
// value of a hash chain whose end it has signed, together with its incarnation, under
// its certificate (the anchor). A value can be checked by hashing it, and made only
// by who knows the chain: Hu, Johnson and Perrig, "SEAD: secure efficient distance
// vector routing for mobile wireless ad hoc networks", 2003; the same idea as in
// Perrig, Canetti, Tygar and Song, "The TESLA broadcast authentication protocol",
// 2002, without its clocks. What of a node is not anchored is not noted at all, so
// names come from certificates only. The incarnation begins with the time at which
// the certificate was issued, by the authority's clock: no other clock counts, and
// nobody can claim one that is above its certificate.
//
// What a chain does not prove is a TQ. A member can lower one, which harms its own
// way only; claim up to relayedTQ, as if it had a perfect link to the destination,
// which wins only where there is no good direct link; and repeat a sequence number that
// was revealed. So a liar can draw what has no good direct way, and drop it; that
// nothing arrives is seen end to end (package mapek: a failed link over which no relay
// delivers is a crash), and it ends with the liar's session.
//
// The cost: an announcement is 16 bytes longer and takes one hash per sequence number
// to check (about 0.1 µs), at most 4096. An anchor is about 8.7 KiB and takes two
// ML-DSA-65 verifications (about 0.2 ms); each node gets each other's once per
// start and per 4096 announcements, by asking the neighbour that named it. At n = 5,
// 50 and 500 nodes that is, per node in rest, 0.06, 5 and 5 KB/s for proofs; and 9, 80
// and 8 B/s for anchors. A signature of 3,309 bytes per announcement instead would be
// up to 1 MB/s.
//
// # Growth
//
// In a mesh of up to FullMesh nodes every node is every other's neighbour. In a
// larger one a node has at most 2*Rings neighbours (see Neighbours) and reaches
// the others through them. Announcements must still reach every node from every
// other, so their interval grows with the number n of nodes:
//
//	interval(n)  = max(1 s, n × 25 ms)
//	announcements per node and second ≤ 2*Rings × min(n, 40)
//
// They wait up to 200 ms (100 ms in a small mesh) for others and share frames. So what a node sends for
// routes is bounded whatever n is; what grows with n is the time in which a
// changed quality spreads and a silent neighbour ages out. Changes do not wait:
// a link that comes up or fails, a lost way and the search for another one go at
// once, at most one origination a second per node.
//
// A Table is a state machine without goroutines or clock. It never takes a
// neighbour's silence for a failure by itself before purgeTime: Fail is an
// action of the control loop.
//
// # Map
//
//	route                 the table and what it gives out
//	distance, select      which way is better, and which may be used
//	spread, queue         announcements: when, to whom, together
//	message, chain, anchor
//	                      their encoding, and the proofs of sequence numbers
//	neighbours            who is whose neighbour in a large mesh
package route
