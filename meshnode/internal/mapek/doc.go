// Package mapek is the control loop that heals the mesh: Monitor turns raw
// signals into symptoms, Analyze groups symptoms into incidents, Plan maps what
// happened to an incident to actions by policy, Execute runs them, and
// Knowledge keeps what came of it. (Kephart and Chess, "The vision of autonomic
// computing", 2003.)
//
// The phases are functions of their arguments and of the time they are given:
// no goroutine, clock or network. Loop runs them and writes the journal.
//
// Incidents are edge-triggered: an episode opens one incident, whatever number
// of samples it lasts. An action counts as done only when its effect was
// observed, and as failed when its deadline passes first.
//
// # Map
//
//	monitor, level             signals to symptoms; what must hold whatever was missed
//	analyze, incident          symptoms to incidents
//	failures, latency, exhaustion, condition, mute
//	                           the same for one sort of trouble each
//	plan, policy               incidents to actions, by data
//	execute                    actions, and what they came to
//	knowledge, pattern, threats, uptime
//	                           what is kept
//	loop, report               all of it in a row; what people read of it
package mapek

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// SignalKind says what a Signal reports.
type SignalKind uint8

// The signals. Peer is set in all of them; in Loaded it is this node.
const (
	Met                SignalKind = iota // heard for the first time
	Suspected                            // silent for a while
	Cleared                              // suspected in error
	Unreachable                          // silent, indirect probes included
	Returned                             // heard again, both ways
	Mute                                 // unreachable, and nothing of it comes by relay
	Restarted                            // heard with a new incarnation
	Gone                                 // left, or no longer a member
	Verified                             // an attestation or a handshake was good
	VerificationFailed                   // an attestation was bad
	ProvenBad                            // a bad one was the peer's own doing, and nobody's between
	TimedOut                             // a challenge was not answered in time
	RoundTrip                            // a heartbeat's round trip was measured
	Loaded                               // this node's load was measured
	Conditioned                          // a condition came about or went
)

// Signal is one raw observation.
type Signal struct {
	Kind SignalKind
	Peer string
	Time time.Time
	// Since is the last sign of health before the signal, if known.
	Since time.Time
	// SeenBy are the peers that still hear an unreachable peer.
	SeenBy []string
	// Missed says that a Restarted peer had been unreachable by then.
	Missed bool
	// Session is the id of the session that a verdict is about.
	Session string
	// RTT is the duration of a RoundTrip.
	RTT time.Duration
	// Load is that of Loaded.
	Load Load
	// Condition is that of Conditioned.
	Condition Condition
}

// Symptom is what Monitor makes of signals: a change of a peer's condition, or of
// this node's own. Its Kind is one of package event's Monitor kinds.
type Symptom struct {
	Kind   string
	Peer   string
	Time   time.Time
	Since  time.Time
	SeenBy []string
	Missed bool
	// Failures are the attestations that failed in a row.
	Failures int
	// Session is the one that failed last.
	Session string
	// Share counts the attestations of the last minute.
	Share share
	// Typical is the round trip of a link as it mostly is, Episode the mean of those
	// that are too long.
	Typical, Episode time.Duration
	// Resource is what this node is short of, Reason says by how much, and Load is
	// the most that was measured of each.
	Resource, Reason string
	Load             Load
	// Type is the incident type of a condition, Of its kind.
	Type, Of string
}

// Moment is the point in an incident's life at which a policy's rule applies.
type Moment string

// The moments.
const (
	Opened       Moment = "opened"   // recognised, or recognised as something worse
	PeerReturned Moment = "returned" // one of its peers is reachable again
	Repeated     Moment = "repeated" // the failures of a peer reached the policy's limit
	Relapsed     Moment = "relapsed" // they did so again and again
	Quiet        Moment = "quiet"    // no further failure for the policy's time
	Lasting      Moment = "lasting"  // a fault of the store has lasted for the policy's time
	Over         Moment = "resolved" // all is well again
	extended     Moment = "extended" // one more peer is concerned
)

// Finding is what Analyze found: a moment in an incident's life.
type Finding struct {
	Moment   Moment
	Incident *Incident
	// Peers are those that the moment is about.
	Peers []string
}

// connectivity reports whether an incident type is about peers that are not
// reached.
func connectivity(typ string) bool {
	return typ == metric.NetworkPartition || typ == metric.NodeCrash || typ == metric.LinkFailure
}
