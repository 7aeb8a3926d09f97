package host

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// serviceTools are what a package's scripts enable and start services with (deb-systemd-helper(1p), invoke-rc.d(8)).
var serviceTools = []string{
	"/usr/bin/deb-systemd-helper", "/usr/bin/deb-systemd-invoke", "/usr/sbin/invoke-rc.d", "/usr/sbin/update-rc.d", "/usr/sbin/service",
}

// quietly runs its arguments where the service tools do nothing: a mount namespace in which its first argument lies over
// each of them. No policy-rc.d is written, which would keep a start away but not an enabling, and which a
// run that is killed would leave.
const quietly = `set -e
stub=$1; shift
for tool in $TOOLS; do
	if test -e "$tool"; then mount --bind "$stub" "$tool"; fi
done
exec "$@"`

// install installs packages with apt. Nothing is removed, replaced or upgraded for them, and no service is enabled or
// started. dir is for temporary files, and output goes to log.
func install(ctx context.Context, dir string, packages []string, log io.Writer) error {
	stub := filepath.Join(dir, "nothing")
	if err := os.WriteFile(stub, []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		return err
	}
	apt := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", quietly, "sh", stub, "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1", "TOOLS="+strings.Join(serviceTools, " "))
		cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = log, io.MultiWriter(log, &stderr)
		err := cmd.Run()
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
		}
		return nil
	}
	// One source of many that does not answer makes this fail, while the others are brought up to date: what
	// counts is whether the packages can be had.
	stale := apt("update", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20")
	if ctx.Err() != nil {
		return stale
	}
	err := apt(append([]string{"install", "-y", "--no-install-recommends", "--no-remove", "--no-upgrade",
		"-o", "Dpkg::Options::=--force-confold"}, packages...)...)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case strings.Contains(err.Error(), "remove is disabled"):
		return fmt.Errorf("%w: %s would take other packages away (an engine from another source?): use what you have by starting it, or remove it yourself: %w",
			ErrMissing, strings.Join(packages, " "), err)
	case stale != nil:
		return fmt.Errorf("%w: %w; before that, %w", ErrMissing, err, stale)
	default:
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
}
