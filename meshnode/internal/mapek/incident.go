package mapek

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Subject is a peer that an incident is about.
type Subject struct {
	Unreachable bool
	Verified    bool // since it returned, or since its last failure
	SeenBy      []string
	Failures    int
	Session     string // the one whose attestation failed last
	// Typical and Episode are the round trips of its link, of before and now.
	Typical, Episode time.Duration
	Proven           bool // one of the failures was the peer's own doing
}

// Incident is one episode.
type Incident struct {
	ID   string
	Type string // empty while Analyze still waits for what belongs together
	// Since is the last sign of health of its first peer.
	Since    time.Time
	Opened   time.Time
	Resolved time.Time
	Subjects map[string]*Subject
	// Actions are those that ended, as far as there is room.
	Actions []Did
	// Resource is what ran short, Reason by how much, and Peak the most that was
	// measured of each.
	Resource, Reason string
	Peak             Load
	// Kind is that of a storage_fault or clock_skew, and Reason says more of it.
	Kind string

	due  time.Time // when a lone silent peer is judged
	last time.Time // the last peer's fall, or the last failure; or when a disk began to be at fault
	told bool      // Quiet was found since the last failure, or Lasting
}

// Peers returns the incident's peers, sorted.
func (i *Incident) Peers() []string { return slices.Sorted(maps.Keys(i.Subjects)) }

// unreachable returns how many of the peers are not reached now.
func (i *Incident) unreachable() int {
	n := 0
	for _, s := range i.Subjects {
		if s.Unreachable {
			n++
		}
	}
	return n
}

// seen reports whether other peers hear any of the incident's peers.
func (i *Incident) seen() bool {
	for _, s := range i.Subjects {
		if len(s.SeenBy) > 0 {
			return true
		}
	}
	return false
}

// unwell returns the peers that are not back and verified, sorted.
func (i *Incident) unwell() []string {
	return slices.DeleteFunc(i.Peers(), func(peer string) bool { return !i.Subjects[peer].Unreachable && i.Subjects[peer].Verified })
}

// settled reports whether every peer is back and verified.
func (i *Incident) settled() bool { return len(i.unwell()) == 0 }

// sessions returns the sessions that failed last of some of the peers.
func (i *Incident) sessions(peers []string) []string {
	var ids []string
	for _, peer := range peers {
		if s := i.Subjects[peer]; s != nil && s.Session != "" {
			ids = append(ids, s.Session)
		}
	}
	return ids
}

// Cases is Analyze's memory: the incidents that are not over.
type Cases struct {
	prefix string
	count  int
	open   []*Incident
	// back is when peers came back whose silence was not taken for a crash.
	back map[string]time.Time
}

// NewCases returns an empty memory. The prefix must be unique to this run of
// this node; incident ids start with it.
func NewCases(prefix string) *Cases { return &Cases{prefix: prefix, back: map[string]time.Time{}} }

// Open returns the incidents that are not over, oldest first, without those
// that Analyze still waits for.
func (c *Cases) Open() []*Incident {
	var open []*Incident
	for _, i := range c.open {
		if i.Type != "" {
			open = append(open, i)
		}
	}
	return open
}

// Of returns the id of the newest incident that a symptom of a kind about a peer belongs
// to, empty if there is none.
func (c *Cases) Of(kind, peer string) string {
	for _, i := range slices.Backward(c.open) {
		if i.Subjects[peer] != nil && concerns(kind, i.Type) {
			return i.ID
		}
	}
	return ""
}

// silence returns the open incident of silent peers that a peer is a subject of, nil
// if there is none.
func (c *Cases) silence(peer string) *Incident {
	for _, i := range c.open {
		if i.Subjects[peer] != nil && (i.Type == "" || connectivity(i.Type)) {
			return i
		}
	}
	return nil
}

// concerns reports whether a kind of symptom opens, changes or ends incidents of a type.
// A peer may be the subject of several at a time.
func concerns(kind, typ string) bool {
	silent := typ == "" || connectivity(typ)
	switch kind {
	case event.SessionFailed, event.ProvenBad:
		return typ == metric.VerificationFailed
	case event.FailuresHigh, event.FailuresNormal:
		return typ == metric.HighFailureRate
	case event.SessionVerified:
		return silent || typ == metric.VerificationFailed
	case event.LatencyHigh, event.LatencyNormal:
		return typ == metric.LatencySLO
	case event.ResourcesShort, event.ResourcesNormal:
		return typ == metric.ResourceExhaustion
	case event.ConditionRaised, event.ConditionEnded:
		return isCondition(typ)
	}
	return silent
}

func (c *Cases) add(i *Incident) *Incident {
	c.count++
	i.ID = fmt.Sprintf("%s-%d", c.prefix, c.count)
	i.Subjects = make(map[string]*Subject)
	c.open = append(c.open, i)
	return i
}

// did notes the end of an action of an open incident.
func (c *Cases) did(o Outcome) {
	for _, i := range c.open {
		if i.ID == o.Incident {
			i.Actions = note(i.Actions, o)
		}
	}
}

func (c *Cases) drop(i *Incident) {
	c.open = slices.DeleteFunc(c.open, func(o *Incident) bool { return o == i })
}
