package node

import (
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/resource"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// overload is what the control goroutine knows of this node's load, and of what
// the loop does about it.
type overload struct {
	meter    *resource.Meter // nil if CPU and memory are not watched
	failed   bool            // the meter could not be read, and it was said
	lag      time.Duration   // the most that a tick came late since the last measurement
	ticked   time.Time       // the last tick
	late     time.Time       // the last tick that came late
	sheds    uint64          // work shed before shedding began
	yields   bool            // this node hands client sessions over
	nodes    int64           // that were met when more were asked for
	incident string          // for which work is shed
}

const (
	// stall is how much later than it should a tick comes when the machine has no
	// time for this node: a share of the shortest deadline of a challenge.
	stall = 50 * time.Millisecond
	// stallFor is how long that is held against this node, not against its peers.
	stallFor = time.Second
)

// tick notes a tick of the control goroutine.
func (o *overload) tick(now time.Time) {
	if !o.ticked.IsZero() {
		lag := now.Sub(o.ticked) - tick
		o.lag = max(o.lag, lag)
		if lag >= stall {
			o.late = now
		}
	}
	o.ticked = now
}

// stalled reports whether a tick came late lately, or is overdue. A peer is not to be
// judged then: what it sent may have waited here (Lifeguard's local health: Dadgar,
// Phillips and Currey, 2017).
func (o *overload) stalled(now time.Time) bool {
	return now.Sub(o.ticked) >= tick+stall || !o.late.IsZero() && now.Sub(o.late) < stallFor
}

// measureLoad tells the loop how short of resources this node is.
func (n *Node) measureLoad(now time.Time) {
	load := mapek.Load{Queued: n.sessions.Delay(), Lag: n.overload.lag}
	n.overload.lag = 0
	if n.overload.meter != nil {
		l, err := n.overload.meter.Read(now)
		if err != nil && !n.overload.failed {
			n.log.Warn("CPU and memory cannot be watched", "error", err)
		}
		n.overload.failed = err != nil
		load.CPU, load.Throttled, load.Memory = l.CPU, l.Throttled, l.Memory
		load.CPULimit, load.MemoryLimit = n.cfg.Group.CPULimit(), float64(n.cfg.Group.MemoryLimit())
	}
	n.metrics.NodeCPU.Set(load.CPU)
	n.metrics.NodeThrottled.Set(load.Throttled)
	n.metrics.NodeMemory.Set(load.Memory)
	n.metrics.NodeQueue.Set(load.Queued.Seconds())
	n.metrics.NodeLag.Set(load.Lag.Seconds())
	n.signals = append(n.signals, mapek.Signal{Kind: mapek.Loaded, Peer: n.name, Time: now, Since: now, Load: load})
}

// relieved reports the effect of shedding: work was turned away since it began, or
// there is none that could be.
func (n *Node) relieved() bool {
	_, waiting := n.sessions.Waiting()
	return n.sessions.Shed() > n.overload.sheds || waiting == 0 && n.cfg.Limits.Reattest == 0
}

// endRelief ends what shed_low_priority and yield_sessions began when their incidents are
// over.
func (n *Node) endRelief() {
	if n.overload.yields && !n.loop.Exhausted() && !n.loop.Faulty() {
		n.overload.yields = false
		n.clients.Yield(false)
	}
	if n.loop.Exhausted() || !n.sessions.Shedding() {
		return
	}
	n.sessions.SetShedding(false)
	n.journal.Append(event.Entry{Incident: n.overload.incident, Phase: event.Execute, Kind: metric.ShedLowPriority, Subject: n.name, Detail: map[string]string{event.DetailOutcome: "ended"}})
}

// blockAgain blocks the peers that were blocked when this node last ran, if it heals.
func (n *Node) blockAgain() error {
	if !n.cfg.Heal {
		return nil
	}
	now := time.Now() // as the loop has it
	for _, t := range n.loop.Blocked(now) {
		if err := n.sessions.Block(session.Peer(t.Peer), t.Until.Sub(now)); err != nil {
			return err
		}
	}
	return nil
}
