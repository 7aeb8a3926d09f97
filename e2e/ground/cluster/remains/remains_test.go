package remains

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/engine"
)

const testTimeout = 30 * time.Second

// scratch is the private directory of a cluster of the test's own.
func scratch(t *testing.T) (name, dir string) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir()) // root's is fixed
	name = fmt.Sprintf("test-%d-%s", os.Getpid(), t.Name())
	dir, err := engine.Scratch(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return name, dir
}

// long starts a command that goes on until it is ended.
func long(t *testing.T, command string, args ...string) (ended <-chan error) {
	t.Helper()
	cmd := exec.Command(command, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return done
}

func TestTheKindOfAKilledRunIsEndedAndNoOther(t *testing.T) {
	name, dir := scratch(t)
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	// Somebody else's, whose command line says all that ours does.
	link := filepath.Join(t.TempDir(), "kind")
	if err := os.WriteFile(link, []byte("#!/bin/sh\nsleep 60; : \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	other := long(t, link, "create", "cluster", "--name", name)

	command, err := Kind(dir, sleep)
	if err != nil {
		t.Fatal(err)
	}
	ours := long(t, command, "60")
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(filepath.Join(dir, kindProcess)); err == nil && len(b) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("kind leaves no word of its process")
		}
	}
	if err := RemoveDir(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ours:
	case <-time.After(testTimeout):
		t.Error("kind goes on")
	}
	select {
	case <-other:
		t.Error("somebody else's kind was ended")
	case <-time.After(300 * time.Millisecond):
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}

func TestOnlyTheDirectoryOfTheLockInHandIsRemoved(t *testing.T) {
	name, _ := scratch(t)
	neighbour, err := engine.Scratch(name + "-other")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(neighbour) })
	if err := RemoveDir(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(neighbour); err != nil {
		t.Errorf("another cluster's directory is gone: %v", err)
	}
}
