package node

import (
	"fmt"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/detect"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// Nothing in the mesh depends on what a clock shows (see identity.MaxClockError). That one is
// wrong is still to be known: people read times, and of two records under one id the earlier
// is the answer.

// clocks is what the control goroutine knows of the nodes' clocks.
type clocks struct {
	wrong   map[string]*suspicion // by node, this one among them
	correct bool                  // correct_clock was asked for
}

// suspicion is whether a clock is wrong: on when it has been for a while, and off when it has
// been right for a while.
type suspicion struct {
	latch
	right time.Time // since when it is, although the latch is on; zero: it is not
}

// sample reports whether the latch has changed.
func (s *suspicion) sample(now time.Time, wrong bool, limits *mapek.ClockLimits) bool {
	switch {
	case wrong || !s.on:
		s.right = time.Time{}
	case s.right.IsZero():
		s.right = now
		return false
	case now.Sub(s.right) < time.Duration(limits.Rest):
		return false
	}
	return s.latch.sample(now, wrong, time.Duration(limits.For))
}

// compareWithin is how old an echo may be whose time counts.
const compareWithin = 2 * time.Second

// anchor is a time of the mesh and when it was, which no clock that is set changes.
type anchor struct{ mesh, local time.Time }

// clock is what records and journal are stamped with: the machine's clock, or the mesh's time
// while that is wrong and the loop corrects it.
func (n *Node) clock() time.Time {
	if a := n.anchor.Load(); a != nil {
		return a.mesh.Add(time.Since(a.local))
	}
	return n.cfg.Clock()
}

// judgeClocks tells the loop whose clocks are wrong. While fewer than most of the known members
// agree nobody can tell, and what was known stays.
func (n *Node) judgeClocks(now time.Time) {
	limit := time.Duration(n.cfg.Policy.Clock.Skew)
	links, own := n.detect.Links(), n.cfg.Clock()
	members := 1
	for _, l := range links {
		if !l.Left {
			members++
		}
	}
	links = slices.DeleteFunc(links, func(l detect.Link) bool {
		// What is less exact than this says too little.
		return l.Status != detect.Reachable || l.Clock.At.IsZero() || now.Sub(l.Clock.At) > compareWithin || l.Clock.Error > limit/2
	})
	ahead, offsets := map[string]time.Duration{}, []time.Duration{0}
	for _, l := range links {
		// Against what this node's clock shows now: it may have been set since the echo came.
		offset := l.Clock.Shows.Add(now.Sub(l.Clock.At)).Sub(own)
		n.metrics.ClockOffset.WithLabelValues(l.Peer).Set(offset.Seconds())
		ahead[l.Peer], offsets = offset, append(offsets, offset)
	}
	mesh, agreed := majority(offsets, members, limit)
	if !agreed {
		return
	}
	for _, l := range links {
		n.judgeClock(now, l.Peer, metric.ClockPeer, ahead[l.Peer]-mesh, l.Clock.Error)
	}
	// Who is alone agrees with himself: of a clock that was wrong nobody is left to tell.
	n.judgeClock(now, n.name, metric.ClockOwn, -mesh, 0)
	if n.clocks.correct && n.loop.Skewed(n.name) {
		n.anchor.Store(&anchor{own.Add(mesh), now})
	}
}

// judgeClock tells the loop if a node's clock, which is ahead of the mesh's time by about some time, has begun or
// ceased to be wrong.
func (n *Node) judgeClock(now time.Time, node, kind string, ahead, about time.Duration) {
	l := n.clocks.wrong[node]
	if l == nil {
		l = &suspicion{}
		n.clocks.wrong[node] = l
	}
	limits := &n.cfg.Policy.Clock
	if !l.sample(now, ahead.Abs()-about > time.Duration(limits.Skew), limits) {
		return
	}
	direction := "ahead of"
	if ahead < 0 {
		direction = "behind"
	}
	n.condition(now, node, mapek.Condition{Type: metric.ClockSkew, Kind: kind, On: l.on,
		Reason: fmt.Sprintf("its clock is %v %s that of most nodes", ahead.Abs().Round(time.Millisecond), direction)})
}

// majority returns the offset that most clocks agree on within a limit: the median, if more
// than half of all members' are no further from it (after Marzullo, "Maintaining the time in
// a distributed system", 1984). Otherwise nobody can tell which are right.
func majority(offsets []time.Duration, members int, limit time.Duration) (mesh time.Duration, agreed bool) {
	slices.Sort(offsets)
	median, near := offsets[len(offsets)/2], 0
	for _, o := range offsets {
		if (o - median).Abs() <= limit {
			near++
		}
	}
	if 2*near <= max(members, len(offsets)) {
		return 0, false
	}
	return median, true
}

// endCorrection ends what correct_clock began when this node's clock is right again.
func (n *Node) endCorrection() {
	if n.clocks.correct && !n.loop.Skewed(n.name) {
		n.clocks.correct = false
		n.anchor.Store(nil)
	}
}
