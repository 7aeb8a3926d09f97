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
// own and of others; of both, names, numbers and sizes are bounded, a second record under
// a number is refused and counted against who sent it, and an acknowledgement names the
// content that is kept, so that it cannot be had for other content. What a member can still
// do: invent a record in another's name under a number that is not taken here yet, for
// records carry no signature of their origin; acknowledge what it does not keep, so that a
// client that cannot trust every member asks for more copies; and name records that it does
// not hand over, which is an incident after 30 s. A store has a quota, see SetQuota.
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
// # Map
//
//	store, add, read, entries   records, and how they are listed
//	open, pages, tree, seal     the file: made, locked, checked; each value sealed against damage
//	quota, names                what is refused
//	vector                      what is here, by origin
//	replicate, accept, drain, stall
//	                            with the other stores
//	message, assemble           what they say to each other
package store
