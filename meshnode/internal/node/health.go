package node

import (
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// health is what the control goroutine knows of conditions of this node that it tells
// the loop.
type health struct {
	isolation
	unmet   map[string]latch // peers that are verified, and neither heard nor on any way
	stalled []string         // peers from which repair makes no progress
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
	n.judgeIsolation(now)
	n.judgeUnmet(now)
	stalled := n.records.Stalled(now)
	for _, peer := range stalled {
		if !slices.Contains(n.health.stalled, peer) {
			n.condition(now, peer, mapek.Condition{Type: metric.RepairStalled, On: true, Reason: "it names records that do not come"})
		}
	}
	for _, peer := range n.health.stalled {
		if !slices.Contains(stalled, peer) {
			n.condition(now, peer, mapek.Condition{Type: metric.RepairStalled})
		}
	}
	n.health.stalled = stalled
}
