// Package trial is a fault by hand, in a mesh that stays: it is injected, proven from outside
// and healed by what the scenarios use, and told to a person as it happens.
package trial

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
)

// Fault is one that a person can ask for.
type Fault struct {
	// Fixture is its file.
	Fixture string
	// Scenario is the one that judges it; one without criteria if none does so for this
	// fault alone.
	Scenario *scenario.Scenario
}

// Find returns the fault of a name: a fixture's, or that of the scenario that it is the first
// fault of. The error lists all names.
func Find(scenarios []*scenario.Scenario, fixtures fs.FS, name string) (Fault, error) {
	files, err := fs.Glob(fixtures, "*.yaml")
	if err != nil {
		return Fault{}, err
	}
	names, faults := []string{}, map[string]Fault{}
	for _, file := range files {
		own := strings.TrimSuffix(file, ".yaml")
		f := Fault{Fixture: file, Scenario: &scenario.Scenario{Name: own, Probed: true}}
		// Further scenarios that begin with it do something else besides.
		if i := slices.IndexFunc(scenarios, func(s *scenario.Scenario) bool { return len(s.Fixtures) > 0 && s.Fixtures[0] == file }); i >= 0 {
			judge := *scenarios[i]
			judge.Probed = true
			f.Scenario = &judge
			faults[judge.Name] = f
			names = append(names, judge.Name)
		}
		faults[own] = f
		names = append(names, own)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	f, ok := faults[name]
	if !ok {
		return Fault{}, fmt.Errorf("there is no fault %q: say which with make fault F=… of %s", name, strings.Join(names, ", "))
	}
	return f, nil
}
