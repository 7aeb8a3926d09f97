// Package engine finds the Docker engine of this machine or starts one of its own.
//
// Our own engine leaves the machine as it found it. It runs in an enclosure (see that package): it never sees
// the machine's firewall, bridges, network sysctls, configuration or other engines, and the kernel takes all
// of it away when its first process ends, also after kill -9. What no namespace keeps apart are
// a few sysctls outside the network, which are recorded in machine.json before it starts and put back after it, and control
// groups, which have a directory of ours. Recording and restoring the firewall instead was weighed and
// left: an administrator's change during a run would be undone, and a FORWARD policy of DROP would cut the
// cluster's own network where br_netfilter is loaded.
//
// What it keeps between runs is images. Everything else of its state is dropped at every start.
//
// # Map
//
//	engine, foreign       the engine that answers, and whether it can serve
//	ensure, own, state    our own: started, stopped, what it keeps
//	record, process       what is put back on this machine, and who is ended
//	lock, scratch         one run at a time, and its temporary files
package engine
