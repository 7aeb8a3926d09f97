package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/x0tta6bl4/mesh/e2e/ground/host"
)

// examine looks at the cluster of a kubeconfig, or at that of up. Where there is neither it looks at this machine, on which a run
// makes one.
func examine(ctx context.Context, args []string) (int, error) {
	f := flag.NewFlagSet("e2e doctor", flag.ContinueOnError)
	kubeconfig := f.String("kubeconfig", "", "look at the cluster of this `file`")
	images := f.String("images", "", "the project's images come from below this `host/prefix`")
	if err := f.Parse(args); err != nil {
		return exitUsage, err
	}
	if f.NArg() > 0 {
		return exitUsage, fmt.Errorf("doctor: unexpected argument %q", f.Arg(0))
	}
	s, err := open()
	if err != nil {
		return exitFailed, err
	}
	defer s.close()
	file := *kubeconfig
	if file == "" {
		if _, err := os.Stat(s.kubeconfig()); err != nil {
			return s.machine(os.Stdout)
		}
		file = s.kubeconfig()
	}
	if file, err = filepath.Abs(file); err != nil {
		return exitFailed, err
	}
	return s.tool(ctx, "doctor", file, *images)
}

// machine says what this machine lacks for a run.
func (s *session) machine(out io.Writer) (int, error) {
	err := errors.Join(host.CheckKernel(), host.CheckMachine(), s.disks())
	if err == nil {
		fmt.Fprintln(out, "this machine has what a run needs; there is no cluster to look at: give -kubeconfig, or make cluster-up")
		return 0, nil
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintln(out, "fatal ", strings.TrimSpace(line))
	}
	return exitUsage, nil
}
