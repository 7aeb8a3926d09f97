// Package scenario is the life of one scenario: a fresh mesh, probers in its
// pods, a look at it without a fault, the fault, the proof that it bites, the
// heal, what is collected, and the way back. The spec files say what is judged
// in between.
package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/probe/echo"
)

// Limits are the bars of the criteria: what this project holds itself to. The
// design document's own limits are wider where it has any.
type Limits struct {
	// Recognised is how long after the cut a node's Analyze may take to call
	// it a network partition (S1.1).
	Recognised time.Duration
	// Rerouted is how long after the cut routes may take to be recalculated
	// (S1.2).
	Rerouted time.Duration
	// SessionsBack is how long after the heal of a pair its session may take to
	// be verified again (S1.4); the document allows 30 s.
	SessionsBack time.Duration
	// Defects is how many records may be lost, doubled or invented (S1.3).
	Defects int
	// LeftBehind is how many rules, qdiscs, objects and namespaces may remain
	// (F1).
	LeftBehind int
}

// Bar holds the limits in force.
var Bar = Limits{
	Recognised:   2 * time.Second,
	Rerouted:     3 * time.Second,
	SessionsBack: 3 * time.Second,
}

// Deadlines are how long the suite waits before it gives up. No verdict is
// measured against them: they are wide, and only bound a run that is stuck.
type Deadlines struct {
	Ready    time.Duration // the mesh: pods ready
	Probes   time.Duration // probers running and reporting
	Baseline time.Duration // every session verified, no incident open
	Inject   time.Duration // Chaos Mesh says that it injected
	Bite     time.Duration // the probers see it, too
	Recover  time.Duration // Chaos Mesh says that it recovered, after the fault's duration
	Heal     time.Duration // the probers see it, too
	Settle   time.Duration // what is to hold again after the heal holds
	Scraped  time.Duration // what a node counts is in Prometheus
	Collect  time.Duration // artefacts of a scenario
	Cleanup  time.Duration // everything of a scenario is gone
	Patience time.Duration // a fault's deletion, before it is forced
}

// Wait holds the deadlines in force.
var Wait = Deadlines{
	Ready:    3 * time.Minute,
	Probes:   time.Minute,
	Baseline: time.Minute,
	Inject:   30 * time.Second,
	Bite:     15 * time.Second,
	Recover:  30 * time.Second,
	Heal:     15 * time.Second,
	Settle:   40 * time.Second,
	Scraped:  10 * time.Second,
	Collect:  time.Minute,
	Cleanup:  2 * time.Minute,
	Patience: 30 * time.Second,
}

// Poll is the time between two questions of an Eventually.
const Poll = 250 * time.Millisecond

// ProbeSlack is how late a prober may date a heal: see echo.Line.
const ProbeSlack = echo.Interval

// AlertFor is the longest `for:` of an alert that a scenario of short faults
// waits for (MeshNodeUnreachable), with room for a scrape, an evaluation and
// the injection itself: no profile makes a fault shorter.
const AlertFor = 10*time.Second + 5*time.Second

// Profile says how long faults last.
type Profile struct {
	Name string
	// Fault is how long a fault lasts at most; 0 means as long as its fixture
	// says.
	Fault time.Duration
}

// Profiles are all there are. Both judge the same criteria by the same bars.
var Profiles = []Profile{
	{Name: "quick", Fault: 20 * time.Second},
	{Name: "full"},
}

// FindProfile returns the profile of that name.
func FindProfile(name string) (Profile, error) {
	i := slices.IndexFunc(Profiles, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		var names []string
		for _, p := range Profiles {
			names = append(names, p.Name)
		}
		return Profile{}, fmt.Errorf("unknown profile %q, there are: %s", name, strings.Join(names, ", "))
	}
	return Profiles[i], nil
}
