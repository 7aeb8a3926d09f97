package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// TestTheLogBeforeIsKept also when commands that prepare nothing have come since.
func TestTheLogBeforeIsKept(t *testing.T) {
	dir := t.TempDir()
	for _, says := range []string{"older", "built the node", "", ""} {
		log, err := openLog(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.WriteString(says); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{report.Prepared: "", report.PreparedBefore: "built the node"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s has %q, want %q: %v", name, b, want, err)
		}
	}
}
