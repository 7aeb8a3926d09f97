package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ownSysctls gives the test sysctls of its own.
func ownSysctls(t *testing.T, values map[string]string) {
	t.Helper()
	old := sysctlRoot
	sysctlRoot = t.TempDir()
	t.Cleanup(func() { sysctlRoot = old })
	for name, value := range values {
		setSysctl(t, name, value)
	}
}

func setSysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(sysctlPath(name)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sysctlPath(name), []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func sysctl(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(sysctlPath(name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestSysctlsArePutBack(t *testing.T) {
	ownDirs(t)
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	ownSysctls(t, map[string]string{"kernel.panic": "0", "vm.overcommit_memory": "0", "vm.swappiness": "60"})
	if err := remember(); err != nil {
		t.Fatal(err)
	}
	setSysctl(t, "kernel.panic", "10")        // kubelet
	setSysctl(t, "vm.overcommit_memory", "1") // kubelet
	setSysctl(t, "vm.swappiness", "10")       // an administrator
	// A run that was killed; the next one starts before anything was put back.
	if err := remember(); err != nil {
		t.Fatal(err)
	}
	if err := putBack(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"kernel.panic": "0", "vm.overcommit_memory": "0", "vm.swappiness": "10"} {
		if got := sysctl(t, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if _, err := os.Stat(recordPath()); err == nil {
		t.Error("the record stays after it was used")
	}
	setSysctl(t, "kernel.panic", "5") // an administrator, later
	if err := putBack(); err != nil || sysctl(t, "kernel.panic") != "5" {
		t.Errorf("without a record: %v, kernel.panic %s", err, sysctl(t, "kernel.panic"))
	}
}

func TestRecordOfAnotherBootIsDropped(t *testing.T) {
	ownDirs(t)
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	ownSysctls(t, map[string]string{"kernel.panic": "10"})
	if err := os.WriteFile(recordPath(), []byte(`{"bootID": "another", "sysctl": {"kernel.panic": "0"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := putBack(); err != nil || sysctl(t, "kernel.panic") != "10" {
		t.Errorf("%v, kernel.panic %s, want what this boot set", err, sysctl(t, "kernel.panic"))
	}
	if err := os.WriteFile(recordPath(), []byte(`{"boot`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := putBack(); err == nil || !strings.Contains(err.Error(), recordPath()) {
		t.Errorf("half a record: %v, want an error that names it", err)
	}
	_ = os.Remove(recordPath())
}
