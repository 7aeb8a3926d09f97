package session

import (
	"bytes"
	"errors"
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
	"github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// routes is a node's Relays for tests. It has a mistake in the code: one name brings it out.
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
	if p == "mistake" {
		panic("a mistake")
	}
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
			{metric.RefusedTampered, w.relayOf(w.a, w.b, frame.AttestationSealed, "x", edit(frame.HeaderLen))},
			{metric.RefusedBadTag, w.relayOf(w.a, w.b, frame.AttestationSealed, "x", func(r *relayed) { r.datagram[3] = byte(frame.Challenge) })},
			{metric.RefusedBadTag, w.relayOf(w.a, w.b, frame.Data, "x", edit(frame.TagOffset))},
			{metric.RefusedBadTag, w.relayOf(w.a, w.b, frame.Data, "x", edit(frame.TagOffset-1))}, // sequence
			{metric.RefusedNoSession, w.relayOf(w.a, w.b, frame.Data, "x", edit(8))},
			{metric.RefusedNoSession, w.relayOf(w.a, w.b, frame.Data, "x", func(r *relayed) { r.origin = "c" })},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.Relay, "x", nil)},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.Heartbeat, "x", nil)},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.Routing, "x", nil)},
			{metric.RefusedMalformed, w.relayOf(w.a, w.b, frame.AttestationSignature, "x", nil)},
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

// TestARelayCannotHaveTheSignerBlamed: a relay sends the first fragment of every attestation, or
// all of them, straight to whom they are for, where clear ones come, and hands the others over.
// Nothing of that is put down to the signer, and what it says is verified, then and later.
func TestARelayCannotHaveTheSignerBlamed(t *testing.T) {
	for name, most := range map[string]uint8{"the first straight": 1, "all straight": frame.MaxFragments} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newTriangle(t)
				defer w.stopAll()
				w.detour()
				w.b.forget()
				// What a gives c to hand over does not get there: the test hands it over.
				var mu sync.Mutex
				var held [][]byte
				w.net.SetFilter(func(from, to netip.AddrPort, p []byte) []byte {
					h, _, err := frame.Parse(p)
					if err != nil || from != w.a.addr || to != w.c.addr || h.Type != frame.Relay || h.Fragments > 1 {
						return p
					}
					mu.Lock()
					defer mu.Unlock()
					held = append(held, p)
					return nil
				})
				straight := 0
				for range 700 { // longer than what was verified before counts
					w.pass(10 * time.Millisecond)
					mu.Lock()
					came := held
					held = nil
					mu.Unlock()
					var rest [][]byte
					for _, p := range came {
						h, _, _ := frame.Parse(p)
						message, sealed := w.c.session(h.Session).openFrame(nil, h, p)
						r, malformed := parseRelayed(message)
						inner, _, broken := frame.Parse(r.datagram)
						if err := errors.Join(sealed, malformed, broken); err != nil {
							t.Fatal(err)
						}
						if inner.Type.Class() == frame.ClassHandshake || inner.Fragments == 1 || inner.Fragment >= most {
							rest = append(rest, message)
							continue
						}
						w.net.Inject(w.c.addr, w.b.addr, r.datagram)
						straight++
					}
					synctest.Wait()
					for _, message := range rest {
						w.hand(w.c, w.b, message)
					}
				}
				if straight == 0 {
					t.Error("no attestation has several fragments: the test proves nothing")
				}
				w.net.SetFilter(nil)
				for _, when := range []string{"meanwhile", "afterwards"} {
					if n, bad := w.b.count(VerificationFailed), w.b.count(ProvenBad); n+bad > 0 || !w.b.verifies(w.a) {
						t.Errorf("%s: %d bad attestations, %d of them proven; verified: %v", when, n, bad, w.b.verifies(w.a))
					}
					w.pass(7 * time.Second)
				}
			})
		})
	}
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
	if len(l.neighbours["c"].origins) != relayOrigins || l.allow(time.Second, "c", "new", frame.Data, 1) {
		t.Errorf("%d origins of one neighbour kept", len(l.neighbours["c"].origins))
	}
	if !l.allow(time.Second, "e", "new", frame.Data, 1) {
		t.Error("one neighbour used up the room of another")
	}
	// However many origins a neighbour names, they share what it has.
	each := func(now time.Duration, typ frame.Type, times int) (passed int) {
		for i := range 100 {
			passed += take(now, "f", Peer(fmt.Sprint("o", i)), typ, size, times)
		}
		return passed
	}
	calls := each(0, frame.HandshakeInit, 2*relayHandshakeBurst)
	if calls != 256 {
		t.Errorf("%d frames of handshakes of 100 origins at once", calls)
	}
	if got := (calls + each(0, frame.Data, 300)) * size; got != 8<<20 {
		t.Errorf("%d bytes of 100 origins at once", got)
	}
	if got := each(time.Second, frame.HandshakeInit, 2*relayHandshakeBurst); got != 256 {
		t.Errorf("%d frames of handshakes of 100 origins in a second", got)
	}
	if take(0, "g", "o1", frame.HandshakeInit, size, 1) != 1 {
		t.Error("one neighbour used up what another has of handshakes")
	}
	for i := range 2 * relayNeighbours {
		l.allow(time.Second, Peer(fmt.Sprint("n", i)), "a", frame.Data, 1)
	}
	if len(l.neighbours) != relayNeighbours {
		t.Errorf("%d neighbours kept", len(l.neighbours))
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
		kept := w.b.relaying.neighbours["c"]
		w.b.relaying.mu.Unlock()
		if kept != nil {
			t.Errorf("%d invented origins are kept", len(kept.origins))
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

// TestRelayedNamesOfAnyLength: a name may be said to be as long as a byte can tell, and as much
// may follow.
func TestRelayedNamesOfAnyLength(t *testing.T) {
	for _, head := range [][]byte{{1}, {1, 1, 'a'}} {
		for _, length := range []byte{0, 64, 254, 255} {
			b := append(append(head, length), make([]byte, 300)...)
			if r, err := parseRelayed(b); !errors.Is(err, errRelayed) {
				t.Errorf("a name of %d bytes: %+v, %v", length, r, err)
			}
		}
	}
}

func FuzzRelayed(f *testing.F) {
	r := relayed{hops: 3, origin: "a", destination: "b", datagram: make([]byte, frame.HeaderLen+1)}
	long := make([]byte, 300)
	for _, b := range hostile.Corpus(
		r.append(nil), []byte{1, 1, 'a', 200, 'b'}, append([]byte{1, 254}, long...), append([]byte{1, 255}, long...), append([]byte{1, 1, 'a', 255}, long...),
	) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRelayed(b)
		if err == nil && !bytes.Equal(r.append(nil), b) {
			t.Errorf("%x parses as %+v", b, r)
		}
	})
}
