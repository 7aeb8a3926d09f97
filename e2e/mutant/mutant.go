// Package mutant lists the seeded defects of the mesh node, by which the criteria are
// judged themselves: each is a mistake that somebody could make, is compiled in by a build
// tag of its own, and names the criterion that must fail in the cluster because of it, and
// the cheapest test that fails without one.
//
// The node's side is meshnode/internal/mutant: a constant for each, which go generate
// writes from this table.
package mutant

import (
	"fmt"
	"slices"
	"strings"
)

// TagPrefix begins the build tag of every defect.
const TagPrefix = "mutant_"

// Mutant is one seeded defect.
type Mutant struct {
	// Name is its build tag without TagPrefix.
	Name string
	// Bug says what is wrong, in words that follow "the node".
	Bug string
	// Scenario is what has to run in the cluster, and Criterion what must fail in it.
	Scenario, Criterion string
	// Also are further criteria of the scenario that may fail, because what they judge is
	// broken, too.
	Also []string
	// Package and Test are the cheapest test that fails without a cluster; the package is
	// relative to the module.
	Package, Test string
	// Attacker is whether the defect is in meshchaos, which is an image of its own.
	Attacker bool
}

// Tag is the build tag that compiles the defect in.
func (m Mutant) Tag() string { return TagPrefix + m.Name }

// Const is the name of its constant in meshnode/internal/mutant.
func (m Mutant) Const() string {
	var b strings.Builder
	for part := range strings.SplitSeq(m.Name, "_") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}

// May reports whether a criterion may fail because of the defect.
func (m Mutant) May(criterion string) bool {
	return criterion == m.Criterion || slices.Contains(m.Also, criterion)
}

// Find returns the defects of the given names, all if there are none. A name that there is
// not is an error that lists those that there are.
func Find(names ...string) ([]Mutant, error) {
	if len(names) == 0 {
		return slices.Clone(table), nil
	}
	var found []Mutant
	for _, n := range names {
		i := slices.IndexFunc(table, func(m Mutant) bool { return m.Name == strings.TrimPrefix(n, TagPrefix) })
		if i < 0 {
			var known []string
			for _, m := range table {
				known = append(known, m.Name)
			}
			return nil, fmt.Errorf("no mutant %q; there are: %s", n, strings.Join(known, ", "))
		}
		found = append(found, table[i])
	}
	return found, nil
}
