package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// removeChains deletes the firewall chains that a stopped engine leaves, but only
// when no other engine runs that may have made or may use them.
func removeChains(ctx context.Context) error {
	if running, err := enginesRunning(); err != nil || running > 0 {
		return err
	}
	var errs []error
	for _, command := range []string{"iptables", "ip6tables"} {
		if _, err := exec.LookPath(command); err != nil {
			continue
		}
		for _, table := range []string{"filter", "nat"} {
			errs = append(errs, removeChainsOf(ctx, command, table))
		}
	}
	return errors.Join(errs...)
}

// enginesRunning counts the Docker engines of this machine. One that has ended and
// waits for its parent to notice has no command line.
func enginesRunning() (n int, err error) {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		line, err := os.ReadFile(name)
		command, _, _ := strings.Cut(string(line), "\x00")
		if err == nil && filepath.Base(command) == "dockerd" {
			n++
		}
	}
	return n, err
}

func removeChainsOf(ctx context.Context, command, table string) error {
	out, err := exec.CommandContext(ctx, command, "-t", table, "-S").Output()
	if err != nil {
		return nil // a table that the kernel does not have holds no chain
	}
	var chains []string
	hadForward := false
	run := func(args ...string) error {
		args = append([]string{"-w", "-t", table}, args...)
		if text, err := exec.CommandContext(ctx, command, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", command, strings.Join(args, " "), err, lastLine(string(text)))
		}
		return nil
	}
	var errs []error
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		switch {
		case fields[0] == "-N" && strings.HasPrefix(fields[1], "DOCKER"):
			chains = append(chains, fields[1])
		case fields[0] == "-A" && !strings.HasPrefix(fields[1], "DOCKER") && jumpsToDocker(fields):
			errs = append(errs, run(append([]string{"-D"}, fields[1:]...)...))
			hadForward = hadForward || fields[1] == "FORWARD"
		}
	}
	for _, chain := range chains {
		errs = append(errs, run("-F", chain))
	}
	for _, chain := range chains {
		errs = append(errs, run("-X", chain))
	}
	if hadForward { // the engine sets the policy to DROP together with its jumps
		errs = append(errs, run("-P", "FORWARD", "ACCEPT"))
	}
	return errors.Join(errs...)
}

func jumpsToDocker(fields []string) bool {
	for i, f := range fields[:len(fields)-1] {
		if f == "-j" && strings.HasPrefix(fields[i+1], "DOCKER") {
			return true
		}
	}
	return false
}
