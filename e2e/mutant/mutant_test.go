package mutant

import (
	"bytes"
	"debug/buildinfo"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

const root = "../.."

func TestTable(t *testing.T) {
	if len(table) < 24 {
		t.Errorf("%d defects", len(table))
	}
	name := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	names, bugs := map[string]bool{}, map[string]bool{}
	for _, m := range table {
		switch {
		case !name.MatchString(m.Name), names[m.Name]:
			t.Errorf("%q is no name, or taken", m.Name)
		case m.Bug == "" || bugs[m.Bug]:
			t.Errorf("%s: %q says nothing new", m.Name, m.Bug)
		case m.Scenario == "", m.Criterion == "", slices.Contains(m.Also, m.Criterion):
			t.Errorf("%s is to fail %q of %q, and also %v", m.Name, m.Criterion, m.Scenario, m.Also)
		}
		names[m.Name], bugs[m.Bug] = true, true
	}
}

func TestFind(t *testing.T) {
	if all, err := Find(); err != nil || len(all) != len(table) {
		t.Errorf("%d, %v", len(all), err)
	}
	if one, err := Find("mutant_stale_page"); err != nil || len(one) != 1 || one[0].Name != "stale_page" {
		t.Errorf("%v, %v", one, err)
	}
	if _, err := Find("stale_pages"); err == nil || !strings.Contains(err.Error(), "stale_page,") {
		t.Errorf("error %v, which does not say what there is", err)
	}
}

// What is in the node is what the table says, and nothing that it does not.
func TestFilesAreGenerated(t *testing.T) {
	dir := filepath.Join(root, "meshnode/internal/mutant")
	want := Files()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := want[e.Name()]; ok && text == string(b) {
			delete(want, e.Name())
		} else if e.Name() != "mutant.go" && e.Name() != "doc.go" {
			t.Errorf("%s is not what the table makes of it: run go generate ./e2e/mutant", e.Name())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		t.Errorf("%s is missing: run go generate ./e2e/mutant", name)
	}
}

// Each constant guards something, and each cheapest test is there.
func TestDefectsAndTestsAreThere(t *testing.T) {
	var code strings.Builder
	err := filepath.WalkDir(filepath.Join(root, "meshnode"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		code.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range table {
		if !regexp.MustCompile(`\bmutant\.` + m.Const() + `\b`).MatchString(code.String()) {
			t.Errorf("%s: nothing in the node asks for mutant.%s", m.Name, m.Const())
		}
		if !hasTest(t, m.Package, m.Test) {
			t.Errorf("%s: no %s in %s", m.Name, m.Test, m.Package)
		}
	}
}

// hasTest reports whether a package, relative to the module, has a test.
func hasTest(t *testing.T, pkg, test string) bool {
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("\nfunc "+test+"(t *testing.T)")) {
			return true
		}
	}
	return false
}

// TestTheShippedBinariesHaveNone looks into the binaries: built as they are shipped they hold
// no defect, and built with one, by which the check itself is checked, they say so.
func TestTheShippedBinariesHaveNone(t *testing.T) {
	for _, c := range []struct{ pkg, tags string }{
		{"./meshnode", ""}, {"./meshnode/cmd/meshchaos", ""}, {"./meshnode", table[0].Tag()},
	} {
		binary := filepath.Join(t.TempDir(), "binary")
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-tags", c.tags, "-o", binary, c.pkg)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", c.pkg, err, out)
		}
		content, err := os.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		info, err := buildinfo.ReadFile(binary)
		if err != nil {
			t.Fatal(err)
		}
		tagged := slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool {
			return s.Key == "-tags" && strings.Contains(s.Value, TagPrefix)
		})
		seeded := c.tags != ""
		if tagged != seeded {
			t.Errorf("%s with %q: built with such a tag: %v", c.pkg, c.tags, tagged)
		}
		if found := bytes.Contains(content, []byte(Announcement)); found != seeded {
			t.Errorf("%s with %q: says that it has a defect: %v", c.pkg, c.tags, found)
		}
		for _, m := range table {
			if found := bytes.Contains(content, []byte(m.Tag())); found != (m.Tag() == c.tags) {
				t.Errorf("%s with %q holds %s: %v", c.pkg, c.tags, m.Tag(), found)
			}
		}
	}
}

func TestOutcome(t *testing.T) {
	const run = `{"Action":"run","Test":"TestX"}` + "\n"
	for name, c := range map[string]struct {
		says string
		want Outcome
	}{
		"passed":                       {run + `{"Action":"pass","Test":"TestX"}` + "\n" + `{"Action":"pass"}`, Passed},
		"failed":                       {run + `{"Action":"fail","Test":"TestX"}` + "\n" + `{"Action":"fail"}`, Failed},
		"skipped":                      {run + `{"Action":"skip","Test":"TestX"}` + "\n" + `{"Action":"pass"}`, Skipped},
		"its process died":             {run + `{"Action":"output","Test":"TestX","Output":"panic: restart\n"}` + "\n" + `{"Action":"fail"}`, Failed},
		"its time was up":              {run + `{"Action":"output","Test":"TestX","Output":"panic: test timed out after 5m0s\n"}` + "\n" + `{"Action":"fail","Test":"TestX"}` + "\n" + `{"Action":"fail"}`, NotRun},
		"it did not build":             {`{"Action":"build-output","Output":"undefined: x\n"}` + "\n" + `{"Action":"build-fail"}` + "\n" + `{"Action":"fail"}`, NotRun},
		"there is no such test":        {`{"Action":"output","Output":"ok no tests to run\n"}` + "\n" + `{"Action":"pass"}`, NotRun},
		"another one failed":           {`{"Action":"run","Test":"TestXY"}` + "\n" + `{"Action":"fail","Test":"TestXY"}` + "\n" + `{"Action":"fail"}`, NotRun},
		"the package failed before it": {`{"Action":"fail"}`, NotRun},
	} {
		if got, _, err := outcome(strings.NewReader(c.says), "TestX"); err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, c.want)
		}
	}
	if _, _, err := outcome(strings.NewReader("FAIL"), "TestX"); err == nil {
		t.Error("what is no JSON is no error")
	}
}

