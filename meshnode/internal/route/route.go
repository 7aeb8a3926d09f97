// Package route finds the way to every node of the mesh over the links that
// are there, in the manner of B.A.T.M.A.N. IV: each node originates a message
// once a second and on every link change; neighbours pass it on with its
// transmit quality (TQ, 0 to 255) lowered by the link that it came over and by
// a hop penalty; the neighbour whose message of an originator carries the best
// TQ is the next hop to it.
//
// B.A.T.M.A.N. alone allows short loops while its windows disagree. Here a
// neighbour is only eligible under the feasibility condition of RFC 8966
// section 3.5.1, with (sequence, TQ) as the distance: it must have announced a
// newer sequence, or a better TQ of the same sequence, than this node ever
// announced itself. Distances then fall strictly along every path, so no loop
// can form at any time, whatever messages are lost or late.
//
// A Table is a state machine without goroutines or clock. It never takes a
// neighbour's silence for a failure by itself before purgeTime: Fail is an
// action of the control loop.
package route

import (
	"slices"
	"time"
)

// Tuning. The hop penalty is that of batman-adv in relation to 255.
const (
	// OriginateEvery is the regular distance between a node's own messages.
	OriginateEvery = time.Second
	// hopPenalty is what a hop costs, in 255ths.
	hopPenalty = 30
	// hysteresis is how much better a path must be to replace one that works.
	// Below the difference that one hop makes, so that a direct link that is
	// whole again is used again.
	hysteresis = 20
	// window is the number of sequences over which an announcement that is not
	// renewed loses its quality.
	window = 5
	// purgeTime is the age at which what a neighbour announced is forgotten.
	purgeTime = 6 * time.Second
	// holdTime is how long a destination's feasibility distance outlives its
	// last announcement, so that nothing stale can be taken for news.
	holdTime = time.Minute
	// maxHops bounds the way of a message.
	maxHops = 16
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
}

// announcement is the last thing that a neighbour said about a destination.
type announcement struct {
	distance
	at time.Time
}

type destination struct {
	from      map[string]announcement // by neighbour
	feasible  distance                // the best that this node ever announced
	newest    distance                // the newest sequence seen
	heard     time.Time               // when anything was last announced
	next      string
	quality   uint8
	announced distance // last passed on
}

// Table is the routing table of one node. It is not safe for concurrent use.
type Table struct {
	self        string
	incarnation uint64
	seq         uint32
	lastOwn     time.Time
	links       map[string]*link
	dests       map[string]*destination
}

var _ Backend = (*Table)(nil)

// New returns an empty table. The incarnation must be larger after a restart.
func New(self string, incarnation uint64) *Table {
	return &Table{self: self, incarnation: incarnation, links: map[string]*link{}, dests: map[string]*destination{}}
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
	l := t.links[n]
	if l == nil {
		if quality == 0 {
			return Output{}
		}
		l = &link{}
		t.links[n] = l
	}
	if l.failed && quality > 0 {
		l.failed, l.quality = false, 0
	}
	turned := (l.quality == 0) != (quality == 0)
	l.quality = quality
	var out Output
	t.selectAll(now, &out)
	if turned {
		t.originate(now, &out)
	}
	return out
}

// Fail stops using a neighbour until SetLink names it again.
func (t *Table) Fail(now time.Time, n string) Output {
	var out Output
	l := t.links[n]
	if l == nil || l.failed {
		return out
	}
	l.failed = true
	for _, d := range t.dests {
		delete(d.from, n)
	}
	t.selectAll(now, &out)
	t.originate(now, &out)
	return out
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
	delete(t.links, n)
	for _, d := range t.dests {
		delete(d.from, n)
	}
	t.selectAll(now, &out)
	return out
}

// Tick originates when it is time and forgets what is old.
func (t *Table) Tick(now time.Time) Output {
	var out Output
	if now.Sub(t.lastOwn) >= OriginateEvery {
		t.originate(now, &out)
	}
	for _, d := range t.dests {
		for n, a := range d.from {
			if now.Sub(a.at) >= purgeTime {
				delete(d.from, n)
			}
		}
	}
	t.selectAll(now, &out)
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
