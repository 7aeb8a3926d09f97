package scenario

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Nightly is the label of scenarios that run only when they are named.
const Nightly = "nightly"

// Scenario is one scenario as a value: all that is known of it without running it. Its
// specs add its criteria when Ginkgo builds their tree.
type Scenario struct {
	// Name is its label, and part of its namespaces' names.
	Name string
	// Title is what its container of specs is called.
	Title string
	// Design is the number in the design document, such as "1"; empty for one of ours.
	Design string
	// Labels are further ones than its name, such as Nightly.
	Labels []string
	// Fixtures are the files of its faults.
	Fixtures []string
	// NodeArgs are further flags of its nodes.
	NodeArgs []string
	// Probed is whether probers in its pods look at the network from outside the nodes.
	Probed bool
	// Quiet is whether its mesh's whole life must be on a quiet machine, so that it
	// cannot be made while another one goes.
	Quiet bool
	// Alone is whether no other scenario may go meanwhile: it leaves nothing of a small
	// machine for what else has to be quick.
	Alone bool
	// Opens is whether it is one turn from its mesh to its first fault: with that comes so much work
	// that a mesh beside it must not be in its first seconds.
	Opens bool
	// Takes is about how long it takes in the quick profile: in lanes the longest is first.
	Takes time.Duration
	// Criteria are what its specs judge, in their order.
	Criteria []Criterion
}

// Criterion is what one spec judges.
type Criterion struct {
	ID     string // such as S1.1
	Text   string // what it proves
	Bar    string // such as "≤ 2 s"
	Claims Claims
}

// Add adds a criterion.
func (s *Scenario) Add(c Criterion) { s.Criteria = append(s.Criteria, c) }

// Is reports whether the scenario has a label.
func (s *Scenario) Is(label string) bool { return label == s.Name || slices.Contains(s.Labels, label) }

var (
	validName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	validID   = regexp.MustCompile(`^[A-Z][0-9]+(\.([0-9]+|[A-Z]))?$`)
)

// Check finds what is wrong with scenarios whose specs are known: names that are taken or
// no names, ids that are taken within a scenario or no ids, scenarios without a criterion,
// criteria that do not say what they are about.
func Check(all []*Scenario) error {
	names := map[string]bool{}
	for _, s := range all {
		switch {
		case !validName.MatchString(s.Name):
			return fmt.Errorf("scenario %q: a name is of lower-case words with hyphens between them", s.Name)
		case names[s.Name]:
			return fmt.Errorf("scenario %s: the name is taken", s.Name)
		case len(s.Criteria) == 0:
			return fmt.Errorf("scenario %s: no criterion is judged in it", s.Name)
		}
		names[s.Name] = true
		ids := map[string]bool{}
		for _, c := range s.Criteria {
			switch {
			case !validID.MatchString(c.ID):
				return fmt.Errorf("scenario %s: %q is no id of a criterion, such as S1.1", s.Name, c.ID)
			case ids[c.ID]:
				return fmt.Errorf("scenario %s: the id %s is taken", s.Name, c.ID)
			case c.Text == "":
				return fmt.Errorf("scenario %s: criterion %s says nothing", s.Name, c.ID)
			case !c.Claims.said:
				return fmt.Errorf("scenario %s: criterion %s does not say what it claims: Reacts, Heals, Holds or Upholds", s.Name, c.ID)
			}
			ids[c.ID] = true
		}
	}
	return nil
}

// Index is the scenarios in Markdown, as the README has them: a table, and the names of those
// that run only when they are named.
func Index(all []*Scenario) string {
	var b strings.Builder
	var nightly []string
	b.WriteString("| scenario | what it is | criteria |\n| --- | --- | --- |\n")
	for _, s := range all {
		if s.Is(Nightly) {
			nightly = append(nightly, "`"+s.Name+"`")
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %d |\n", s.heading(), s.Title, len(s.Criteria))
	}
	if len(nightly) > 0 {
		fmt.Fprintf(&b, "\nThese run at night, or when they are named:\n%s.\n", strings.Join(nightly, ", "))
	}
	return b.String()
}

// Table is the criteria of scenarios as a table in Markdown, as the suite's README has it.
func Table(all []*Scenario) string {
	var b strings.Builder
	b.WriteString("| scenario | id | proves | bar |\n| --- | --- | --- | --- |\n")
	for _, s := range all {
		name := s.heading()
		for _, c := range s.Criteria {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, c.ID, c.Text, c.Bar)
			name = ""
		}
	}
	return b.String()
}

// heading is the scenario's name in Markdown, and whether it runs only when it is named.
func (s *Scenario) heading() string {
	name := "`" + s.Name + "`"
	if s.Is(Nightly) {
		name += " (nightly)"
	}
	return name
}
