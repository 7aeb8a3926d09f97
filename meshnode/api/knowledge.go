package api

import "time"

// Knowledge is what a node's MAPE-K loop has learned. It is bounded and survives
// restarts of the node, all but Weights.
type Knowledge struct {
	// Events are the incidents, oldest first; those that are open come last.
	Events   []Event          `json:"events"`
	Outcomes map[string]Tally `json:"outcomes"` // by action
	// Weights are the preferences of routes for the links to neighbours: 1 full,
	// 0 lost.
	Weights map[string]float64 `json:"weights"`
	// Availability is the share of the last hour, or of the time since the peer was met, in
	// which it was reachable.
	Availability map[string]float64 `json:"availability"`

	Threats []Threat         `json:"threats"`
	Latency []LatencyPattern `json:"latency"`
	// Recommendation is absent while this node has never lacked resources.
	Recommendation *Recommendation `json:"recommendation,omitempty"`
}

// Event is an incident and what was done about it.
type Event struct {
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	Peers    []string  `json:"peers"`
	Opened   time.Time `json:"opened"`
	Resolved time.Time `json:"resolved,omitzero"`
	// Seconds is how long it lasted, so far if it is open.
	Seconds float64 `json:"seconds"`
	// Resource is what ran short: cpu, memory, verification (the queue for a core)
	// or scheduling (the control loop came late).
	Resource string `json:"resource,omitempty"`
	// Kind is that of a storage_fault or clock_skew, Reason what was seen of it last.
	Kind    string        `json:"kind,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	Actions []EventAction `json:"actions"`
}

// EventAction is an action that ended.
type EventAction struct {
	Name    string `json:"name"`
	Peer    string `json:"peer"`
	Outcome string `json:"outcome"` // done, failed
}

// Tally counts how often an action ended which way.
type Tally struct {
	Done   int `json:"done"`
	Failed int `json:"failed"`
}

// Threat is a peer that sent too many signatures that did not verify.
type Threat struct {
	Peer    string    `json:"peer"`
	Type    string    `json:"type"`    // of the worst incident that it caused
	Count   int       `json:"count"`   // bad signatures
	Strikes int       `json:"strikes"` // sessions that they brought to the policy's limit in a row
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	// BlockedUntil is absent if it was never blocked.
	BlockedUntil time.Time `json:"blocked_until,omitzero"`
}

// LatencyPattern is what was learned of a link that was too slow at times.
type LatencyPattern struct {
	Peer           string    `json:"peer"`
	TypicalSeconds float64   `json:"typical_seconds"` // round trip while it is not
	EpisodeSeconds float64   `json:"episode_seconds"` // mean round trip in the last episode
	Count          int       `json:"count"`           // episodes
	Last           time.Time `json:"last"`            // when the last one began
}

// Recommendation says what this node's container should be given, by the episodes in
// which it lacked resources.
type Recommendation struct {
	// CPU and Memory are Kubernetes quantities for both requests and limits; empty
	// where the container has no limit that could be read.
	CPU       string `json:"cpu,omitempty"`
	Memory    string `json:"memory,omitempty"`
	Reason    string `json:"reason"`
	Incidents int    `json:"incidents"` // episodes that it is derived from
}
