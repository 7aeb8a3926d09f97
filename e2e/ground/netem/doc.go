// Package netem is a stand-in for tc(8) that serves the netem qdisc in userspace
// where the kernel has no sch_netem.
//
// Chaos Mesh's daemon calls tc in a pod's network namespace. The stand-in is first in
// the PATH of the daemon's image and hands every call to the real tc. Only if that
// answers that the kernel does not know netem, and the options are among those that it serves
// (delay, jitter, correlation, loss, limit), it starts a process in the same namespace that
// holds each outgoing packet in a netfilter queue until it is due. What cannot be served
// fails with the real tc's own error.
//
// The process outlives the call and ends with the qdisc that it stands for: when `tc
// qdisc del` is called on the device's root, or when the device is gone. Then it
// releases what it holds. Nothing needs to be cleaned up, even if it is killed: its
// nftables table (rule), its queue and the lock on its file (State) are the kernel's to remove, and
// packets pass again. `tc qdisc show` shows it as the device's root qdisc.
//
// What is delayed is what the device sends of IPv4 and IPv6: unlike the kernel's netem, not ARP. The
// loopback device is a device of its own. It needs nf_tables with queue or
// xt_NFQUEUE, nfnetlink_queue, and Linux 5.12; for senders that do not feel the queue also dup (see rule).
//
// # Map
//
//	main, invocation, options   tc's command line
//	process, state              the process that serves a device, and its file
//	rule, expression, message, queue
//	                            nf_tables and the netfilter queue
//	delayer, line, model        which packet is held for how long
//	wait                        for packets, and until they are due
//	server                      who serves a device: the kernel, or this
package netem
