package scenario

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/observe/probe/echo"
)

// The bars of the criteria: what this project holds itself to. The design document's own
// limits are wider where it has any.
const (
	// BarRecognised is how long after the cut a node's Analyze may take to call it a
	// network partition (S1.1).
	BarRecognised = 2 * time.Second
	// BarRerouted is how long after the cut the routes to each lost peer may take to be
	// recalculated (S1.2).
	BarRerouted = 3 * time.Second
	// BarSessionsBack is how long after the heal of a pair its session may take to be
	// verified again (S1.4); the document allows 30 s.
	BarSessionsBack = 3 * time.Second
	// BarGap is how long no frame may arrive in a direction that is cut while a relay is
	// left (S1.5).
	BarGap = 2 * time.Second

	// BarBadSignatures is how many bad signatures must be counted at least (S2.1); the
	// document wants more than five.
	BarBadSignatures = 6
	// BarEpisodes is how many episodes of a high failure rate one attack is to the nodes
	// that see it (S2.2).
	BarEpisodes = 1
	// BarInvalidated is how long after the failure that calls for it a session may take
	// to be invalidated (S2.3); the document allows 5 s.
	BarInvalidated = time.Second
	// BarRotated is how long after the attack's end keys may take to be new (S2.4).
	BarRotated = 2 * time.Second

	// BarRestarted is how long a killed pod's successor may take to be ready (S3.1).
	BarRestarted = 30 * time.Second
	// BarMigrated is how long a dead node's client sessions may take to answer elsewhere
	// (S3.2).
	BarMigrated = 3 * time.Second
	// BarClientGap is how long a client may go without an answered operation (S3.3).
	BarClientGap = 2 * time.Second

	// BarLatencyShift is by how much the median verification latency must grow under the
	// delay (S4.1).
	BarLatencyShift = 150 * time.Millisecond
	// BarVerified is the share of the baseline's verifications per second and pair that
	// must succeed under the delay (S4.2), and of the critical ones under stress (S5.2).
	BarVerified = 0.95
	// BarPreferred is how long others' routes may lead through a slow node (S4.3).
	BarPreferred = 10 * time.Second

	// BarStorage is how long after a fault of its disk met a write a node may take to
	// recognise it (S6.1).
	BarStorage = 3 * time.Second
	// BarStorageBack is how long after the fault it may take to be well (S6.4).
	BarStorageBack = 20 * time.Second
	// BarSkew is how long after a clock was set the others may take to name it (S7.3).
	BarSkew = 5 * time.Second

	// BarScaledUp is how long after the stress bites the autoscaler may take to want
	// more replicas (S5.1).
	BarScaledUp = 60 * time.Second
)

// What a scenario must have seen before anything can be concluded.
const (
	// LeastObservations are critical verifications of each node in the baseline, where
	// latencies are compared.
	LeastObservations = 40
	// LeastCompared are the same where verifications per second are compared.
	LeastCompared = 60
	// LeastBurnt is the share of a container's CPU limit that stressors must use before
	// they count as stress: beside busier processes they get less than they ask for.
	LeastBurnt = 0.5
	// LeastPromised are records that were acknowledged before all nodes ended.
	LeastPromised = 10
	// LeastRate is how many operations a second each client must have made, on average
	// over what is judged.
	LeastRate = 1.0
)

// Tail is how long after a fault's end is watched for what should not come any more.
const Tail = 10 * time.Second

// RolloutTail is the same after a rolling restart. A pod that is replaced is not scraped for some seconds: those
// are to be a small part of the window.
const RolloutTail = 40 * time.Second

// How long the suite waits before it gives up. No verdict is measured against these: they
// are wide, and only bound a run that is stuck. The wait for a reaction is longer than its bar:
// what has not come by then has missed it.
const (
	WaitTurn     = 5 * time.Minute  // other lanes leave a moment
	WaitReady    = 3 * time.Minute  // the mesh: pods ready
	WaitProbes   = time.Minute      // probers running and reporting
	WaitBaseline = time.Minute      // every session verified, no incident open
	WaitObserve  = 40 * time.Second // as much as a baseline needs was observed
	WaitInject   = 30 * time.Second // Chaos Mesh says that it injected
	WaitBite     = 30 * time.Second // the probers see it, too
	WaitRecover  = 30 * time.Second // Chaos Mesh says that it recovered, after the fault's duration
	WaitRestart  = time.Minute      // a pod that was killed or failed is ready again
	WaitRollout  = 4 * time.Minute  // every pod was replaced, one after the other
	WaitScaleUp  = 2 * time.Minute  // the autoscaler wants more, which is twice the bar
	WaitScale    = 3 * time.Minute  // the autoscaler follows the load, up or down, and the pods do
	WaitAlert    = 2 * time.Minute  // an alert changes its state
	WaitHeal     = 15 * time.Second // the probers see it, too
	WaitSettle   = 40 * time.Second // what is to hold again after the heal holds
	WaitAvoided  = 25 * time.Second // routes leave a slow relay, while the link lasts cut for which it relays
	WaitScraped  = 10 * time.Second // what a node counts is in Prometheus
	WaitAnswer   = 20 * time.Second // the API server, a node or Prometheus answers
	WaitCollect  = time.Minute      // artefacts of a scenario
	WaitCleanup  = 2 * time.Minute  // everything of a scenario is gone
	WaitPatience = 30 * time.Second // a fault's deletion, before it is forced
)

// ProbeSlack is how late a prober may date a heal: an interval (see echo.Line), and
// more on a busy machine. Nothing passes a cut: what is verified so shortly before the
// heal was dated is the heal's, too.
const ProbeSlack = 5 * echo.Interval

// KubeletSlack is by how much a kubelet's times may be wrong: it counts whole seconds.
const KubeletSlack = time.Second

// AlertFor is the longest `for:` of an alert that a scenario of short faults
// waits for (MeshNodeUnreachable), with room for a scrape, an evaluation and
// the injection itself: no profile makes a fault shorter.
const AlertFor = 10*time.Second + 5*time.Second

// SpikeFor is the same of PQCVerificationFailureSpike, whose rate takes some seconds to
// rise: an attack on signatures lasts as long at least.
const SpikeFor = 30*time.Second + 15*time.Second

// Silence is how long a fault-free mesh must be without an alert, firing or pending:
// longer than the `for:` of every rule.
const Silence = 60 * time.Second

// Unsaid is how long a fault lasts where neither its fixture nor the profile says it.
const Unsaid = time.Minute

// Profile says how long faults last.
type Profile struct {
	Name string
	// Fault is how long a fault lasts at most; 0 means as long as its fixture
	// says.
	Fault time.Duration
	// Nightly is whether there is time for what takes minutes: that the alert about healing
	// resolves.
	Nightly bool
}

// profiles are all there are. All judge the same criteria by the same bars; what only a nightly
// one waits for is more of one.
var profiles = []Profile{
	{Name: "quick", Fault: 20 * time.Second},
	{Name: "full"},
	{Name: "nightly", Nightly: true},
}

// longest is how long a fault lasts at most that is absent: nobody waits for its alerts.
func (p Profile) longest() time.Duration { return cmp.Or(p.Fault, Unsaid) }

// FindProfile returns the profile of that name.
func FindProfile(name string) (Profile, error) {
	i := slices.IndexFunc(profiles, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		var names []string
		for _, p := range profiles {
			names = append(names, p.Name)
		}
		return Profile{}, fmt.Errorf("unknown profile %q, there are: %s", name, strings.Join(names, ", "))
	}
	return profiles[i], nil
}
