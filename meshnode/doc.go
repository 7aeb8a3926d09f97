// Command meshnode is a node of the x0tta6bl4 mesh, its certificate authority,
// its recording client, and a tool to look at a node.
//
// Exit codes: 0 done, 1 failed, 2 usage.
//
// # Map
//
//	main, run, ca, client, status   the subcommands
//	serve, kernel                   servers, and the verifier as the node sees it
//	await                           a node that was there before, and still ends
package main
