package engine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestGroupsAreRemoved makes groups within one of our name, as an engine does for its containers, with a process in the innermost,
// and sees them go with it, and no others. Where version 2 is mounted they have limits.
func TestGroupsAreRemoved(t *testing.T) {
	if os.Geteuid() != 0 {
		skip(t, "control groups need root")
	}
	root := "/sys/fs/cgroup/pids" // v1
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
	}
	old := cgroupName
	t.Cleanup(func() { cgroupName = old })
	cgroupName = fmt.Sprintf("x0tta6bl4-test-groups-%d", os.Getpid())
	ours, others := filepath.Join(root, cgroupName), filepath.Join(root, cgroupName+"-other")
	inner := filepath.Join(ours, "a", "b")
	for _, dir := range []string{ours, filepath.Dir(inner), inner, others} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			skip(t, "needs a control group of its own: "+err.Error())
		}
		t.Cleanup(func() { _ = os.Remove(dir) }) // where the test failed
	}
	for file, limit := range map[string]string{"cpu.max": "50000 100000", "memory.max": "67108864", "pids.max": "100"} {
		if _, err := os.Stat(filepath.Join(ours, file)); err != nil {
			if os.Getenv("KERNEL_TEST") != "" {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(filepath.Join(ours, file), []byte(limit), 0); err != nil {
			t.Fatal(err)
		}
	}
	process := exec.Command("sleep", "600")
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		_ = process.Process.Kill() // it may be gone
		_ = process.Wait()         // it was killed
	}
	t.Cleanup(end)
	if err := os.WriteFile(filepath.Join(inner, "cgroup.procs"), []byte(strconv.Itoa(process.Process.Pid)), 0); err != nil {
		t.Fatal(err)
	}

	// While the process lives, its group stays, and that is an error.
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := removeGroups(ctx); err == nil {
		t.Error("a group with a process in it was removed")
	}
	if _, err := os.Stat(inner); err != nil {
		t.Error(err)
	}
	end()
	if err := removeGroups(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(ours); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", ours, err)
	}
	if err := os.Remove(others); err != nil {
		t.Errorf("a group of somebody else: %v", err)
	}
}
