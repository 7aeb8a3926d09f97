package node

import (
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// isolatedAfter is how long this node may know of members and reach none: longer than a
// session stays verified whose peer is cut off.
const isolatedAfter = 10 * time.Second

// isolation is whether this node knows of members and reaches none, and why.
type isolation struct {
	latch
	before counts // of the gate when it began
	cause  string // one of metric.Causes() while the latch is on
	detail string
}

// counts are the packets that the gate has seen: by verdict, and the malformed ones by
// rule. They are nil if they cannot be read.
type counts struct{ verdicts, rules map[string]uint64 }

func (n *Node) counts() counts {
	verdicts, err := n.cfg.Gate.Counters()
	if err != nil {
		return counts{}
	}
	rules, err := n.cfg.Gate.Malformed()
	if err != nil {
		return counts{}
	}
	return counts{verdicts, rules}
}

// judgeIsolation says it once when this node has reached none of the members that it
// knows for a while: as a line of the log, an incident, a metric and in the status.
func (n *Node) judgeIsolation(now time.Time) {
	i := &n.health.isolation
	is := n.isolated()
	if is && i.since.IsZero() {
		i.before = n.counts()
	}
	changed := i.sample(now, is, isolatedAfter)
	switch {
	case i.on:
		i.cause, i.detail = i.before.explain(n.counts())
	case changed:
		i.cause, i.detail = "", ""
	default:
		return
	}
	n.metrics.SetIsolated(i.cause)
	if !changed {
		return
	}
	if i.on {
		n.log.Warn("members are known and none is reached", "cause", i.cause, "detail", i.detail, "members", len(n.listed), "seconds", now.Sub(i.since).Seconds())
	}
	reason := "members are known and none is reached: " + i.cause + ": " + i.detail
	n.condition(now, n.name, mapek.Condition{Type: metric.Isolated, On: i.on, Reason: reason})
}

// isolated reports whether members are known, or sessions with them, and none is reached
// now. A peer that was lost is another matter: its own incident is open.
func (n *Node) isolated() bool {
	verified := n.verified()
	known := len(n.listed) > 0 && !n.loop.Severed()
	for _, l := range n.detect.Links() {
		if l.Status == detect.Reachable || l.Status == detect.Suspect || n.byRelay(l.Peer) {
			return false
		}
		known = known || verified[l.Peer] && !l.Left
	}
	return known
}

// judgeUnmet tells the loop of each peer that is verified, but neither heard nor on any way, and
// has been for a while. Where no peer is reached at all, isolated says it. Of one whose
// signatures were bad lately an incident has told.
func (n *Node) judgeUnmet(now time.Time) {
	if n.overload.stalled(now) {
		return // what has come may wait here
	}
	verified := n.verified()
	for _, l := range n.detect.Links() {
		_, routed := n.routes.Next(l.Peer)
		unmet := verified[l.Peer] && !l.Left && l.Status == detect.Unknown && !routed && !n.health.isolation.on && !n.loop.Threatens(l.Peer)
		w := n.health.unmet[l.Peer]
		changed := w.sample(now, unmet, isolatedAfter)
		if n.health.unmet[l.Peer] = w; !unmet {
			delete(n.health.unmet, l.Peer)
		}
		if changed {
			n.condition(now, l.Peer, mapek.Condition{Type: metric.Isolated, On: w.on, Reason: "its session is verified, and neither its heartbeats nor a way to it come"})
		}
	}
}

// explain names the likely cause why nobody was reached between two readings of the
// counters: what most frames were dropped for; if none was, whether any came.
func (c counts) explain(now counts) (cause, detail string) {
	if c.verdicts == nil || now.verdicts == nil {
		return metric.CauseUnknown, "the verifier's counters cannot be read"
	}
	grown := func(of, before map[string]uint64, name string) uint64 { return of[name] - before[name] }
	verdict := func(name string) uint64 { return grown(now.verdicts, c.verdicts, name) }
	var most, refused uint64
	for _, v := range metric.Verdicts() {
		refused += verdict(v)
	}
	fragments := grown(now.rules, c.rules, metric.RuleFragment)
	// Rules are read after verdicts: there may be a fragment more among them.
	refused -= verdict(metric.VerdictPass) + verdict(metric.VerdictNotMesh) + verdict(metric.VerdictNoSession) + verdict(metric.VerdictRateLimited) +
		min(fragments, verdict(metric.VerdictMalformed))
	for _, candidate := range []struct {
		cause string
		count uint64
		what  string
	}{
		{metric.CauseMTU, fragments, "IP fragments were dropped: frames are larger than the path's MTU"},
		{metric.CauseNoSession, verdict(metric.VerdictNoSession), "frames are of sessions that this node does not have"},
		{metric.CauseRateLimited, verdict(metric.VerdictRateLimited), "handshake frames were over the limit of their source address"},
		{metric.CauseRefused, refused, "frames were dropped; the verifier's counters say by which verdict"},
	} {
		if candidate.count > most {
			most = candidate.count
			cause, detail = candidate.cause, fmt.Sprintf("%d %s", candidate.count, candidate.what)
		}
	}
	if most > 0 {
		return cause, detail
	}
	if passed := verdict(metric.VerdictPass); passed > 0 {
		return metric.CauseUnanswered, fmt.Sprintf("%d frames came in and no peer is heard: certificates, clocks, or a path that works one way only", passed)
	}
	return metric.CauseSilence, fmt.Sprintf("nothing arrives at UDP port %d: addresses, firewalls, network policies, or a path of less than 1,280 bytes", frame.Port)
}

// status describes it; nil if the node is not isolated.
func (i *isolation) status() *api.Isolation {
	if !i.on {
		return nil
	}
	return &api.Isolation{Since: i.since, Cause: i.cause, Detail: i.detail}
}
