package session

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// routes is a node's Relays for tests.
type routes struct {
	mu        sync.Mutex
	next      map[Peer]Peer
	forwarded int
	arrived   map[Peer]int
	refused   map[string]int // by "neighbour reason"
}

func newRoutes() *routes {
	return &routes{next: map[Peer]Peer{}, arrived: map[Peer]int{}, refused: map[string]int{}}
}

func (r *routes) Next(p Peer) (Peer, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next, ok := r.next[p]
	return next, ok
}

func (r *routes) set(p, next Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next[p] = next
}

func (r *routes) Forwarded()     { r.mu.Lock(); defer r.mu.Unlock(); r.forwarded++ }
func (r *routes) Arrived(p Peer) { r.mu.Lock(); defer r.mu.Unlock(); r.arrived[p]++ }
func (r *routes) Refused(n Peer, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused[fmt.Sprintf("%s %s", n, reason)]++
}

func (r *routes) counts() (forwarded int, arrived map[Peer]int, refused map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forwarded, maps.Clone(r.arrived), maps.Clone(r.refused)
}

// triangle is three nodes, each of which knows the direct way to the others.
type triangle struct {
	*mesh
	a, b, c *node
	routes  map[Peer]*routes
}

func newTriangle(t *testing.T, change ...func(*Config)) *triangle {
	w := &triangle{mesh: newMesh(t), routes: map[Peer]*routes{}}
	start := func(name Peer) *node {
		r := newRoutes()
		w.routes[name] = r
		for _, p := range []Peer{"a", "b", "c"} {
			if p != name {
				r.set(p, p)
			}
		}
		return w.start(name, netip.AddrPort{}, append(change, func(c *Config) { c.Relays = r })...)
	}
	w.a, w.b, w.c = start("a"), start("b"), start("c")
	w.connectAll()
	w.within(3*time.Second, "verified", w.verified)
	return w
}

// detour cuts the link of a and b and sends what they say over c.
func (w *triangle) detour() {
	w.cut(w.a, w.b)
	w.routeOverC()
}

// routeOverC sends what a and b say to each other over c.
func (w *triangle) routeOverC() {
	w.routes["a"].set("b", "c")
	w.routes["b"].set("a", "c")
}

// renewed waits until a and b have the same session, another one than old.
func (w *triangle) renewed(limit time.Duration, what string, old frame.SessionID) {
	w.t.Helper()
	w.within(limit, what, func() bool {
		id := w.a.info(w.b).ID
		return id != old && w.b.info(w.a).ID == id
	})
}

// The routes take a link for cut whose session was invalidated, and lead over a relay.
// Perhaps that one has no verified session with the peer either: the call for a new
// session gets through all the same.
func TestCallGetsPastARelayThatRefuses(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newTriangle(t)
		defer w.stopAll()
		old := w.a.info(w.b).ID
		if err := w.c.Invalidate("a", "test"); err != nil {
			t.Fatal(err)
		}
		if err := w.b.Invalidate("a", "test"); err != nil {
			t.Fatal(err)
		}
		w.routeOverC()
		w.b.Rotate("a", "test")
		w.renewed(200*time.Millisecond, "a new session past the relay", old)
		if _, _, refused := w.routes["c"].counts(); refused["b "+metric.RefusedNoRoute] == 0 {
			t.Errorf("the relay was to refuse the call: %v", refused)
		}
	})
}

// Over a link that is cut in one direction the call comes straight, and its answer by
// relay.
func TestCallOverALinkCutInOneDirection(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newTriangle(t)
		defer w.stopAll()
		old := w.a.info(w.b).ID
		w.net.SetFilter(func(from, to netip.AddrPort, p []byte) []byte {
			if from == w.b.addr && to == w.a.addr {
				return nil
			}
			return p
		})
		w.routeOverC()
		w.a.Rotate("b", "test")
		w.renewed(200*time.Millisecond, "a new session", old)
	})
}

