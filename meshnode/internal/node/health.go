package node

import (
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

const (
	// isolatedVerified is how long this node may be verified with peers and reach none:
	// longer than a session stays verified whose peer is cut off.
	isolatedVerified = 10 * time.Second
	// isolatedKnown is how long it may know of members and have met none.
	isolatedKnown = 30 * time.Second
)

// health is what the control goroutine knows of conditions of this node that it tells
// the loop.
type health struct {
	isolated latch
	full     bool
	stalled  []string // peers from which repair makes no progress
}

// latch is on when something has been so for a while, and off as soon as it is not.
type latch struct {
	on    bool
	since time.Time // zero: it is not so
}

func (l *latch) sample(now time.Time, is bool, while time.Duration) (changed bool) {
	switch {
	case !is:
		changed = l.on
		*l = latch{}
	case l.since.IsZero():
		l.since = now
	case !l.on && now.Sub(l.since) >= while:
		l.on, changed = true, true
	}
	return changed
}

// judgeHealth tells the loop what is not well with this node.
func (n *Node) judgeHealth(now time.Time) {
	alone, verified := true, n.verified()
	anyVerified := false
	for _, l := range n.detect.Links() {
		alone = alone && l.Status != detect.Reachable && l.Status != detect.Suspect && !n.byRelay(l.Peer)
		anyVerified = anyVerified || verified[l.Peer] && !l.Left
	}
	// A peer that was lost is another matter: its own incident is open.
	is, while := alone && anyVerified, isolatedVerified
	if !is {
		is, while = alone && len(n.listed) > 0 && !n.loop.Severed(), isolatedKnown
	}
	if n.health.isolated.sample(now, is, while) {
		n.condition(now, metric.Isolated, n.name, n.health.isolated.on, "members are known and none is reached")
	}
	if full := n.store.Full(); full != n.health.full {
		n.health.full = full
		n.condition(now, metric.StorageFault, n.name, full, "the store has reached its quota")
	}
	stalled := n.records.Stalled(now)
	for _, peer := range stalled {
		if !slices.Contains(n.health.stalled, peer) {
			n.condition(now, metric.RepairStalled, peer, true, "it names records that do not come")
		}
	}
	for _, peer := range n.health.stalled {
		if !slices.Contains(stalled, peer) {
			n.condition(now, metric.RepairStalled, peer, false, "")
		}
	}
	n.health.stalled = stalled
	n.metrics.StoreBytes.Set(float64(n.store.Used()))
}
