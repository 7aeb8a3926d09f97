package route

import (
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
)

// Tuning. The hop penalty is that of batman-adv in relation to 255.
const (
	// OriginateEvery is the regular distance between a node's own messages in
	// a mesh of up to 40 nodes.
	OriginateEvery = time.Second
	// originateShare is what each node of a larger mesh adds to it: the number
	// of announcements that a node passes on per second stays the same.
	originateShare = OriginateEvery / 40
	// hopPenalty is what a hop costs, in 255ths.
	hopPenalty = 30
	// relayedTQ is the most that anybody but a destination itself can announce: one
	// perfect link to it.
	relayedTQ = 255 - hopPenalty
	// hysteresis is how much better a path must be to replace one that works.
	// Below the difference that one hop makes, so that a direct link that is
	// whole again is used again.
	hysteresis = 20
	// window is the number of sequences that a neighbour's announcement may fall
	// behind the newest one: batman-adv averages as many values and leaves out
	// those that are missing, so that a silent neighbour's TQ stays until all are.
	window = 5
	// purgeIntervals is the age, in distances between originations, at which
	// what a neighbour announced is forgotten.
	purgeIntervals = 6
	// holdTime, or holdIntervals if that is longer, is how long a destination's
	// feasibility distance outlives its last announcement, so that nothing stale
	// can be taken for news.
	holdTime      = time.Minute
	holdIntervals = 10
	// sweepShare is the part of an interval between two searches for what is old.
	sweepShare = 20
	// maxHops bounds the way of a message.
	maxHops = 16
	// newsEvery is the shortest distance between originations out of turn in a
	// large mesh, askPause that of those that were asked for in a small one.
	newsEvery = time.Second
	askPause  = 50 * time.Millisecond
	// askEvery is the distance between two requests for the same destination.
	askEvery = 300 * time.Millisecond
)

// Route is the way to one destination.
type Route struct {
	Destination string
	NextHop     string
	Quality     uint8
	// Standby is the best other neighbour that announces the destination, or
	// empty.
	Standby string
}

// Backend moves frames by the routes; a kernel's routing protocol can take the
// place of Table behind it.
type Backend interface {
	Next(destination string) (hop string, ok bool)
	Routes() []Route
	// Fail stops using a neighbour at once; its links come back by SetLink.
	Fail(now time.Time, neighbour string) Output
	// SetLink tells the quality of the link to a neighbour.
	SetLink(now time.Time, neighbour string, quality uint8) Output
}

// Message is a routing message for one neighbour.
type Message struct {
	To      string
	Payload []byte
}

// Output is what the caller must send, and how many destinations changed
// their next hop, appeared or vanished.
type Output struct {
	Send    []Message
	Changed int
}

type link struct {
	quality uint8
	failed  bool
	queue   queue
	// told and verified count anchors, sent to the neighbour and got from it; gaps its
	// announcements that are far from the newest.
	told, verified, gaps budget
}

// heard is the last thing that a neighbour said about a destination.
type heard struct {
	neighbour string
	distance
	hops  uint8
	proof proof
	at    time.Time
}

type destination struct {
	chain     revealed
	from      []heard   // by neighbour
	feasible  distance  // the best that this node ever announced
	newest    distance  // the newest sequence seen
	heard     time.Time // when anything was last announced
	next      string
	quality   uint8
	announced distance  // last passed on to all
	asked     time.Time // when a newer sequence was last asked for
	wanted    uint32    // and which
}

// Table is the routing table of one node. It is not safe for concurrent use.
type Table struct {
	self        string
	voucher     Voucher
	number      uint32 // of the chain
	incarnation uint64
	chain       *chain
	anchor      []byte
	seq         uint32
	wants       asked
	lastOwn     time.Time
	lastNews    time.Time // last origination out of turn
	due         time.Time // next one, if any
	lastSweep   time.Time
	links       map[string]*link
	order       []string // of links
	dests       map[string]*destination
}

var _ Backend = (*Table)(nil)

// New returns an empty table of a node that v signs for.
func New(self string, v Voucher) *Table {
	t := &Table{self: self, voucher: v, links: map[string]*link{}, dests: map[string]*destination{}}
	t.rechain()
	return t
}

// large reports whether the mesh has more nodes than can all be neighbours.
func (t *Table) large() bool { return len(t.dests)+1 > FullMesh }

// interval is the regular distance between own messages.
func (t *Table) interval() time.Duration {
	return max(OriginateEvery, time.Duration(len(t.dests)+1)*originateShare)
}

// Next returns the next hop to a destination.
func (t *Table) Next(dest string) (string, bool) {
	d := t.dests[dest]
	if d == nil || d.next == "" {
		return "", false
	}
	return d.next, true
}

// Routes returns the routes in use, ordered by destination.
func (t *Table) Routes() []Route {
	routes := make([]Route, 0, len(t.dests))
	for _, name := range sorted(t.dests) {
		d := t.dests[name]
		if d.next == "" {
			continue
		}
		routes = append(routes, Route{Destination: name, NextHop: d.next, Quality: d.quality, Standby: t.standby(d)})
	}
	return routes
}

// SetLink sets the quality of a link, 0 if it is down. A link that comes up or
// goes down makes the node originate at once.
func (t *Table) SetLink(now time.Time, n string, quality uint8) Output {
	var out Output
	l := t.links[n]
	if l == nil && quality == 0 || l != nil && l.quality == quality && (!l.failed || quality == 0) {
		return out
	}
	l = t.link(n)
	if l.failed && quality > 0 {
		l.failed, l.quality = false, 0
	}
	turned := (l.quality == 0) != (quality == 0)
	l.quality = quality
	t.selectAll(now, &out)
	if turned {
		t.tellAnchor(now, n, t.anchor)
		t.originateSoon(now, 0)
	}
	t.collect(now, &out)
	return out
}

// Fail stops using a neighbour until SetLink names it again.
func (t *Table) Fail(now time.Time, n string) Output {
	var out Output
	l := t.links[n]
	if l == nil || l.failed {
		return out
	}
	if mutant.RerouteToDeadHop {
		t.selectAll(now, &out)
		return out
	}
	l.failed = true
	t.leave(now, n, &out)
	t.originateSoon(now, 0)
	t.collect(now, &out)
	return out
}

// leave drops what a neighbour announced.
func (t *Table) leave(now time.Time, n string, out *Output) {
	for _, d := range t.dests {
		d.forget(n)
	}
	t.selectAll(now, out)
}

// Failed reports whether a neighbour is out of use by Fail.
func (t *Table) Failed(n string) bool {
	l := t.links[n]
	return l != nil && l.failed
}

// Uses reports whether any route goes through a neighbour.
func (t *Table) Uses(n string) bool {
	for _, d := range t.dests {
		if d.next == n {
			return true
		}
	}
	return false
}

// Forget drops a neighbour and what it announced.
func (t *Table) Forget(now time.Time, n string) Output {
	var out Output
	t.unlink(n)
	t.leave(now, n, &out)
	t.collect(now, &out)
	return out
}

// Tick originates when it is time and forgets what is old.
func (t *Table) Tick(now time.Time) Output {
	var out Output
	switch {
	case !t.due.IsZero() && !now.Before(t.due):
		t.originate(now, news)
	case now.Sub(t.lastOwn) >= t.interval():
		t.originate(now, announcement)
	}
	if now.Sub(t.lastSweep) >= t.interval()/sweepShare {
		t.lastSweep = now
		t.sweep(now, &out)
	}
	t.collect(now, &out)
	return out
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
