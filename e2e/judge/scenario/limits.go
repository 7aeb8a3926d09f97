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

	"github.com/x0tta6bl4/mesh/e2e/observe/probe/echo"
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
	// Defects is how many records may be lost, doubled or invented (S1.3, S3.3).
	Defects int
	// Gap is how long no frame may arrive between two nodes whose link is cut
	// while a relay is left (S1.5).
	Gap time.Duration

	// BadSignatures is how many bad signatures must be counted at least (S2.1);
	// the document wants more than five.
	BadSignatures int
	// Episodes is how many episodes of a high failure rate one attack is to the
	// nodes that see it (S2.2).
	Episodes int
	// Invalidated is how long after the failure that calls for it a session may
	// take to be invalidated (S2.3); the document allows 5 s.
	Invalidated time.Duration
	// Rotated is how long after the attack's end keys may take to be new (S2.4).
	Rotated time.Duration
	// Innocents is how many sessions with others may be invalidated (S2.5).
	Innocents int

	// Restarted is how long a killed pod's successor may take to be ready (S3.1).
	Restarted time.Duration
	// Migrated is how long a dead node's client sessions may take to answer
	// elsewhere (S3.2).
	Migrated time.Duration
	// FailedOperations is how many operations of clients may fail (S3.3, S5.3).
	FailedOperations int

	// LatencyShift is by how much the median verification latency must grow
	// under the delay (S4.1).
	LatencyShift time.Duration
	// Timeouts is how many verifications may time out under the delay (S4.2).
	Timeouts int
	// Preferred is how long others' routes may lead through a slow node (S4.3).
	Preferred time.Duration

	// ScaledUp is how long after the stress bites the autoscaler may take to
	// want more replicas (S5.1).
	ScaledUp time.Duration
	// CriticalShare is the share of the baseline's critical verifications per
	// second that must succeed under stress (S5.2).
	CriticalShare float64
	// Restarts is how many containers may restart or be killed (S5.3).
	Restarts int

	// Alarms is how many alerts may fire without a fault (A1–A3).
	Alarms int
	// BlankPanels is how many of the dashboard's queries may have no answer (D1).
	BlankPanels int

	// LeftBehind is how many rules, qdiscs, objects and namespaces may remain
	// (F1).
	LeftBehind int
}

// Bar holds the limits in force.
var Bar = Limits{
	Recognised:   2 * time.Second,
	Rerouted:     3 * time.Second,
	SessionsBack: 3 * time.Second,
	Gap:          2 * time.Second,

	BadSignatures: 6,
	Episodes:      1,
	Invalidated:   time.Second,
	Rotated:       2 * time.Second,

	Restarted: 30 * time.Second,
	Migrated:  3 * time.Second,

	LatencyShift: 150 * time.Millisecond,
	Preferred:    10 * time.Second,

	ScaledUp:      60 * time.Second,
	CriticalShare: 0.95,
}

// Least is what a scenario must have seen before anything can be concluded.
var Least = struct {
	// Observations are critical verifications of each node in the baseline, where
	// latencies are compared; Compared where verifications per second are.
	Observations, Compared int
	// Operations are operations of the recording clients during a fault.
	Operations int
	// Relayed are frames by relay to each end of a cut link.
	Relayed int
	// Burnt is the share of a container's CPU limit that stressors must use before
	// they count as stress: beside busier processes they get less than they ask for.
	Burnt float64
}{Observations: 40, Compared: 60, Operations: 20, Relayed: 20, Burnt: 0.5}

// Deadlines are how long the suite waits before it gives up. No verdict is
// measured against them: they are wide, and only bound a run that is stuck.
type Deadlines struct {
	Ready    time.Duration // the mesh: pods ready
	Probes   time.Duration // probers running and reporting
	Baseline time.Duration // every session verified, no incident open
	Observe  time.Duration // as much as a baseline needs was observed
	Inject   time.Duration // Chaos Mesh says that it injected
	Bite     time.Duration // the probers see it, too
	Recover  time.Duration // Chaos Mesh says that it recovered, after the fault's duration
	Restart  time.Duration // a pod that was killed or failed is ready again
	Rollout  time.Duration // every pod was replaced, one after the other
	Scale    time.Duration // the autoscaler follows the load, up or down
	Alert    time.Duration // an alert changes its state
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
	Observe:  40 * time.Second,
	Inject:   30 * time.Second,
	Bite:     30 * time.Second,
	Recover:  30 * time.Second,
	Restart:  time.Minute,
	Rollout:  4 * time.Minute,
	Scale:    3 * time.Minute,
	Alert:    2 * time.Minute,
	Heal:     15 * time.Second,
	Settle:   40 * time.Second,
	Scraped:  10 * time.Second,
	Collect:  time.Minute,
	Cleanup:  2 * time.Minute,
	Patience: 30 * time.Second,
}

// Poll is the time between two questions of an Eventually.
const Poll = 500 * time.Millisecond

// ProbeSlack is how late a prober may date a heal: an interval (see echo.Line), and
// more on a busy machine. Nothing passes a cut: what is verified so shortly before the
// heal was dated is the heal's, too.
const ProbeSlack = 5 * echo.Interval

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
