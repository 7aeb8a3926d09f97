package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// added is the spec file of a scenario that nothing but itself and its fixture knows of.
// A variable makes it defective: what such a file could get wrong.
const added = `package e2e

import (
	"os"

	. "github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

var _ = describe(scenario.Scenario{
	Name: "added", Title: "An added scenario", Fixtures: []string{"added.yaml"},
}, func(sc *scenario.Scenario) {
	criterion(sc, "S9.1", "it holds", "yes", func(SpecContext) {})
	switch os.Getenv("E2E_DEFECT") {
	case "plain":
		It("is in no registry", func() {})
	case "labelled":
		It("takes another's label", Label("S9.1"), func() {})
	case "twice":
		criterion(sc, "S9.1", "it holds again", "yes", func(SpecContext) {})
	}
})

var _ = os.Getenv("E2E_DEFECT") == "outside" && Describe("outside", func() { It("is in no scenario", Label("S1.1"), func() {}) })
`

// suiteWith compiles the suite with further files, by their paths in the project.
func suiteWith(t *testing.T, project string, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	for path, content := range files {
		source := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(source, content, 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(project, path)] = source
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "e2e.test")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", list, "-o", binary, "./e2e")
	cmd.Dir = project
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	return binary
}

// A scenario is two files: its spec and its fixture. Everything else knows of it from the
// registry, and what is not in the registry is refused before anything is built.
func TestAScenarioIsTwoFiles(t *testing.T) {
	project, err := projectRoot()
	if err != nil {
		t.Fatal(err)
	}
	fixture, err := os.ReadFile(filepath.Join(project, "fixtures", "latency.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	further := made(t, "slow-disk") // what make e2e-new writes is a scenario as well
	further["e2e/added_test.go"], further["fixtures/added.yaml"] = []byte(added), fixture
	binary := suiteWith(t, project, further)
	ask := func(defect string, args ...string) (stdout, stderr string, code int) {
		t.Helper()
		var out, errOut strings.Builder
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = filepath.Join(project, "e2e"), &out, &errOut
		cmd.Env = append(os.Environ(), "E2E_DEFECT="+defect)
		if err := cmd.Run(); cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
	}
	out, errOut, code := ask("", "-scenarios")
	var all []struct {
		Name     string
		Criteria []string
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		t.Fatalf("-scenarios: exit code %d, %v: %s%s", code, err, out, errOut)
	}
	i := slices.IndexFunc(all, func(s struct {
		Name     string
		Criteria []string
	}) bool {
		return s.Name == "added"
	})
	if i < 0 || !slices.Equal(all[i].Criteria, []string{"S9.1", "F1"}) {
		t.Errorf("the added scenario is not in the registry as it is: %v", all)
	}
	if _, errOut, code := ask("", "-check", "-ginkgo.label-filter=added"); code != 0 {
		t.Errorf("-check: exit code %d: %s", code, errOut)
	}
	if _, errOut, code := ask("", "-check", "-ginkgo.label-filter=slow-disk && X1.1"); code != 0 {
		t.Errorf("-check of a scenario that was just made: exit code %d: %s", code, errOut)
	}
	for defect, c := range map[string]struct{ filter, want string }{
		"plain":    {"", `"An added scenario is in no registry" is no criterion of a scenario`},
		"labelled": {"", `"An added scenario takes another's label" is no criterion of a scenario`},
		"outside":  {"S1.1", `"outside is in no scenario" is no criterion of a scenario`},
		"twice":    {"", "scenario added: the id S9.1 is taken"},
		"none":     {"S7.7", `no spec is selected (-ginkgo.label-filter "S7.7")`},
		"no label": {"S1.1 &&", `-ginkgo.label-filter "S1.1 &&": is no label filter`},
	} {
		args := []string{"-check"}
		if c.filter != "" {
			args = append(args, "-ginkgo.label-filter="+c.filter)
		}
		_, errOut, code := ask(defect, args...)
		if code != exitUsage || !strings.HasPrefix(errOut, "e2e: ") || !strings.Contains(errOut, c.want) || strings.Count(errOut, "\n") != 1 {
			t.Errorf("%s: exit code %d, want one line with %q: %s", defect, code, c.want, errOut)
		}
	}
}
