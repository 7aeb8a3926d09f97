package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestControlGroupsHere holds the readings against a control group of version 2: what they say can be limited, a group of this
// machine limits.
func TestControlGroupsHere(t *testing.T) {
	lacks := func(what any) {
		t.Helper()
		if os.Getenv("KERNEL_TEST") != "" {
			t.Fatal(what)
		}
		t.Skip("needs control groups of version 2, which make test-kernel has: ", what)
	}
	const root = "/sys/fs/cgroup"
	enabled, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
	if err != nil {
		lacks(err)
	}
	r, err := read("/proc", root)
	if err != nil {
		t.Fatal(err)
	}
	group := filepath.Join(root, fmt.Sprintf("mesh%d-readings", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		lacks(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(group); err != nil {
			t.Error(err)
		}
	})
	for controller, file := range map[string]string{"cpu": "cpu.max", "memory": "memory.max", "pids": "pids.max"} {
		if !slices.Contains(strings.Fields(string(enabled)), controller) {
			lacks("groups of this machine do not limit " + controller)
		}
		_, err := os.Stat(filepath.Join(group, file))
		if read := slices.Contains(r.controllers, controller); read != (err == nil) {
			t.Errorf("%s is read as %v, and a group of it says %v", controller, read, err)
		}
	}
}