func TestScore(t *testing.T) {
	m := Mutant{Name: "x", Scenario: "a", Criterion: "S1.1", Also: []string{"S1.2"}}
	run := func(verdicts ...report.Verdict) *report.Summary {
		s := &report.Summary{Scenarios: []report.Scenario{{Name: "a"}}}
		for i, v := range verdicts {
			s.Scenarios[0].Criteria = append(s.Scenarios[0].Criteria, report.Criterion{ID: []string{"S1.1", "S1.2", "S1.3"}[i], Verdict: v})
		}
		return s
	}
	other := run(report.Failed)
	other.Scenarios[0].Name = "b"
	two := run(report.Failed)
	two.Scenarios = append(two.Scenarios, report.Scenario{Name: "b"})
	for name, c := range map[string]struct {
		run    *report.Summary
		absent bool
		want   Verdict
	}{
		"its own alone":             {run(report.Failed, report.Passed, report.Passed), false, Caught},
		"and one that may":          {run(report.Failed, report.Failed, report.Passed), false, Caught},
		"and one that may, invalid": {run(report.Failed, report.Invalid, report.Passed), false, Caught},
		"none":                      {run(report.Passed, report.Passed, report.Passed), false, Survived},
		"only one that may":         {run(report.Passed, report.Failed, report.Passed), false, Survived},
		"only a wrong one":          {run(report.Passed, report.Passed, report.Failed), false, Survived},
		"a wrong one, too":          {run(report.Failed, report.Passed, report.Failed), false, Wrong},
		"a wrong one, invalid":      {run(report.Failed, report.Passed, report.Invalid), false, Wrong},
		"invalid is no catch":       {run(report.Invalid, report.Passed, report.Passed), false, Unjudged},
		"not supported is no catch": {run(report.NotSupported, report.Passed, report.Passed), false, Unjudged},
		"not there":                 {run(), false, Unjudged},
		"without the defect":        {run(report.Failed, report.Passed, report.Passed), true, Unjudged},
		"another scenario":          {other, false, Unjudged},
		"two scenarios":             {two, false, Unjudged},
		"no scenario":               {&report.Summary{}, false, Unjudged},
	} {
		if r := Score(m, c.run, !c.absent); r.Verdict != c.want || r.Verdict != Caught && r.Why == "" {
			t.Errorf("%s: %+v, want %s", name, r, c.want)
		}
	}
}

func TestPresent(t *testing.T) {
	m := Mutant{Name: "stale_page", Scenario: "a"}
	for line, want := range map[string]bool{
		`2026/11/27 09:00:00 ERROR this build has a defect on purpose tag=mutant_stale_page`:                     true,
		`{"time":"x","level":"ERROR","msg":"this build has a defect on purpose","tag":"mutant_stale_page"}`:      true,
		`2026/11/27 09:00:00 ERROR this build has a defect on purpose tag=mutant_stale_pages`:                    false,
		`2026/11/27 09:00:00 INFO mutant_stale_page`:                                                             false,
		`2026/11/27 09:00:00 ERROR this build has a defect on purpose tag=mutant_x` + "\n" + `mutant_stale_page`: false,
	} {
		artefacts := fstest.MapFS{"a/pods/mesh-node-a-0.node.log": {Data: []byte("begun\n" + line + "\n")}}
		if got, err := Present(artefacts, m); err != nil || got != want {
			t.Errorf("%s: %v, %v", line, got, err)
		}
	}
	if got, err := Present(fstest.MapFS{}, m); err != nil || got {
		t.Errorf("without logs: %v, %v", got, err)
	}
}

// TestTheCheapestTestFails is `make mutants`: it builds the node with each defect and wants
// the cheapest test of each to fail, which passes without it.
func TestTheCheapestTestFails(t *testing.T) {
	names := os.Getenv("MESH_MUTANTS")
	if names == "" {
		t.Skip("takes half an hour: MESH_MUTANTS=all, or names, as make mutants has it")
	}
	if names == "all" {
		names = ""
	}
	chosen, err := Find(strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' })...)
	if err != nil {
		t.Fatal(err)
	}
	sound := map[[2]string]bool{}
	for _, m := range chosen {
		t.Run(m.Name, func(t *testing.T) {
			key := [2]string{m.Package, m.Test}
			if !sound[key] {
				o, said, err := Cheapest(t.Context(), root, m, false)
				if err != nil || o != Passed {
					t.Fatalf("%s without any defect: %s, %v\n%s", m.Test, o, err, said)
				}
				sound[key] = true
			}
			if o, said, err := Cheapest(t.Context(), root, m, true); err != nil || o != Failed {
				t.Fatalf("the node %s, and %s: %s, %v\n%s", m.Bug, m.Test, o, err, said)
			}
		})
	}
}
