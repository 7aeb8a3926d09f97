// Package command is the command line that the project's binaries share:
// subcommands with flags that variables mirror, and exit codes 0 done, 1 failed,
// 2 usage.
package command

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

// ErrUsage marks errors of the command line.
var ErrUsage = errors.New("usage")

// Command is a subcommand. Run returns an error that wraps ErrUsage for wrong
// arguments.
type Command struct {
	Name, Summary string
	Run           func(ctx context.Context, args []string, out io.Writer) error
}

// Binary is a binary with its subcommands.
type Binary struct {
	Name     string
	Commands []Command
}

// Main runs the subcommand of the process' arguments until it ends or is told to
// end, and exits.
func (b Binary) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := b.Run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Run runs the subcommand that args begin with and returns its exit code.
func (b Binary) Run(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) == 0 {
		b.usage(errOut)
		return 2
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		b.usage(out)
		return 0
	}
	for _, c := range b.Commands {
		if c.Name != args[0] {
			continue
		}
		err := c.Run(ctx, args[1:], out)
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return 0
		case errors.Is(err, ErrUsage):
			fmt.Fprintf(errOut, "%s %s: %v\n", b.Name, c.Name, err)
			return 2
		default:
			fmt.Fprintf(errOut, "%s %s: %v\n", b.Name, c.Name, err)
			return 1
		}
	}
	fmt.Fprintf(errOut, "%s: unknown command %q; see %s --help\n", b.Name, args[0], b.Name)
	return 2
}

func (b Binary) usage(w io.Writer) {
	fmt.Fprintf(w, "usage: %s COMMAND [flags]\n\n", b.Name)
	for _, c := range b.Commands {
		fmt.Fprintf(w, "  %-8s %s\n", c.Name, c.Summary)
	}
	fmt.Fprintf(w, "\n%s COMMAND --help shows the flags and an example. Every flag --some-name can\n", b.Name)
	fmt.Fprintln(w, "also be given as the variable MESH_SOME_NAME; the command line wins.")
}

// Version returns the release's version if it is set, else what the build says of
// itself.
func Version(set string) string {
	if set != "" {
		return set
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
