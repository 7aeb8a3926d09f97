package engine

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// testTimeout bounds what a test does with a real engine.
const testTimeout = 2 * time.Minute

// ownDirs gives the engine directories and a control group of the test's own.
func ownDirs(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "eng") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	oldRun, oldState, oldLocks, oldGroup := runDir, stateDir, locksDir, cgroupName
	runDir, stateDir, locksDir = filepath.Join(dir, "run"), filepath.Join(dir, "state"), filepath.Join(dir, "locks")
	cgroupName = "x0tta6bl4-test-" + filepath.Base(dir)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := errors.Join(Stop(ctx), os.RemoveAll(dir)); err != nil {
			t.Errorf("clean up: %v", err)
		}
		runDir, stateDir, locksDir, cgroupName = oldRun, oldState, oldLocks, oldGroup
	})
}

func needsEngine(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "starting a Docker engine needs root")
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		skip(t, "dockerd is not installed: make deps")
	}
}

// startEngine starts our engine in the directories as they are.
func startEngine(t *testing.T) *Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	e, err := startOwn(ctx, "../../..")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// skip skips with a reason, but not in CI, where nothing may be missing.
func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// inEnclosure lists the processes that share the enclosure's network, by command.
func inEnclosure(t *testing.T, pid int) (found []string) {
	t.Helper()
	network, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if n, err := os.Readlink(p + "/ns/net"); err == nil && n == network {
			command, _ := os.ReadFile(p + "/comm")
			found = append(found, strings.TrimSpace(string(command)))
		}
	}
	return found
}

// enclosurePID is the process id of the enclosure's first process.
func enclosurePID(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(ownProcess())
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ := strings.Cut(string(b), " ")
	pid, err := strconv.Atoi(id)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestAnswerTellsWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct {
		script string // of the docker command; empty: there is none
		want   error
	}{
		"answers":       {"echo 20.10.24", nil},
		"refuses":       {"echo 'Got permission denied while trying to connect to the Docker daemon socket' >&2; exit 1", ErrDenied},
		"does not run":  {"echo 'Cannot connect to the Docker daemon. Is the docker daemon running?' >&2; exit 1", ErrNone},
		"not installed": {"", ErrNone},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.script != "" {
				if err := os.WriteFile(filepath.Join(dir, "docker"), []byte("#!/bin/sh\n"+tc.script+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", dir+":/bin")
			if tc.script == "" {
				t.Setenv("PATH", dir)
			}
			e, err := answer(t.Context(), "unix:///none.sock")
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err == nil && e.Version != "20.10.24" {
				t.Errorf("version %q", e.Version)
			}
		})
	}
}
