// Package event defines the entries of a node's journal.
//
// The journal is append-only and served as JSON lines, one Entry each, at
// GET /v1/events?after=N. One incident id ties the phases of the MAPE-K loop
// together: what Monitor saw, what Analyze made of it, what Plan chose, what
// Execute achieved and what Knowledge kept.
package event

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Phase is the part of the loop that an entry comes from.
type Phase string

// The phases, in the order in which they run.
const (
	Monitor   Phase = "monitor"
	Analyze   Phase = "analyze"
	Plan      Phase = "plan"
	Execute   Phase = "execute"
	Knowledge Phase = "knowledge"
)

// Kinds of Monitor entries. The subject is the peer.
const (
	PeerReachable   = "peer_reachable"   // met for the first time
	PeerUnreachable = "peer_unreachable" // silent, and indirect probes did not help
	PeerReturned    = "peer_returned"    // heard again, both ways
	PeerRestarted   = "peer_restarted"   // heard again with a new incarnation
	PeerLeft        = "peer_left"        // said goodbye
	PeerMute        = "peer_mute"        // others claim to hear it, and nothing of it comes by relay
	PeerRelayed     = "peer_relayed"     // heard through a relay after the link was lost; DetailSeconds without a frame
	SessionVerified = "session_verified" // first attestation of a session, or the first after a gap
	SessionFailed   = "session_failed"   // an attestation signature did not verify
	ProvenBad       = "proven_bad"       // one that opened under the session's keys did not: the peer's own doing
	SessionTimeout  = "session_timeout"  // a challenge was not answered in time
	SessionLost     = "session_lost"     // the verified session with a peer that fell silent
	FailuresHigh    = "failures_high"    // too large a share of a peer's attestations failed; DetailSession
	FailuresNormal  = "failures_normal"  // it is small again
	LatencyHigh     = "latency_high"     // every round trip of late took longer than the policy allows
	LatencyNormal   = "latency_normal"   // none of late did
	ResourcesShort  = "resources_short"  // this node, the subject, lacks what DetailReason says
	ResourcesNormal = "resources_normal" // it has enough again
	ConditionRaised = "condition_raised" // what DetailType names has come about
	ConditionEnded  = "condition_ended"  // and has gone
	VerifierLost    = "verifier_lost"    // the eBPF program is no longer attached
	VerifierBack    = "verifier_back"    // it is attached again
)

// Kinds of Analyze entries are the incident types (package metric) when an
// incident opens or changes its type, and these.
const (
	Resolved = "resolved" // every subject is reachable and verified again
)

// Kinds of Plan and Execute entries are the actions (package metric). Execute
// entries carry DetailOutcome.

// Kinds of Knowledge entries.
const (
	Recorded = "recorded" // the incident and the outcome of its actions were kept
)

// Keys of an entry's detail.
const (
	DetailOutcome  = "outcome" // "started", "done", "failed", or "ended" of one that lasts
	DetailError    = "error"
	DetailSeconds  = "seconds" // decimal
	DetailPeers    = "peers"   // comma-separated, sorted
	DetailReason   = "reason"
	DetailSession  = "session"  // id in hex
	DetailRoutes   = "routes"   // destinations reached over the peers, comma-separated, sorted
	DetailResource = "resource" // what ran short: see ResourceCPU
	DetailType     = "type"     // incident type
	DetailKind     = "kind"     // of a storage_fault or clock_skew, see package metric
	DetailSeen     = "reachable_by_others"
)

// Entry is one line of the journal.
type Entry struct {
	// Seq counts from 1 without gaps for the life of the journal.
	Seq uint64 `json:"seq"`
	// Time has nanoseconds (RFC 3339).
	Time time.Time `json:"time"`
	// Node is the node whose journal this is.
	Node string `json:"node"`
	// Incident is empty for entries outside any incident.
	Incident string            `json:"incident,omitempty"`
	Phase    Phase             `json:"phase"`
	Kind     string            `json:"kind"`
	Subject  string            `json:"subject,omitempty"`
	Detail   map[string]string `json:"detail,omitempty"`
}

// maxLine is the longest line that Read accepts, in bytes.
const maxLine = 64 << 10

// Read decodes JSON lines until the end of r. The error names the line.
func Read(r io.Reader) ([]Entry, error) {
	var entries []Entry
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), maxLine)
	for line := 1; sc.Scan(); line++ {
		if len(sc.Bytes()) == 0 {
			continue
		}
		var e Entry
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			return entries, fmt.Errorf("journal line %d: %w", line, err)
		}
		entries = append(entries, e)
	}
	if err := sc.Err(); err != nil {
		return entries, fmt.Errorf("journal after %d entries: %w", len(entries), err)
	}
	return entries, nil
}

// Values of DetailResource.
const (
	ResourceCPU          = "cpu"
	ResourceMemory       = "memory"
	ResourceVerification = "verification" // signatures wait for a core
	ResourceScheduling   = "scheduling"   // the control loop comes late
)