// A cut link with a relay left ends nothing: data, attestations and new
// handshakes go on, in frames that the relay cannot read; heartbeats, which
// measure the link, do not take the detour.
func TestRelayCarriesASession(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newTriangle(t)
		defer w.stopAll()
		id := w.a.info(w.b).ID
		w.detour()
		w.a.forget()
		w.b.forget()
		whole := string(bytes.Repeat([]byte("x"), MaxMessage))
		for _, payload := range []string{"", "small", whole} {
			if err := w.a.Send("b", frame.Data, []byte(payload)); err != nil {
				t.Fatal(err)
			}
			if err := w.a.Send("b", frame.Heartbeat, []byte("beat")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if w.b.received("a "+payload) != 1 || w.b.received("a beat") != 0 {
				t.Errorf("%d bytes by relay: %d times; heartbeats: %d", len(payload), w.b.received("a "+payload), w.b.received("a beat"))
			}
		}
		addr := w.b.info(w.a).Addr
		for range 30 {
			w.pass(time.Second)
			if !w.verified() {
				t.Fatal("a session lapsed although a relay is there")
			}
		}
		if w.a.info(w.b).ID != id || w.b.info(w.a).Addr != addr || w.a.metrics.get("timeout")+w.b.metrics.get("timeout") > 2 {
			t.Errorf("not the same session: %+v, %d timeouts", w.b.info(w.a), w.a.metrics.get("timeout")+w.b.metrics.get("timeout"))
		}
		if n := w.a.count(Verified); n < 25 {
			t.Errorf("%d attestations in 30 s", n)
		}
		w.a.Rotate("b", "test")
		w.within(3*time.Second, "a new session by relay", func() bool {
			return w.a.info(w.b).ID != id && w.a.info(w.b).ID == w.b.info(w.a).ID && w.a.verifies(w.b) && w.b.verifies(w.a)
		})
		if got := w.b.info(w.a).Addr; got != addr {
			t.Errorf("the call by relay moved its peer to %v", got)
		}
		forwarded, _, refused := w.routes["c"].counts()
		if forwarded == 0 || len(refused) > 0 {
			t.Errorf("the relay forwarded %d and refused %v", forwarded, refused)
		}
		for _, n := range []*node{w.a, w.b} {
			if _, arrived, refused := w.routes[n.name].counts(); len(arrived) != 1 || len(refused) > 0 {
				t.Errorf("%s: arrived %v, refused %v", n.name, arrived, refused)
			}
		}
		w.heal(w.a, w.b)
		w.routes["a"].set("b", "b")
		w.routes["b"].set("a", "a")
		before, _, _ := w.routes["c"].counts()
		w.pass(10 * time.Second)
		if after, _, _ := w.routes["c"].counts(); after != before || !w.verified() {
			t.Errorf("%d frames by relay after the link is back", after-before)
		}
	})
}

// Two nodes that never had a link make a session by relay.
func TestFirstHandshakeByRelay(t *testing.T) {
	for _, both := range []bool{true, false} {
		bubble.Test(t, func(t *testing.T) {
			w := &triangle{mesh: newMesh(t), routes: map[Peer]*routes{}}
			defer w.stopAll()
			for _, name := range []Peer{"a", "b", "c"} {
				r := newRoutes()
				w.routes[name] = r
				r.set("a", map[bool]Peer{true: "c", false: "a"}[name == "b"])
				r.set("b", map[bool]Peer{true: "c", false: "b"}[name == "a"])
				r.set("c", "c")
				w.start(name, netip.AddrPort{}, func(c *Config) { c.Relays = r })
			}
			w.a, w.b, w.c = w.nodes["a"], w.nodes["b"], w.nodes["c"]
			w.cut(w.a, w.b)
			w.c.Connect("a", w.a.addr)
			w.c.Connect("b", w.b.addr)
			w.within(3*time.Second, "the relay is known", func() bool { return w.a.verifies(w.c) && w.b.verifies(w.c) })
			w.a.Connect("b", w.b.addr)
			if both {
				w.b.Connect("a", w.a.addr)
			}
			w.within(5*time.Second, "a session by relay", func() bool { return w.a.verifies(w.b) && w.b.verifies(w.a) })
		})
	}
}

// relayOf makes the Relay message that a sends for b.
func (w *triangle) relayOf(n *node, to *node, t frame.Type, payload string, change func(*relayed)) []byte {
	n.Manager.mu.Lock()
	s := n.peers[to.name].current
	n.Manager.mu.Unlock()
	first, _ := s.reserve(1, 1<<30)
	r := relayed{hops: relayHops, origin: n.name, destination: to.name}
	r.datagram = s.sealFrame(make([]byte, transport.MaxDatagram), frame.Header{Type: t, Fragments: 1, Sequence: first}, []byte(payload))
	if change != nil {
		change(&r)
	}
	return r.append(nil)
}

