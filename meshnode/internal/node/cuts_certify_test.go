package node

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The bars of a certified mesh.
const (
	barWays  = 2 * time.Second         // every pair that a path connects can exchange frames
	barWhole = 3 * time.Second         // after the heal, everything is as before
	settled  = 2500 * time.Millisecond // how long a set of cuts lasts
	restFor  = 1500 * time.Millisecond // between a heal and the next cut
	look     = 20 * time.Millisecond
)

// cuts is a set of directed links that are cut, a bit for each: from*size + to.
type cuts uint64

func (c cuts) has(size, from, to int) bool { return c>>(from*size+to)&1 == 1 }

func (c cuts) with(size, from, to int) cuts { return c | 1<<(from*size+to) }

// both cuts a link in both directions.
func (c cuts) both(size, a, b int) cuts { return c.with(size, a, b).with(size, b, a) }

// of names the cuts: "0-1" both ways, "0>1" one way.
func (c cuts) of(size int) string {
	var names []string
	for a := range size {
		for b := range size {
			switch {
			case !c.has(size, a, b):
			case !c.has(size, b, a):
				names = append(names, fmt.Sprintf("%d>%d", a, b))
			case a < b:
				names = append(names, fmt.Sprintf("%d-%d", a, b))
			}
		}
	}
	return "{" + strings.Join(names, " ") + "}"
}

// everySet is every set of links, each cut in both directions.
func everySet(size int) []cuts {
	var links [][2]int
	for a := range size {
		for b := range a {
			links = append(links, [2]int{b, a})
		}
	}
	sets := make([]cuts, 1<<len(links))
	for n := range sets {
		for rest := n; rest > 0; rest &= rest - 1 {
			l := links[bits.TrailingZeros(uint(rest))]
			sets[n] = sets[n].both(size, l[0], l[1])
		}
	}
	return sets
}

// oneWay is every set of one or two directed links.
func oneWay(size int) []cuts {
	var links []cuts
	for a := range size {
		for b := range size {
			if a != b {
				links = append(links, cuts(0).with(size, a, b))
			}
		}
	}
	sets := slices.Clone(links)
	for i, l := range links {
		for _, k := range links[:i] {
			sets = append(sets, l|k)
		}
	}
	return sets
}

// hears reports whether a link works in both directions: one way does not make one.
func (c cuts) hears(size, a, b int) bool { return !c.has(size, a, b) && !c.has(size, b, a) }

// connects reports whether a path of links that work in both directions leads from a to b.
func (c cuts) connects(size, a, b int) bool {
	reached, next := 1<<a, []int{a}
	for len(next) > 0 {
		at := next[0]
		next = next[1:]
		for to := range size {
			if reached>>to&1 == 0 && to != at && c.hears(size, at, to) {
				reached |= 1 << to
				next = append(next, to)
			}
		}
	}
	return reached>>b&1 == 1
}

// diagnosis is what a node should say of a set of cuts: the type, and whom it has lost,
// which is whom it does not hear. Another that it can ask may hear the one that it lost.
func (c cuts) diagnosis(size, a int) (typ string, lost []int) {
	for b := range size {
		if b != a && c.has(size, b, a) {
			lost = append(lost, b)
		}
	}
	switch {
	case len(lost) == 0:
		return "", nil
	case len(lost) > 1 || len(lost) == size-1:
		return metric.NetworkPartition, lost
	}
	for b := range size {
		if b != a && b != lost[0] && !c.has(size, lost[0], b) && c.hears(size, a, b) {
			return metric.LinkFailure, lost
		}
	}
	return metric.NodeCrash, lost
}

// certified is a mesh in which sets of links are cut one after the other.
type certified struct {
	*testMesh
	size  int
	addrs []netip.Addr
	cut   cuts
	at    []*testNode
	marks []uint64 // of the journals, when the present case began

	loops atomic.Pointer[string] // the first loop that was seen
	sent  atomic.Int64           // datagrams at whose sending loops were looked for
}

// names of nodes of a mesh of a size.
func certifiedNames(size int) []string {
	var names []string
	for i := range size {
		names = append(names, fmt.Sprintf("mesh-node-a-%d", i))
	}
	return names
}

func newCertified(m *testMesh) *certified {
	c := &certified{testMesh: m, size: len(m.names), marks: make([]uint64, len(m.names))}
	for _, name := range m.names {
		c.at = append(c.at, m.nodes[name])
		c.addrs = append(c.addrs, m.nodes[name].addr)
	}
	m.net.SetFilter(func(_, _ netip.AddrPort, b []byte) []byte {
		c.sent.Add(1)
		if l := c.loop(); l != "" {
			c.loops.CompareAndSwap(nil, &l)
		}
		return b
	})
	return c
}

