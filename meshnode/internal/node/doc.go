// Package node assembles a mesh node: sessions, failure detector, routes, the
// control loop, journal and store around one control goroutine.
//
// What arrives is queued; the control goroutine alone feeds the detector, the
// routing table and the MAPE-K loop, which are plain state machines. Records
// have a goroutine of their own, for they wait for the disk.
//
// # The model of attackers
//
// SECURITY.md has it whole; session, route and store say what it means there. Of a node as a whole:
//
// An outsider sends any packet to the pod network, also with the address of another. It can have
// first contact answered, at a bounded rate and without anything being kept, and frames dropped
// and counted. It cannot have a frame pass for a session's, nor end one, nor have anybody blocked.
//
// Who is on the path between two nodes can also read, drop, change and repeat what they send. It can keep them from
// each other on that path, which is a fault like any other: the loop goes around it. It cannot
// read or change what is sealed, have an old frame taken again, or have an innocent node blocked.
//
// A member has a certificate and runs other code. What it sends is checked as a stranger's is. It
// can read every record, use up what one peer may, and drop what it is asked to relay. It cannot
// speak for another member, divert routes or keep a node from its other peers, and
// what makes this code panic costs its own message.
//
// # Map
//
//	node, inputs, control       the parts, what arrives, and the goroutine that alone feeds them
//	effect                      what the control loop's actions do
//	members, voucher, notary, relay
//	                            who is there, how it and its records are proven, who passes on
//	health, doubt, overload, refusals
//	                            what is judged here, and given to the loop as signals
//	isolation, clocks, storage  the same of having no peer, of wrong clocks, and of the store's disk
//	clients, view, metrics      what clients, people and Prometheus see
package node
