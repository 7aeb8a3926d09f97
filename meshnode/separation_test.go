package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// attackPackages are where the code is that attacks nodes.
var attackPackages = []string{
	"github.com/x0tta6bl4/mesh/meshnode/internal/chaos",
	"github.com/x0tta6bl4/mesh/bpf/corruptor",
}

// attackTraces are what such code leaves in a binary: the names of its packages,
// which the table of functions holds, and of the eBPF program that it embeds.
var attackTraces = append([]string{"corrupt_signatures"}, attackPackages...)

// TestNoAttackCodeInTheNode looks into the two binaries: the node's holds nothing of
// what attacks nodes, and meshchaos, by which the check itself is checked, does.
func TestNoAttackCodeInTheNode(t *testing.T) {
	for pkg, attacks := range map[string]bool{".": false, "./cmd/meshchaos": true} {
		deps, err := exec.CommandContext(t.Context(), "go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatalf("go list: %v", err)
		}
		for _, attack := range attackPackages {
			found := false
			for _, d := range strings.Fields(string(deps)) {
				found = found || d == attack || strings.HasPrefix(d, attack+"/")
			}
			if found != attacks {
				t.Errorf("%s depends on %s: %v", pkg, attack, found)
			}
		}
		binary := filepath.Join(t.TempDir(), "binary")
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, pkg).CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", pkg, err, out)
		}
		content, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range attackTraces {
			if found := bytes.Contains(content, []byte(trace)); found != attacks {
				t.Errorf("the binary of %s holds %q: %v", pkg, trace, found)
			}
		}
	}
}