// set changes which links are cut.
func (c *certified) set(to cuts) {
	base := transport.Conditions{Latency: 500 * time.Microsecond, Jitter: 200 * time.Microsecond}
	gone := base
	gone.Loss = 1
	for a := range c.size {
		for b := range c.size {
			if a != b && c.cut.has(c.size, a, b) != to.has(c.size, a, b) {
				conditions := base
				if to.has(c.size, a, b) {
					conditions = gone
				}
				c.net.SetLink(c.addrs[a], c.addrs[b], conditions)
			}
		}
	}
	c.cut = to
}

type ways = map[session.Peer]session.Peer

// tables returns the ways that all nodes have published at one moment: it reads until
// nothing has changed meanwhile.
func (c *certified) tables(into []*ways) {
	for {
		for i, n := range c.at {
			into[i] = n.relays.next.Load()
		}
		if !slices.ContainsFunc(c.at, func(n *testNode) bool { return n.relays.next.Load() != into[slices.Index(c.at, n)] }) {
			return
		}
	}
}

func (c *certified) index(p session.Peer) int { return int(p[len(p)-1] - '0') }

// loop describes a way that comes back to where it was, if there is one now.
func (c *certified) loop() string {
	var tables [8]*ways
	c.tables(tables[:c.size])
	for to := range c.size {
		name := session.Peer(c.names[to])
		for from := range c.size {
			at := from
			for hops := 0; at != to; hops++ {
				next, ok := (*tables[at])[name]
				if !ok {
					break
				}
				if hops >= c.size {
					return fmt.Sprintf("from %d to %d", from, to)
				}
				at = c.index(next)
			}
		}
	}
	return ""
}

// unserved names a pair that a path connects and that cannot exchange frames now: its
// session is not verified, or the way of one of them leads nowhere or over a cut link.
func (c *certified) unserved() error {
	var tables [8]*ways
	c.tables(tables[:c.size])
	for a := range c.size {
		for b := range c.size {
			if a == b || !c.cut.connects(c.size, a, b) {
				continue
			}
			if s := c.at[a].session(c.names[b]).State; s != session.StateVerified {
				return fmt.Errorf("the session of %d with %d is %s", a, b, s)
			}
			for at, hops := a, 0; at != b; hops++ {
				next, ok := (*tables[at])[session.Peer(c.names[b])]
				if !ok || hops > c.size {
					return fmt.Errorf("%d has no way to %d at %d", a, b, at)
				}
				to := c.index(next)
				if c.cut.has(c.size, at, to) {
					return fmt.Errorf("the way of %d to %d leads over the cut link %d>%d", a, b, at, to)
				}
				at = to
			}
		}
	}
	return nil
}

// exchange sends frames between all pairs whose way is by relay and names one that none
// arrives of.
func (c *certified) exchange() error {
	type pair struct{ from, to int }
	before := map[pair]float64{}
	for a := range c.size {
		for b := range c.size {
			if a == b || !c.cut.connects(c.size, a, b) {
				continue
			}
			if next, _ := c.at[a].relays.Next(session.Peer(c.names[b])); string(next) != c.names[b] {
				before[pair{a, b}] = arrivals(c.at[b], c.at[a])
			}
			if err := c.at[a].sessions.Send(session.Peer(c.names[b]), frame.DataAck, make([]byte, 9)); err != nil {
				return fmt.Errorf("%d sends nothing to %d: %w", a, b, err)
			}
		}
	}
	time.Sleep(50 * time.Millisecond)
	synctest.Wait()
	for p, n := range before {
		if arrivals(c.at[p.to], c.at[p.from]) <= n {
			return fmt.Errorf("a frame of %d does not reach %d by relay", p.from, p.to)
		}
	}
	return nil
}

// changed names what is not as it was before anything was cut.
func (c *certified) changed() error {
	if err := c.testMesh.whole(); err != nil {
		return err
	}
	for a, n := range c.at {
		if open := n.openIncidents(); len(open) > 0 {
			return fmt.Errorf("%d: %s is open", a, open[0])
		}
		next := *n.relays.next.Load()
		for b, name := range c.names {
			if a != b && string(next[session.Peer(name)]) != name {
				return fmt.Errorf("%d reaches %d by %q", a, b, next[session.Peer(name)])
			}
		}
	}
	return nil
}

// mark begins a case.
func (c *certified) mark() {
	for i, n := range c.at {
		if all := n.Events(c.marks[i], 1<<20); len(all) > 0 {
			c.marks[i] = all[len(all)-1].Seq
		}
	}
}

// opened returns the incidents that a node has opened in the present case, "type of peers".
func (c *certified) opened(a int) []string {
	var all []string
	for _, e := range c.at[a].Events(c.marks[a], 1<<20) {
		if e.Phase == event.Analyze && e.Kind != event.Resolved && (e.Detail["moment"] == "opened" || e.Detail["moment"] == "extended") {
			all = append(all, e.Kind+" of "+e.Detail[event.DetailPeers])
		}
	}
	return all
}