// hand makes n send a Relay message to a neighbour.
func (w *triangle) hand(n, to *node, message []byte) {
	w.t.Helper()
	if err := n.Send(to.name, frame.Relay, message); err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// TestRelayIsNotTrusted: whatever a relay does to a frame is noticed, is put
// down to who handed it over, and costs the two ends no session.
func TestRelayIsNotTrusted(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newTriangle(t)
		defer w.stopAll()
		w.detour()
		w.b.forget()
		edit := func(i int) func(*relayed) {
			return func(r *relayed) { r.datagram = slices.Clone(r.datagram); r.datagram[i] ^= 1 }
		}
		good := w.relayOf(w.a, w.b, frame.Data, "good", nil)
		for _, test := range []struct {
			reason  string
			message []byte
		}{
			{"", good},
			{metric.RefusedReplay, good},
			{metric.RefusedTampered, w.relayOf(w.a, w.b, frame.Data, "x", edit(frame.HeaderLen))},
			{metric.RefusedTampered, w.relayOf(w.a, w.b, frame.AttestationSignature, "x", edit(frame.HeaderLen))},
			{metric.RefusedBadTag, w.relayOf(w.a, w.b, frame.Data, "x", edit(frame.TagOffset))},
			{metric.RefusedBadTag, w.relayOf(w.a, w.b, frame.Data, "x", edit(frame.TagOffset-1))}, // sequence
			{metric.RefusedNoSession, w.relayOf(w.a, w.b, frame.Data, "x", edit(8))},
			{metric.RefusedNoSession, w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.origin = "c" })},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.Relay, "x", nil)},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.Heartbeat, "x", nil)},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.Routing, "x", nil)},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.hops = 0 })},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.hops = relayHops + 1 })},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.origin = "b" })},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.datagram = r.datagram[:frame.HeaderLen-1] })},
			{metric.RefusedNoRoute, w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.origin = "stranger" })},
			{metric.RefusedNoRoute, w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.destination = "stranger" })},
		} {
			_, _, before := w.routes["b"].counts()
			w.hand(w.c, w.b, test.message)
			_, _, after := w.routes["b"].counts()
			for key, n := range after {
				if n != before[key] && key != "c "+test.reason {
					t.Errorf("want %q, got %q", test.reason, key)
				}
			}
			if test.reason != "" && after["c "+test.reason] != before["c "+test.reason]+1 {
				t.Errorf("%s was not noticed: %v", test.reason, after)
			}
		}
		if w.b.received("a good") != 1 || w.b.received("a x") != 0 {
			t.Errorf("received %v", w.b.messages)
		}
		if n := w.b.count(VerificationFailed) + w.b.count(Invalidated); n > 0 || !w.b.verifies(w.a) {
			t.Errorf("the relay had an innocent session accused %d times", n)
		}
		// What was not verified lately carries no data, by relay neither.
		w.b.Manager.mu.Lock()
		w.b.peers["a"].current.verifiedUntil.Store(1)
		w.b.Manager.mu.Unlock()
		w.hand(w.c, w.b, w.relayOf(w.a, w.b, frame.Data, "late", nil))
		if _, _, refused := w.routes["b"].counts(); refused["c "+metric.RefusedExpired] != 1 || w.b.received("a late") != 0 {
			t.Errorf("data of an unverified session: %v", refused)
		}
	})
}

// A relay forwards by its routes, never back, and no further than the limit.
func TestRelayForwarding(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newTriangle(t)
		defer w.stopAll()
		refuse := func(reason string, message []byte) {
			t.Helper()
			w.hand(w.a, w.c, message)
			if forwarded, _, refused := w.routes["c"].counts(); forwarded != 0 || refused["a "+reason] != 1 {
				t.Errorf("want %s: forwarded %d, refused %v", reason, forwarded, refused)
			}
			w.routes["c"].refused = map[string]int{}
		}
		refuse(metric.RefusedHops, w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.hops = 1 }))
		w.routes["c"].set("b", "a")
		refuse(metric.RefusedNoRoute, w.relayOf(w.a, w.b, frame.Data, "x", nil))
		w.routes["c"].set("b", "b")
		w.routes["c"].set("d", "d")
		if err := w.c.Block("d", time.Minute); err != nil {
			t.Fatal(err)
		}
		refuse(metric.RefusedNoRoute, w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.origin = "d" }))
		// No more calls than a source of its own could make.
		call := handshakeFrames(frame.HandshakeInit, []byte("x"), messageID{})[0]
		for range relayHandshakeBurst {
			w.hand(w.a, w.c, (&relayed{hops: 2, origin: "a", destination: "b", datagram: call}).append(nil))
		}
		w.routes["c"].forwarded = 0
		refuse(metric.RefusedRateLimited, (&relayed{hops: 2, origin: "a", destination: "b", datagram: call}).append(nil))
	})
}

