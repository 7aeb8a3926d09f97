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

// ownEngine starts an engine of ours in directories of the test's own.
func ownEngine(t *testing.T) *Engine {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "starting a Docker engine needs root")
	}
	if _, err := exec.LookPath("dockerd"); err != nil {
		skip(t, "dockerd is not installed: make deps")
	}
	dir, err := os.MkdirTemp("", "eng") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	oldRun, oldState := runDir, stateDir
	runDir, stateDir = filepath.Join(dir, "run"), filepath.Join(dir, "state")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := errors.Join(Stop(ctx), os.RemoveAll(dir)); err != nil {
			t.Errorf("clean up: %v", err)
		}
		runDir, stateDir = oldRun, oldState
	})
	runtime := filepath.Join(dir, "bounded-runtime")
	if out, err := exec.Command("go", "build", "-o", runtime, "../../cmd/bounded-runtime").CombinedOutput(); err != nil {
		t.Fatalf("build the runtime: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	e, err := Start(ctx, runtime)
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

// chains lists the firewall chains of Docker.
func chains(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "iptables-save | grep DOCKER || true").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// left lists what of the engine in runDir is still there.
func left(t *testing.T) (found []string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		pid, _ := strconv.Atoi(filepath.Base(p))
		if pid != os.Getpid() && mentions(pid, runDir) {
			found = append(found, p)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, runDir) || strings.Contains(line, stateDir) {
			found = append(found, line)
		}
	}
	if _, err := os.Stat(runDir); err == nil {
		found = append(found, runDir)
	}
	return found
}

func TestOwnEngineLeavesNothing(t *testing.T) {
	e := ownEngine(t)
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if pid := ownPID(); pid == 0 {
		t.Fatal("our engine has no process id")
	}
	if found, err := Find(ctx); err != nil || !found.Own || found.Version != e.Version {
		t.Errorf("Find = %+v, %v, want our engine", found, err)
	}
	if chains(t) == "" {
		t.Error("the engine has no firewall chains: what removes them is not tested here")
	}
	if err := Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if found := left(t); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
	// Another engine, of another package's tests, keeps them and removes them in its turn.
	for {
		running, err := enginesRunning()
		if err != nil {
			t.Fatal(err)
		}
		found := chains(t)
		if running > 0 || found == "" {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("firewall chains left behind:\n%s", found)
		case <-time.After(poll):
		}
	}
}

func TestStopAfterTheEngineWasKilled(t *testing.T) {
	ownEngine(t)
	process, err := os.FindProcess(ownPID())
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	if err := Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if found := left(t); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
}

func TestPIDFileOfAnotherProcessIsNotOurs(t *testing.T) {
	old := runDir
	runDir = t.TempDir()
	defer func() { runDir = old }()
	if err := os.WriteFile(ownPIDFile(), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid := ownPID(); pid != 0 {
		t.Errorf("ownPID = %d, the test's own process", pid)
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	lock, err := Acquire("test-" + strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(lock.file.Name())
	_, err = Acquire("test-" + strconv.Itoa(os.Getpid()))
	if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second Acquire: %v, want ErrBusy with this process's id", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	again, err := Acquire("test-" + strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Fatalf("Acquire after Release: %v", err)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
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
			e, err := answer(t.Context(), "")
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if err == nil && e.Version != "20.10.24" {
				t.Errorf("version %q", e.Version)
			}
		})
	}
}
