// Command meshnode is a node of the x0tta6bl4 mesh, its certificate authority,
// its recording client, a tool to look at a node and one to attack it.
//
// Exit codes: 0 done, 1 failed, 2 usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set at build time (-ldflags "-X main.version=…").
var version = ""

// errUsage marks errors of the command line.
var errUsage = errors.New("usage")

// command is a subcommand. run returns an error that wraps errUsage for wrong
// arguments.
type command struct {
	name, summary string
	run           func(ctx context.Context, args []string, out io.Writer) error
}

var commands = []command{
	{"run", "run a mesh node", runNode},
	{"ca", "run the mesh's certificate authority", runCA},
	{"client", "write and read records, keep client sessions, and record the history", runClient},
	{"chaos", "attack: corrupt signatures on their way out, or inject bad ones", runChaos},
	{"status", "print a node's peers, sessions, routes and incidents", runStatus},
	{"version", "print the version", runVersion},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) == 0 {
		usage(errOut)
		return 2
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		usage(out)
		return 0
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], out)
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.Is(err, errUsage):
			fmt.Fprintf(errOut, "meshnode %s: %v\n", c.name, err)
			return 2
		default:
			fmt.Fprintf(errOut, "meshnode %s: %v\n", c.name, err)
			return 1
		}
	}
	fmt.Fprintf(errOut, "meshnode: unknown command %q; see meshnode --help\n", args[0])
	return 2
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage: meshnode COMMAND [flags]")
	fmt.Fprintln(w)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w, "\nmeshnode COMMAND --help shows the flags and an example. Every flag --some-name can")
	fmt.Fprintln(w, "also be given as the variable MESH_SOME_NAME; the command line wins.")
}

func runVersion(_ context.Context, args []string, out io.Writer) error {
	f := newFlags("version", "meshnode version", out)
	if err := f.parse(args); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, versionString())
	return err
}

// versionString is the release's version, else what the build says of itself.
func versionString() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return info.Main.Version
}
