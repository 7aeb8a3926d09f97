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
// can form at any time, whatever messages are lost or late. A node that loses
// its last feasible way asks for a newer sequence, as in section 3.8.2 there.
//
// # Who can say what
//
// An outsider has no session, and who is on the path can only keep messages away.
// A member passes on what others originate, and could invent it: a newer sequence or
// incarnation of somebody else would draw that one's traffic, and keep its real messages
// from counting. So an originator proves every sequence number: with it comes a
// value of a hash chain whose end it has signed, together with its incarnation, under
// its certificate (the anchor). A value can be checked by hashing it, and made only
// by who knows the chain: Hu, Johnson and Perrig, "SEAD: secure efficient distance
// vector routing for mobile wireless ad hoc networks", 2003; the same idea as in
// Perrig, Canetti, Tygar and Song, "The TESLA broadcast authentication protocol",
// 2002, without its clocks. What of a node is not anchored is not noted at all, so
// names come from certificates only. The incarnation begins with the time at which
// the certificate was issued, by the authority's clock: no other clock counts, and
// nobody can claim one that is above its certificate.
//
// What a chain does not prove is a TQ. A member can lower one, which harms its own
// way only; claim up to relayedTQ, as if it had a perfect link to the destination,
// which wins only where there is no good direct link; and repeat a sequence number that
// was revealed. So a liar can draw what has no good direct way, and drop it; that
// nothing arrives is seen end to end (package mapek: a failed link over which no relay
// delivers is a crash), and it ends with the liar's session.
//
// The cost: an announcement is 16 bytes longer and takes one hash per sequence number
// to check (about 0.1 µs), at most 4096. An anchor is about 8.7 KiB and takes two
// ML-DSA-65 verifications (about 0.2 ms); each node gets each other's once per
// start and per 4096 announcements, by asking the neighbour that named it. At n = 5,
// 50 and 500 nodes that is, per node in rest, 0.06, 5 and 5 KB/s for proofs; and 9, 80
// and 8 B/s for anchors. A signature of 3,309 bytes per announcement instead would be
// up to 1 MB/s.
//
// # Growth
//
// In a mesh of up to FullMesh nodes every node is every other's neighbour. In a
// larger one a node has at most 2*Rings neighbours (see Neighbours) and reaches
// the others through them. Announcements must still reach every node from every
// other, so their interval grows with the number n of nodes:
//
//	interval(n)  = max(1 s, n × 25 ms)
//	announcements per node and second ≤ 2*Rings × min(n, 40)
//
// They wait up to 200 ms (100 ms in a small mesh) for others and share frames. So what a node sends for
// routes is bounded whatever n is; what grows with n is the time in which a
// changed quality spreads and a silent neighbour ages out. Changes do not wait:
// a link that comes up or fails, a lost way and the search for another one go at
// once, at most one origination a second per node.
//
// A Table is a state machine without goroutines or clock. It never takes a
// neighbour's silence for a failure by itself before purgeTime: Fail is an
// action of the control loop.
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
