// Package echo is the outside view of a mesh's network: a UDP echo between
// all pods that shares nothing with the mesh node but the network it runs
// in. It knows nothing of Kubernetes, so that the binary stays small.
//
// Each prober sends a request to each of its peers every Interval and
// answers theirs. It tells what it sees as JSON lines, one per change of a
// peer and one per second with the whole state.
package echo

import "time"

const (
	// Port is the UDP port of the echo; the mesh itself uses 26970.
	Port = 26971
	// Interval is the time between two requests to the same peer.
	Interval = 100 * time.Millisecond
	// Silence is how long requests must have gone unanswered before a peer
	// counts as cut: six requests, so that neither one lost datagram nor a
	// busy machine's late scheduling is taken for a fault.
	Silence = 6 * Interval
	// StateEvery is the time between two lines of kind State.
	StateEvery = time.Second
)

// Kind says what a Line tells.
type Kind string

const (
	// Start is a prober's first line.
	Start Kind = "start"
	// Change tells that a peer went up or down.
	Change Kind = "change"
	// State repeats, once per StateEvery, what the prober thinks of each peer.
	// Its absence means that the prober itself is gone.
	State Kind = "state"
)

// Line is one JSON line of a prober. Times are RFC 3339 with nanoseconds, by
// the clock of the node that the pod runs on.
type Line struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Kind Kind      `json:"kind"`
	Pod  string    `json:"pod"`

	// Peer and Up belong to a Change.
	Peer string `json:"peer,omitempty"`
	Up   bool   `json:"up,omitempty"`
	// At is when the change took effect, as far as an echo can tell: for a
	// cut the arrival of the last reply (the cut lies at most one Interval
	// after it), for a heal the sending of the first request that was
	// answered (the heal lies at most one Interval before it).
	At time.Time `json:"at,omitzero"`

	// Peers belongs to a State.
	Peers []PeerState `json:"peers,omitempty"`
}

// PeerState is what a prober thinks of one peer.
type PeerState struct {
	Peer string `json:"peer"`
	Up   bool   `json:"up"`
	// RTT is the last round trip in nanoseconds.
	RTT time.Duration `json:"rtt_ns"`
	// Heard is when the peer's last request arrived: what the peer sends gets here,
	// whether answers get back or not. Zero: none has.
	Heard time.Time `json:"heard,omitzero"`
	// Sent and Answered count requests since the start.
	Sent     uint64 `json:"sent"`
	Answered uint64 `json:"answered"`
}
