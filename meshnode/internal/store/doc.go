// Package store keeps the mesh's replicated, append-only set of records.
//
// A record is named by an id and never changes. Each store numbers the records
// that it accepts itself (origin and sequence), so that a version vector, the
// sequences per origin that are here, tells what another store lacks. Two sides
// of a partition can accept different content under one id; both are kept, and
// every store answers with the same one: that of the smaller (time, origin).
//
// # Who can do what
//
// An outsider and who is on the path do not get here. A member hands over records of its
// own and of others; of both, names, numbers and sizes are bounded. Each record carries the
// signature of its origin over all of it, by a key that a certificate of the mesh gives to
// the node that accepted it, so that no other member can replace or invent anything in it.
// A second record under a number that is taken is refused and is an incident about the
// origin, which has signed both; a record that its origin has not signed is one about who
// sent it. An acknowledgement names the content that is kept, so that it cannot be had for
// other content.
//
// What waits of one member's messages leaves room for the others', and what it asks for is
// answered at a bounded rate.
//
// What a member can still do: show different members different records of its own under one
// number, until one of them sees both; have its record be the answer for an id that another
// one took, by an early time, though both are kept; acknowledge what it does not keep, so that a client
// that cannot trust every member asks for more copies; and name records that it does not
// hand over, which is an incident after 30 s. A store has a quota, see SetQuota.
//
// Who keeps a record keeps the certificate of its signer with it, in one transaction, so
// that every holder can hand it on. A record outlives the key that signed it: its certificate
// counts whenever it was valid, and under any root that the mesh has had
// (identity.TrustFormerFile). So who steals an old key can sign records in its node's name
// under numbers that are free. What is here of a root that is taken away stays, and no more
// of it is taken in: who refuses a record says so to the peer that sent it, which sends it
// no more, and counts it as held until the trust changes. Nodes learn of a root at different
// times. Who hands over records under an unknown one is to blame when no change of the trust
// excuses it within 5 min.
//
// # What signatures cost
//
// Per record one signature (ML-DSA-65: 3,309 bytes on every disk and in every message) and
// one verification at each other node; per certificate 5.4 KiB on every disk, sent with
// records until the peer has confirmed one that it signed, or asks for it. Reads do not
// touch them. Signing per batch would take less room, but the records of a batch could be
// verified together only, and each is pushed to the others, and acknowledged, by itself.
//
// # The promise
//
// An acknowledged record is on the disks of the holders that the
// acknowledgement names, at least two unless no peer was reachable, and every
// store has it soon after the partition. It survives every crash of processes
// and machines that keep their disks, and the loss of all of its holders' disks
// but one. A record that one node accepted alone is lost if that node's disk is
// lost before the node meets a peer again. A record that was not acknowledged
// may be kept or not.
//
// After a commit that failed nothing is written to the file any more, whatever the disk
// says later, until Recover has made a new one of what can be read.
//
// # Map
//
//	store, add, read, entries, notary
//	                            records, who signed them, and how they are listed
//	open, pages, tree, seal     the file: made, locked, checked; each value sealed against damage
//	disk, recover               what the disk does, and a new file after it failed
//	quota, names                what is refused
//	vector                      what is here, by origin
//	replicate, accept, take, stranger, drain, stall, behind, flight
//	                            with the other stores
//	rate                        how much of it one of them gets
//	message, assemble           what they say to each other
package store
