package control

import (
	"os"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/fixtures"
)

// What matches nothing is refused by nobody before the cluster has seen it: the suite itself
// has to find out.
func TestEmptyFixtures(t *testing.T) {
	dir := t.TempDir()
	if err := EmptyFixtures(fixtures.FS, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := fault.Check(os.DirFS(dir)); err != nil {
		t.Error(err)
	}
	changed := 0
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(dir + "/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		own, err := fixtures.FS.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		selects := strings.Count(string(own), "labelSelectors:")
		if n := strings.Count(string(b), ": "+nobody+"\n"); n != selects {
			t.Errorf("%s: %d of %d selectors match nothing", e.Name(), n, selects)
		} else if n > 0 {
			changed++
		}
	}
	if changed < 8 {
		t.Errorf("%d fixtures match nothing", changed)
	}
}

// What names its pod, or brings one of its own, cannot be made to match nothing.
func TestSelects(t *testing.T) {
	for name, want := range map[string]bool{
		"latency.yaml": true, "network-partition.yaml": true, "node-crash.yaml": true, "node-crash-schedule.yaml": true, "resource-stress.yaml": true,
		"pqc-corrupt.yaml": false, "pqc-inject.yaml": false,
	} {
		b, err := fixtures.FS.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := Selects(b); got != want {
			t.Errorf("%s selects by labels: %v", name, got)
		}
	}
}
