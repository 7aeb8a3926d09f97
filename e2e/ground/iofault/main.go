package iofault

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"
)

// Exit statuses.
const (
	success = 0
	failure = 1
	misused = 2
)

// options are those of the command.
type options struct {
	path    string
	power   bool
	verbose slog.Level
}

func parseOptions(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("toda", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.path, "path", "", "the `volume` on which to inject faults")
	verbose := flags.String("verbose", "info", "how much to log: `error, warn, info, debug or trace`")
	flags.BoolVar(&o.power, "power", false, "remember what is not durable, so that the method lose_power can take it")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("toda takes no argument %q", flags.Arg(0))
	}
	if o.path == "" {
		return o, errors.New("toda needs --path VOLUME")
	}
	if *verbose == "trace" {
		*verbose = "debug"
	}
	if err := o.verbose.UnmarshalText([]byte(strings.ToUpper(*verbose))); err != nil {
		return o, fmt.Errorf("--verbose: %w", err)
	}
	return o, nil
}

// Main is the command: what Chaos Mesh's daemon calls toda. It returns the exit status.
func Main(args []string, stdin io.Reader, stdout io.WriteCloser, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	if err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, err)
		}
		return misused
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: o.verbose}))
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE) // who reads the log may be gone before us
	switch {
	case os.Getenv(serverVariable) != "":
		err = serve(ctx, o, log)
	case os.Getenv(namespaceVariable) != "":
		err = enter(args)
	default:
		err = guard(ctx, o, stdin, stdout, log)
	}
	if err != nil {
		log.Error("toda failed", "error", err)
		return failure
	}
	return success
}
