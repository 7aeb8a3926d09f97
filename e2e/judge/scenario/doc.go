// Package scenario is the life of one scenario: a fresh mesh, probers in its
// pods, a look at it without a fault, the fault, the proof that it bites, the
// heal, what is collected, and the way back. The spec files say what is judged
// in between.
//
// # Map
//
//	registry, claims      scenarios as values; what a criterion can claim
//	limits                every bar and every wait
//	run, end              a scenario's life, from the mesh to its removal
//	join                  a run in a mesh that was there before and stays
//	episode, tail         a fault's life, and the windows in which it is judged
//	partition, delay, crash, hold, failure, outage, attack, replay, stress, scaling, storage, skew
//	                      each sort of fault: how it is proven, and what is asked about it
//	absent, supported     a fault that is not injected, for a control; one that cannot be
//	loop, cells, resolve, diagnosis, guest
//	                      what the nodes' loops should, and should not, have done
//	ask, records, roster  what is read of nodes, clients and pods
//	clocks                how far the clocks may be off that date it
//	watch                 what is looked at beside the specs, and may end them
//	turn                  what scenarios that run at once do one after the other
//	busy                  whether the machine was too busy to judge by
//	timeline              what a run went through, for who draws it
//	saved, again          a finished run's artefacts, and how it is judged by them again
//	compare, wait         arithmetic of series; waiting with a deadline
package scenario
