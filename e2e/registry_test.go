package e2e

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onsi/ginkgo/v2/types"

	"github.com/x0tta6bl4/mesh/e2e/ground/cluster"
	"github.com/x0tta6bl4/mesh/e2e/ground/fault"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/e2e/mutant"
	"github.com/x0tta6bl4/mesh/fixtures"
)

//go:generate go test -short -count=1 -run ^TestRegistry$ . -update

var update = flag.Bool("update", false, "with -short: write the tables of scenarios and criteria into the READMEs")

// TestRegistry sees that everything that is derived from the registry of scenarios is what
// the registry says.
func TestRegistry(t *testing.T) {
	if !testing.Short() {
		t.Skip("a run of the suite judges the mesh: -short runs this")
	}
	specs := previewed() // builds the tree, which Ginkgo allows once
	root, err := cluster.Project()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("names, ids and specs", func(t *testing.T) {
		if err := scenario.Check(scenarios); err != nil {
			t.Error(err)
		}
		if err := registered(specs); err != nil {
			t.Error(err)
		}
	})
	t.Run("fixtures", func(t *testing.T) {
		for _, sc := range scenarios {
			for _, f := range sc.Fixtures {
				if _, err := fault.Load(fixtures.FS, f); err != nil {
					t.Errorf("%s: %v", sc.Name, err)
				}
			}
		}
	})
	t.Run("lanes", func(t *testing.T) {
		for _, sc := range scenarios {
			matches, err := types.ParseLabelFilter(only(sc))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range specs {
				if got, want := matches(s.Labels()), report.ScenarioOf(s) == sc.Name; got != want {
					t.Errorf("the lane of %s runs %q: %t", sc.Name, s.FullText(), got)
				}
			}
		}
	})
	t.Run("mutants", func(t *testing.T) {
		mutants, err := mutant.Find()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mutants {
			i := slices.IndexFunc(scenarios, func(s *scenario.Scenario) bool { return s.Name == m.Scenario })
			if i < 0 {
				t.Errorf("%s: there is no scenario %s", m.Name, m.Scenario)
				continue
			}
			for _, id := range append(slices.Clone(m.Also), m.Criterion) {
				if !slices.ContainsFunc(scenarios[i].Criteria, func(c scenario.Criterion) bool { return c.ID == id }) {
					t.Errorf("%s: %s has no criterion %s", m.Name, m.Scenario, id)
				}
			}
		}
	})
	t.Run("controls", controlsArePinned)
	t.Run("saved runs", savedRuns)
	t.Run("near misses", nearMisses)
	t.Run("saved runs without a fault, and without the loop", savedControls)
	t.Run("README", func(t *testing.T) {
		compare(t, filepath.Join(root, "README.md"), "scenarios", scenario.Index(scenarios))
		compare(t, filepath.Join(root, "e2e", "README.md"), "criteria", scenario.Table(scenarios))
	})
	t.Run("make scenarios", func(t *testing.T) {
		cmd := exec.CommandContext(t.Context(), "make", "--silent", "--no-print-directory", "-C", root, "scenarios")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("make scenarios: %v", err)
		}
		var got, want []string
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("make scenarios: %v in %q", err, out)
		}
		for _, sc := range scenarios {
			want = append(want, sc.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("make scenarios has %v, the registry %v: the Makefile reads lines of the form\n\tName: \"…\",", got, want)
		}
	})
}

// compare sees that the part of a file between the marks of a name is as it is generated.
func compare(t *testing.T, path, name, want string) {
	t.Helper()
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(b), begin)
	got, after, ended := strings.Cut(rest, end)
	if !begun || !ended {
		t.Fatalf("%s has no part between %q and %q", path, begin, end)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("the %s of %s are not the registry's: run go generate ./e2e\ngot\n%s\nwant\n%s", name, path, got, want)
	}
}
