// Package node assembles a mesh node: sessions, failure detector, routes, the
// control loop, journal and store around one control goroutine.
//
// What arrives is queued; the control goroutine alone feeds the detector, the
// routing table and the MAPE-K loop, which are plain state machines. Records
// have a goroutine of their own, for they wait for the disk.
//
// # Map
//
//	node, inputs, control       the parts, what arrives, and the goroutine that alone feeds them
//	effect                      what the control loop's actions do
//	members, voucher, notary, relay
//	                            who is there, how it and its records are proven, who passes on
//	health, doubt, overload, refusals
//	                            what is judged here, and given to the loop as signals
//	clients, view, metrics      what clients, people and Prometheus see
package node
