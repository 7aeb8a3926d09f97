// Package host checks this machine for what the suite needs, and installs what is missing.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
)

// ErrMissing is the error of a requirement that a person has to meet.
var ErrMissing = errors.New("this machine lacks something")

// MinDisk is the free space that the images, the cluster and the Go cache need, in bytes.
const MinDisk = 15 << 30

// installLock is held while packages are installed.
const installLock = "packages"

// requirement is a command and the Debian package that has it.
type requirement struct{ path, pkg string }

// Purpose says what this machine is to be ready for, besides building images from source.
type Purpose struct {
	Engine bool // to start a Docker engine
	Checks bool // to run the tests and the linters
}

var (
	engineNeeds = []requirement{
		{"dockerd", "docker.io"}, {"docker", "docker.io"}, {"containerd", "containerd"}, {"runc", "runc"}, {"iptables", "iptables"},
	}
	buildNeeds = []requirement{
		{"gcc", "gcc"}, {"/usr/include/stdlib.h", "libc6-dev"}, {"/usr/include/seccomp.h", "libseccomp-dev"},
		{"pkg-config", "pkg-config"}, {"mmdebstrap", "mmdebstrap"},
	}
	// clang-format by its version: each lays lines out a little differently
	checkNeeds = []requirement{{"strace", "strace"}, {"nft", "nftables"}, {"shellcheck", "shellcheck"}, {"clang-format-14", "clang-format-14"}}
)

func (p Purpose) needs() []requirement {
	needs := slices.Clone(buildNeeds)
	if p.Engine {
		needs = append(needs, engineNeeds...)
	}
	if p.Checks {
		needs = append(needs, checkNeeds...)
	}
	return needs
}

// Ensure installs, as root on Debian and Ubuntu, the packages that are missing;
// elsewhere the error names them and wraps ErrMissing. Output of apt goes to log.
func Ensure(ctx context.Context, purpose Purpose, log io.Writer, say func(string, ...any)) error {
	needs := purpose.needs()
	packages := missing(needs)
	if len(packages) == 0 {
		return nil
	}
	list := strings.Join(packages, " ")
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("%w: install these (names as in Debian 12), then run the same again: %s", ErrMissing, list)
	}
	say("install %s", list)
	lock, err := engine.Acquire(installLock)
	if err != nil {
		return err
	}
	defer lock.Release()
	dir, err := engine.Scratch(installLock)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := install(ctx, dir, packages, log); err != nil {
		return err
	}
	if still := missing(needs); len(still) > 0 {
		return fmt.Errorf("%w: apt-get installed nothing that has what is expected of %s", ErrMissing, strings.Join(still, " "))
	}
	return nil
}

// Missing returns the packages that Ensure would install, or ask for.
func Missing(purpose Purpose) []string { return missing(purpose.needs()) }

// missing returns the packages of the needs that this machine does not meet.
func missing(needs []requirement) []string {
	var packages []string
	seen := map[string]bool{}
	for _, n := range needs {
		_, err := os.Stat(n.path)
		if !strings.HasPrefix(n.path, "/") {
			_, err = exec.LookPath(n.path)
		}
		if err != nil && !seen[n.pkg] {
			seen[n.pkg] = true
			packages = append(packages, n.pkg)
		}
	}
	return packages
}

// CheckDisk returns an error that wraps ErrMissing if the file system of dir has less than
// MinDisk free.
func CheckDisk(dir string) error { return checkDisk(dir, MinDisk) }

func checkDisk(dir string, want uint64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if free := fs.Bavail * uint64(fs.Bsize); free < want {
		return fmt.Errorf("%w: %s has %.1f GB free, %.1f GB are needed: free some space or run `make distclean`",
			ErrMissing, dir, float64(free)/(1<<30), float64(want)/(1<<30))
	}
	return nil
}
