package live

import (
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// State is what a run has come to.
type State struct {
	Title     string
	Started   time.Time
	Scenarios []Scenario // in the order in which they are planned
	// Log are the lines of what happened, the newest last.
	Log []string
}

// Scenario is how far one is. One that has no lane waits for it, or is over.
type Scenario struct {
	Name         string
	Lane         int // 0: none
	Began, Ended time.Time
	Step         string
	Faults       []Fault // under way
	Criteria     []Criterion
	Judging      string // a criterion's id
	Traffic      *Rates // nil: not known
	Incidents    []Incident
	Aborted      string // by what
}

// Fault is one under way.
type Fault struct {
	Name   string
	Until  time.Time // it is over by itself; zero: not known
	Proven bool
}

// maxLog is how many lines of the log are kept.
const maxLog = 1000

// NewState is a run before its first scenario.
func NewState(title string, started time.Time, scenarios ...string) State {
	s := State{Title: title, Started: started}
	for _, name := range scenarios {
		s.Scenarios = append(s.Scenarios, Scenario{Name: name})
	}
	return s
}

// After is the state after an event. It shares nothing with the state before that changes.
func (s State) After(e Event) State {
	if line := Line(s.Started, e); line != "" {
		s.Log = append(slices.Clone(s.Log[max(0, len(s.Log)-maxLog+1):]), line)
	}
	i := slices.IndexFunc(s.Scenarios, func(sc Scenario) bool { return sc.Name == e.Scenario })
	if i < 0 {
		return s
	}
	s.Scenarios = slices.Clone(s.Scenarios)
	s.Scenarios[i] = s.Scenarios[i].after(e)
	return s
}

func (sc Scenario) after(e Event) Scenario {
	switch e.Kind {
	case Begins:
		sc.Lane, sc.Began, sc.Criteria = e.Lane, e.At, slices.Clone(e.Criteria)
	case Ends:
		sc.Lane, sc.Ended, sc.Step, sc.Judging = 0, e.At, "", ""
		sc.Faults, sc.Incidents, sc.Traffic = nil, nil, nil
	case Step:
		sc.Step = e.Text
	case Applied:
		sc.Faults = append(without(sc.Faults, e.Fault), Fault{Name: e.Fault, Until: e.Until})
	case Proven:
		sc.Faults = slices.Clone(sc.Faults)
		for i := range sc.Faults {
			sc.Faults[i].Proven = sc.Faults[i].Proven || sc.Faults[i].Name == e.Fault
		}
	case Healed:
		sc.Faults = without(sc.Faults, e.Fault)
	case Judging:
		if e.Criterion != nil {
			sc.Judging, sc.Step = e.Criterion.ID, "judge "+e.Criterion.ID
		}
	case Judged:
		if e.Criterion != nil {
			sc = sc.judged(*e.Criterion)
		}
	case Traffic:
		sc.Traffic = e.Traffic
	case Opened:
		if e.Incident != nil && !slices.Contains(sc.Incidents, *e.Incident) {
			sc.Incidents = append(slices.Clone(sc.Incidents), *e.Incident)
		}
	case Closed:
		if e.Incident != nil {
			sc.Incidents = slices.DeleteFunc(slices.Clone(sc.Incidents), func(i Incident) bool { return i == *e.Incident })
		}
	case Aborted:
		sc.Aborted = e.Text
	}
	return sc
}

func without(faults []Fault, name string) []Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool { return f.Name == name })
}

func (sc Scenario) judged(c Criterion) Scenario {
	if sc.Judging == c.ID {
		sc.Judging = ""
	}
	sc.Criteria = slices.Clone(sc.Criteria)
	i := slices.IndexFunc(sc.Criteria, func(k Criterion) bool { return k.ID == c.ID })
	if i < 0 {
		sc.Criteria = append(sc.Criteria, c)
		return sc
	}
	sc.Criteria[i] = c
	return sc
}

// Count is how many criteria of a scenario have each verdict; those that were not judged
// have none.
func (sc Scenario) Count() map[report.Verdict]int {
	n := map[report.Verdict]int{}
	for _, c := range sc.Criteria {
		n[c.Verdict]++
	}
	return n
}

// busy are the scenarios that have a lane, by lane.
func (s State) busy() []Scenario {
	all := slices.DeleteFunc(slices.Clone(s.Scenarios), func(sc Scenario) bool { return sc.Lane == 0 })
	slices.SortStableFunc(all, func(a, b Scenario) int { return a.Lane - b.Lane })
	return all
}