// TestForwardingLoopEnds: nodes whose routes lead in a circle lose a frame
// after as many hops as it may take.
func TestForwardingLoopEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newTriangle(t)
		defer w.stopAll()
		d := w.start("d", netip.AddrPort{})
		w.connectAll()
		w.within(3*time.Second, "verified", w.verified)
		for p, next := range map[Peer]Peer{"a": "b", "b": "c", "c": "a"} {
			w.routes[p].set("d", "d")
			w.routes[p].set("e", next)
		}
		w.hand(d, w.a, w.relayOf(d, w.a, frame.Data, "x", func(r *relayed) { r.destination = "e" }))
		sum := 0
		for _, r := range w.routes {
			forwarded, _, _ := r.counts()
			sum += forwarded
		}
		if sum != relayHops-1 {
			t.Errorf("forwarded %d times, want %d", sum, relayHops-1)
		}
	})
}

func TestRelayLimit(t *testing.T) {
	var l relayLimit
	take := func(now time.Duration, n, o Peer, typ frame.Type, size, times int) (passed int) {
		for range times {
			if l.allow(now, n, o, typ, size) {
				passed++
			}
		}
		return passed
	}
	const size = 1 << 10
	if got := take(0, "c", "a", frame.Data, size, 10000); got != relayBurst/size {
		t.Errorf("burst of %d, want %d", got, relayBurst/size)
	}
	if got := take(0, "d", "a", frame.Data, size, 10); got != 10 {
		t.Error("one neighbour used up what another has for the same origin")
	}
	if got := take(100*time.Millisecond, "c", "a", frame.Data, size, 10000); got < relayRate/size/10-1 || got > relayRate/size/10 {
		t.Errorf("%d in a tenth of a second", got)
	}
	if got := take(0, "c", "b", frame.HandshakeInit, size, 1000); got != relayHandshakeBurst {
		t.Errorf("%d frames of handshakes", got)
	}
	for i := range 10 * relayOrigins {
		l.allow(time.Second, "c", Peer(fmt.Sprint(i)), frame.Data, 1)
	}
	if len(l.neighbours["c"]) != relayOrigins || l.allow(time.Second, "c", "new", frame.Data, 1) {
		t.Errorf("%d origins of one neighbour kept", len(l.neighbours["c"]))
	}
	if !l.allow(time.Second, "e", "new", frame.Data, 1) {
		t.Error("one neighbour used up the room of another")
	}
	l.expire(time.Second + relayIdle)
	if len(l.neighbours) != 0 || !l.allow(time.Minute, "c", "new", frame.Data, 1) {
		t.Errorf("%d neighbours kept for ever", len(l.neighbours))
	}
}

// TestInventedOriginsTakeNoRoom: a neighbour that hands over frames of thousands of nodes
// that do not exist has them refused, and keeps none of it; a real pair goes on.
func TestInventedOriginsTakeNoRoom(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newTriangle(t)
		defer w.stopAll()
		datagram := make([]byte, frame.HeaderLen+20)
		h := frame.Header{Type: frame.Data, Length: 20, Fragments: 1, Session: frame.SessionID{1}, Sequence: 1}
		h.Put(datagram, frame.Key{})
		for i := range 10000 {
			r := relayed{hops: 3, origin: Peer(fmt.Sprintf("x%d", i)), destination: "b", datagram: datagram}
			w.b.relayedMessage("c", r.append(nil))
		}
		w.b.relaying.mu.Lock()
		kept := len(w.b.relaying.neighbours["c"])
		w.b.relaying.mu.Unlock()
		if kept > 0 {
			t.Errorf("%d invented origins are kept", kept)
		}
		if _, _, refused := w.routes["b"].counts(); refused["c "+metric.RefusedNoRoute] != 10000 {
			t.Errorf("refused: %v", refused)
		}
		// A member's frame by the same neighbour is handed on all the same.
		before, _, _ := w.routes["b"].counts()
		r := relayed{hops: 3, origin: "c", destination: "a", datagram: datagram}
		w.b.relayedMessage("c", r.append(nil))
		if after, _, refused := w.routes["b"].counts(); after != before+1 {
			t.Errorf("a real pair's frame is not handed on: %d, %d before; refused: %v", after, before, refused)
		}
	})
}

func FuzzRelayed(f *testing.F) {
	r := relayed{hops: 3, origin: "a", destination: "b", datagram: make([]byte, frame.HeaderLen+1)}
	f.Add(r.append(nil))
	f.Add([]byte{1, 1, 'a', 200, 'b'})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRelayed(b)
		if err == nil && !bytes.Equal(r.append(nil), b) {
			t.Errorf("%x parses as %+v", b, r)
		}
	})
}