// diagnosed says what is wrong with the incidents of a set of cuts that came from a whole
// mesh: at its end each node that lost peers has one open, of the right type and of
// these peers, and no node called another one crashed that a path leads to.
func (c *certified) diagnosed() (wrong []string) {
	for a, n := range c.at {
		typ, lost := c.cut.diagnosis(c.size, a)
		var want []string
		if typ != "" {
			var peers []string
			for _, b := range lost {
				peers = append(peers, c.names[b])
			}
			want = []string{typ + " of " + strings.Join(peers, " ")}
		}
		if got := n.openIncidents(); !slices.Equal(got, want) {
			wrong = append(wrong, fmt.Sprintf("node %d has %v open, want %v (it opened %v)", a, got, want, c.opened(a)))
		}
	}
	return append(wrong, c.slandered(c.cut)...)
}

// followed says what is wrong with the incidents after a change of cuts: those that are
// open concern everyone who is lost now, and nobody who was never lost.
func (c *certified) followed(sets []cuts) (wrong []string) {
	for a, n := range c.at {
		var open []string
		for _, i := range n.Status().Incidents {
			if i.Resolved.IsZero() {
				open = append(open, i.Peers...)
			}
		}
		for b, name := range c.names {
			now := a != b && !c.cut.hears(c.size, a, b)
			ever := a != b && slices.ContainsFunc(sets, func(s cuts) bool { return !s.hears(c.size, a, b) })
			if has := slices.Contains(open, name); has && !ever || now && !has {
				wrong = append(wrong, fmt.Sprintf("node %d has lost node %d: %v, and an incident about it is open: %v", a, b, now, has))
			}
		}
	}
	return append(wrong, c.slandered(sets...)...)
}

// slandered names nodes that were called crashed although a path led to them all the time.
func (c *certified) slandered(of ...cuts) (wrong []string) {
	for a := range c.at {
		for _, o := range c.opened(a) {
			who, isCrash := strings.CutPrefix(o, metric.NodeCrash+" of ")
			if !isCrash {
				continue
			}
			for _, name := range strings.Split(who, ",") {
				b := c.index(session.Peer(name))
				if !slices.ContainsFunc(of, func(s cuts) bool { return !s.connects(c.size, a, b) }) {
					wrong = append(wrong, fmt.Sprintf("node %d calls node %d crashed, which a path leads to", a, b))
				}
			}
		}
	}
	return wrong
}

// until returns how long it takes until check returns nil, looking every so often, and the
// error if it takes longer than limit.
func (c *certified) until(limit time.Duration, check func() error) (time.Duration, error) {
	for start := time.Now(); ; time.Sleep(look) {
		synctest.Wait()
		err := check()
		if took := time.Since(start); err == nil || took >= limit {
			return took, err
		}
	}
}

// verdict is what came of one case.
type verdict struct {
	name  string
	wrong []string
	ways  time.Duration // until every pair that a path connects could exchange frames
	heal  time.Duration // until everything was as before
}

// run runs a case: the sets of cuts follow each other, then all is healed.
func (c *certified) run(sets ...cuts) verdict {
	var names []string
	for _, s := range sets {
		names = append(names, s.of(c.size))
	}
	v := verdict{name: strings.Join(names, " then ")}
	say := func(format string, args ...any) { v.wrong = append(v.wrong, fmt.Sprintf(format, args...)) }
	c.mark()
	for _, s := range sets {
		begun := time.Now()
		c.set(s)
		took, err := c.until(barWays, c.unserved)
		if v.ways = max(v.ways, took); err != nil {
			say("not within %v of %s: %v", barWays, s.of(c.size), err)
		} else if err := c.exchange(); err != nil {
			say("after %s: %v", s.of(c.size), err)
		}
		for time.Since(begun) < settled {
			time.Sleep(look)
			synctest.Wait()
			if err := c.unserved(); err != nil && time.Since(begun) > barWays {
				say("%v after %s: %v", time.Since(begun), s.of(c.size), err)
				break
			}
		}
	}
	if len(sets) == 1 {
		v.wrong = append(v.wrong, c.diagnosed()...)
	} else {
		v.wrong = append(v.wrong, c.followed(sets)...)
	}
	c.set(0)
	var err error
	if v.heal, err = c.until(barWhole, c.changed); err != nil {
		say("not within %v of the heal: %v", barWhole, err)
		if _, err := c.until(time.Minute, c.changed); err != nil {
			say("a minute after the heal: %v", err)
		}
	}
	time.Sleep(restFor)
	synctest.Wait()
	if l := c.loops.Swap(nil); l != nil {
		say("a loop %s", *l)
	}
	return v
}
