package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/control"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
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
	criterion(sc, "S9.1", "it heals", "yes", scenario.Heals().Because("it says so"), func(SpecContext) {})
	switch os.Getenv("E2E_DEFECT") {
	case "plain":
		It("is in no registry", func() {})
	case "labelled":
		It("takes another's label", Label("S9.1"), func() {})
	case "twice":
		criterion(sc, "S9.1", "it heals again", "yes", scenario.Heals(), func(SpecContext) {})
	case "undeclared":
		criterion(sc, "S9.2", "it claims nothing", "yes", scenario.Claims{}, func(SpecContext) {})
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
	var all []planned // as the runner reads it
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 {
		t.Fatalf("-scenarios: exit code %d, %v: %s%s", code, err, out, errOut)
	}
	i := slices.IndexFunc(all, func(p planned) bool { return p.Name == "added" })
	if i < 0 || !slices.Equal(all[i].Criteria, []string{"S9.1", "F1"}) {
		t.Fatalf("the added scenario is not in the registry as it is: %v", all)
	}
	addedIsControlled(t, all[i])
	for _, b := range breakages {
		if k := slices.IndexFunc(all, func(p planned) bool { return p.Name == b.scenario }); k < 0 || len(control.Scenarios(all[k].Controls, control.Harness)) == 0 {
			t.Errorf("%s: nothing is judged of %s", b.name, b.scenario)
		}
	}
	// Nor does any table of the suite's own tests have to know of it.
	if out, errOut, code := ask("", "-test.short", "-test.v", "-test.run=^TestRegistry$/^controls$"); code != 0 || !strings.Contains(out, "--- PASS: TestRegistry/controls ") {
		t.Errorf("the registry's tests: exit code %d: %s%s", code, out, errOut)
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
		// What claims nothing would have to do nothing in any control.
		"undeclared": {"", "scenario added: criterion S9.2 does not say what it claims"},
		"none":       {"S7.7", `no spec is selected (-ginkgo.label-filter "S7.7")`},
		"no label":   {"S1.1 &&", `-ginkgo.label-filter "S1.1 &&": is no label filter`},
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

// addedIsControlled sees that the controls know what to want of the added scenario by what its spec says.
func addedIsControlled(t *testing.T, added planned) {
	t.Helper()
	for cell, want := range map[control.Cell][]control.Must{ // of S9.1, and that nothing is left behind
		control.NoFault: {control.Fail, control.Pass},
		control.LoopOff: {control.Fail, control.Nothing},
		control.Empty:   {control.Invalidate, control.Nothing}, // its fault selects by labels
		control.Harness: {control.Spare, control.Nothing},
	} {
		var got []control.Must
		for _, r := range added.Controls {
			got = append(got, r.In(cell).Must)
		}
		if !slices.Equal(got, want) {
			t.Errorf("cell %s wants %q of %v, not %q", cell, got, added.Controls, want)
		}
	}
	passed := report.Criterion{ID: "S9.1", Verdict: report.Passed}
	run := &report.Summary{Mapek: "off", Scenarios: []report.Scenario{{Name: added.Name, Criteria: []report.Criterion{passed}}}}
	if r := control.Judge(control.LoopOff, "", run, added.Controls); len(r) != 1 || r[0].Unsound != "passed" || !strings.HasSuffix(r[0].Why, ": it says so") {
		t.Errorf("a criterion of healing that passes without the loop: %+v", r)
	}
}
