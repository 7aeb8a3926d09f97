// Command e2e is what make calls: it gets this machine ready, runs the suite, and
// leaves nothing behind. Exit codes: 0 done or all passed, 1 a criterion or a step failed,
// 2 usage or a missing requirement, 3 invalid (nothing can be concluded), 4 a scenario was
// aborted and nothing failed, 5 a control without faults.
//
// # Map
//
//	main, run, kept       subcommands; a run of the suite; the cluster that stays
//	plan                  what a run would do, and how long it would take
//	new                   the files of a new scenario
//	play                  a mesh to play with, and faults by hand
//	images, push          requirements, engine and images
//	doctor                what keeps the suite from running in a cluster
//	controls, breakage, mutants, abort
//	                      runs in which the mesh cannot pass, the harness breaks, or
//	                      a scenario is aborted
//	compare, finished, report
//	                      what is made of runs that are over
package main
