package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

// command is one subcommand.
type command struct {
	help string
	run  func(ctx context.Context, args []string) (int, error)
}

var commands map[string]command

func init() {
	commands = map[string]command{
		"deps":        {"install what is missing from the distribution", deps},
		"abort":       {"run a scenario that is aborted in its fault, and see the fault taken back", abortRun},
		"compare":     {"say which values have moved among the runs that were kept", compare},
		"images":      {"pull or build every image", images},
		"mesh-up":     {"make a mesh to play with, in the cluster of up, which is made if there is none", meshUp},
		"mesh-status": {"show the mesh of mesh-up: e2e mesh-status [-watch]", meshStatus},
		"mesh-down":   {"remove the mesh of mesh-up", meshDown},
		"fault":       {"inject a fault in the mesh of mesh-up, and tell what happens: e2e fault [-for 20s] NAME", faultByHand},
		"mutants":     {"run scenarios with defects on purpose in the node: e2e mutants [-only names]", mutants},
		"push":        {"build the project's images and bring them to a registry: e2e push HOST/PREFIX", push},
		"run":         {"run the suite: e2e run [-dry] [-profile full|quick|nightly] [suite flags]; -dry only says what would run", runSuite},
		"up":          {"create the cluster and leave it running", up},
		"doctor":      {"see whether a cluster, or this machine, is as the suite needs it: e2e doctor [-kubeconfig FILE] [-images HOST/PREFIX]", examine},
		"down":        {"remove the cluster of up", down},
		"clean":       {"remove what any earlier run left", clean},
		"report":      {"make the HTML report of a run again: e2e report [DIRECTORY]", writeReport},
		"controls":    {"run scenarios in which the mesh cannot pass: e2e controls [-cells N,O,E,H] [-only scenarios]", controls},
		"new":         {"write the two files of a new scenario: e2e new NAME", newScenario},
		"triage":      {"pack what a bug report about a run needs, without secrets: e2e triage [DIRECTORY]", pack},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	code := dispatch(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func dispatch(ctx context.Context, args []string) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage()
		return exitUsage
	}
	c, ok := commands[args[0]]
	if !ok {
		fmt.Fprintf(os.Stderr, "e2e: unknown command %q\n", args[0])
		usage()
		return exitUsage
	}
	code, err := c.run(ctx, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitUsage
	case ctx.Err() != nil && err != nil:
		fmt.Fprintln(os.Stderr, "e2e: interrupted; everything that was started has been removed")
		return exitFailed
	case err != nil:
		fmt.Fprintln(os.Stderr, "e2e:", err)
		if code == 0 {
			code = exitFailed
		}
	}
	return code
}

func usage() {
	names := make([]string, 0, len(commands))
	for n := range commands {
		names = append(names, n)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "  %-11s %s\n", n, commands[n].help)
	}
	fmt.Fprintf(os.Stderr, "usage: e2e COMMAND\n%s", b.String())
}
