// Package mesh deploys a fresh mesh into a namespace of its own, reads what
// its nodes say of themselves, and takes it away again.
//
// The manifests are written for one documented namespace; every scenario gets
// its own, so counters start at 0, a failed scenario cannot poison the next,
// and scenarios can run side by side.
//
// # Map
//
//	mesh, grow         the mesh: made, grown to its size, waited for, restarted, killed, deleted
//	manifest           the manifests, moved into a namespace
//	forward, way, ask  the way to a node's API; what it says: status, sessions, records
//	clock              how far its clock, and the clients', may be from this machine's
//	attend             status and journal, as they change
//	collect            logs, events and histories, kept of a run
package mesh
