package engine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// bystander starts a process that has nothing to do with ours, whatever its command line says.
func bystander(t *testing.T, text string) (pid int, ended <-chan error) {
	t.Helper()
	cmd := exec.Command("sh", "-c", "sleep 60; : "+text)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return cmd.Process.Pid, done
}

// survives reports whether the process goes on for a while after it may have been asked to end.
func survives(ended <-chan error) bool {
	select {
	case <-ended:
		return false
	case <-time.After(3 * poll):
		return true
	}
}

func TestOnlyTheRecordedProcessIsEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "process")
	pid, ended := bystander(t, "")
	started, err := startTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"the id was reused":       fmt.Sprintf("%d %d\n", pid, started-1),
		"half a file":             fmt.Sprintf("%d", pid),
		"an empty file":           "",
		"the first process":       "1 0\n",
		"every process":           fmt.Sprintf("-1 %d\n", started),
		"a process that is gone":  "4194303 1\n",
		"no number where one was": "pid start\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := EndProcess(t.Context(), file); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if !survives(ended) {
			t.Fatalf("%s: a process that is not ours was ended", what)
		}
	}
	stamp, err := stampProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(stamp), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := EndProcess(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(testTimeout):
		t.Error("the recorded process goes on")
	}
}

func TestStopLeavesWhoNamesOurDirectories(t *testing.T) {
	ownDirs(t)
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		t.Fatal(err)
	}
	// An editor, a grep, a log viewer on our files.
	_, ended := bystander(t, filepath.Join(runDir, "docker")+" "+ownSocket())
	if err := Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !survives(ended) {
		t.Error("Stop ended a process because its command line names our directory")
	}
}
