package session

import (
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// guard is an Admission with a memory, and the strictest kernel there can be: it lets
// nothing pass of first contact but what is proven.
type guard struct {
	mu                sync.Mutex
	current, previous frame.Key
	changes           int
	calls             map[messageID]netip.Addr
	peers             map[netip.Addr]bool
	dropped, answered int
	fail              error
}

func newGuard() *guard {
	return &guard{calls: map[messageID]netip.Addr{}, peers: map[netip.Addr]bool{}}
}

func (g *guard) PutSecrets(current, previous frame.Key) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail == nil {
		g.current, g.previous = current, previous
		g.changes++
	}
	return g.fail
}

func (g *guard) PutCall(id [16]byte, to netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls[id] = to
	return g.fail
}

func (g *guard) DeleteCall(id [16]byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.calls, id)
	return g.fail
}

func (g *guard) PutPeer(a netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fail == nil {
		g.peers[a] = true
	}
	return g.fail
}

func (g *guard) DeletePeer(a netip.Addr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.peers, a)
	return g.fail
}

// judge is a transport.Network filter in front of the node at addr.
func (g *guard) judge(net *transport.Network, addr netip.AddrPort) func(from, to netip.AddrPort, p []byte) []byte {
	return func(from, to netip.AddrPort, p []byte) []byte {
		h, payload, err := frame.Parse(p)
		if to != addr || err != nil || h.Type.Class() != frame.ClassHandshake {
			return p
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		id, token, _, _ := cutPrefix(payload)
		if h.Type != frame.HandshakeInit {
			if g.calls[token] == from.Addr() {
				return p
			}
			g.dropped++
			return nil
		}
		if token == frame.Cookie(g.current, from, id) || token == frame.Cookie(g.previous, from, id) {
			return p
		}
		g.dropped++
		if h.Fragment == 0 {
			g.answered++
			cookie := frame.Cookie(g.current, from, id)
			go net.Inject(addr, from, handshakeFrames(frame.HandshakeCookie, cookie[:], id)[0])
		}
		return nil
	}
}

func (g *guard) did() (changes, answered int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.changes, g.answered
}

func (g *guard) knows() (calls, peers int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.calls), len(g.peers)
}

// TestKernelLetsOnlyProofPass: a node whose kernel lets nothing pass of first contact but
// what is proven meets others, whoever calls, with a kernel that makes cookies by itself;
// for longer than secrets last; and nothing is left of what the kernel was told.
func TestKernelLetsOnlyProofPass(t *testing.T) {
	for family, addr := range map[string]netip.AddrPort{"IPv4": {}, "IPv6": netip.MustParseAddrPort("[fd00::b]:26970")} {
		t.Run(family, func(t *testing.T) { bubble.Test(t, func(t *testing.T) { onlyProofPasses(t, addr) }) })
	}
}

func onlyProofPasses(t *testing.T, addr netip.AddrPort) {
	w := newMesh(t)
	defer w.stopAll()
	g := newGuard()
	a := w.start("b", addr, func(c *Config) { c.Admission = g })
	w.net.SetFilter(g.judge(w.net, a.addr))
	for _, name := range []Peer{"a", "c"} { // one that calls, and one that is called
		at := addr
		if addr.IsValid() {
			at = netip.AddrPortFrom(netip.MustParseAddr("fd00::"+string(name)), frame.Port)
		}
		n := w.start(name, at)
		n.Connect(a.name, a.addr)
		a.Connect(n.name, n.addr)
		w.within(time.Second, "verified", func() bool { return a.verifies(n) && n.verifies(a) })
	}
	if _, peers := g.knows(); peers != 2 {
		t.Errorf("the kernel knows %d peers", peers)
	}
	if changes, answered := g.did(); changes == 0 || answered == 0 {
		t.Errorf("%d secrets, %d cookies: the test proves nothing", changes, answered)
	}
	c := w.nodes["c"]
	for range 5 {
		w.pass(cookieLife * 2 / 3)
		for _, call := range []struct{ from, to *node }{{a, c}, {c, a}} {
			old := a.info(c).ID
			call.from.Rotate(call.to.name, "test")
			w.within(time.Second, "a new session", func() bool { return a.info(c).ID != old && c.info(a).ID == a.info(c).ID })
		}
	}
	if changes, _ := g.did(); changes < 2 {
		t.Errorf("%d secrets in %v", changes, cookieLife*10/3)
	}
	w.pass(halfOpenLife + 2*housekeeping)
	if calls, _ := g.knows(); calls != 0 {
		t.Errorf("%d calls are still expected to be answered", calls)
	}
	c.stop()
	a.Forget(c.name)
	w.pass(2 * housekeeping)
	if _, peers := g.knows(); peers != 1 {
		t.Errorf("the kernel knows %d peers", peers)
	}
}

// TestCallProvesNothing: who calls in a peer's name and from its address, with its
// certificate, which he has seen, has chosen the call, and gets no answer to it. What he
// knows opens nothing in the kernel; only the answer does, and only from that address.
func TestCallProvesNothing(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		g := newGuard()
		a := w.start("a", netip.AddrPort{}, func(c *Config) { c.Admission = g })
		c := w.start("c", netip.AddrPort{})
		f := newFlood(w, a)
		_, frames := f.call(c.identity.Credential().Certificate, 0)
		call, _, _, _ := cutPrefix(frames[0][frame.HeaderLen:])
		var answers []messageID
		w.net.SetFilter(func(_, to netip.AddrPort, p []byte) []byte {
			if to == c.addr && frame.Type(p[3]) == frame.HandshakeReply {
				id, _, _, _ := cutPrefix(p[frame.HeaderLen:])
				answers = append(answers, id)
				return nil
			}
			return p
		})
		for _, b := range frames {
			w.net.Inject(c.addr, a.addr, b)
		}
		synctest.Wait()
		if len(answers) == 0 {
			t.Fatal("the call was not answered: the test proves nothing")
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if at, ok := g.calls[call]; ok {
			t.Errorf("the kernel lets the id of the call through from %v", at)
		}
		if at := g.calls[answers[0]]; at != c.addr.Addr() || len(g.calls) != 1 {
			t.Errorf("the kernel knows %v, want the answer's id from %v", g.calls, c.addr)
		}
	})
}

// TestCallThatMoves: the answers to a call that is repeated to another address are
// expected from there.
func TestCallThatMoves(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		g := newGuard()
		a, b := w.start("a", netip.AddrPort{}, func(c *Config) { c.Admission = g }), w.start("b", netip.AddrPort{})
		w.net.SetFilter(g.judge(w.net, a.addr))
		a.Connect(b.name, netip.MustParseAddrPort("10.9.9.9:26970")) // nobody is there
		w.pass(300 * time.Millisecond)
		a.Connect(b.name, b.addr)
		w.within(time.Second, "verified", func() bool { return a.verifies(b) && b.verifies(a) })
	})
}

// TestCookieNoLargerThanCall: of a node's own cookies, too, nobody gets more than was
// sent in the name of his address.
func TestCookieNoLargerThanCall(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a := w.start("a", netip.AddrPort{}, func(c *Config) { c.Limits.CookieAfter = 1 })
		c := w.start("c", netip.AddrPort{})
		f := newFlood(w, a)
		f.whole(c.identity.Credential().Certificate, 0) // a half-open one: from now on cookies are asked for
		from := netip.MustParseAddrPort("10.9.9.9:1")
		answers := 0
		w.net.SetFilter(func(_, to netip.AddrPort, p []byte) []byte {
			if to == from {
				answers += len(p)
			}
			return p
		})
		for n := range 64 {
			answers = 0
			b := handshakeFrames(frame.HandshakeInit, make([]byte, n), messageID{})[0]
			w.net.Inject(from, a.addr, b)
			synctest.Wait()
			if answers > len(b) || n >= frame.CookieLen && answers == 0 {
				t.Errorf("%d bytes in answer to %d", answers, len(b))
			}
		}
	})
}

// TestCallsOfAFloodAreForgotten: half-open handshakes that give way to others, and those
// that are never finished, leave nothing in the kernel.
func TestCallsOfAFloodAreForgotten(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		g := newGuard()
		a := w.start("a", netip.AddrPort{}, func(c *Config) { c.Admission = g })
		c := w.start("c", netip.AddrPort{})
		f := newFlood(w, a)
		most := 0
		for i := range 200 {
			f.whole(c.identity.Credential().Certificate, i%50)
			calls, _ := g.knows()
			most = max(most, calls)
		}
		if most == 0 || most > halfOpenPerName {
			t.Errorf("up to %d calls were expected to be finished", most)
		}
		w.pass(halfOpenLife + 2*housekeeping)
		if calls, peers := g.knows(); calls != 0 || peers != 0 {
			t.Errorf("the kernel knows %d calls and %d peers after the flood", calls, peers)
		}
	})
}

// TestAdmissionFails: what the kernel does not take costs nothing but its help, and is
// tried again.
func TestAdmissionFails(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		g := newGuard()
		g.fail = errors.New("no room")
		a := w.start("a", netip.AddrPort{}, func(c *Config) { c.Admission = g })
		b := w.start("b", netip.AddrPort{})
		w.connectAll()
		w.within(2*time.Second, "verified", func() bool { return a.verifies(b) && b.verifies(a) })
		w.pass(cookieLife + 2*housekeeping) // they have changed: both that the kernel has are wrong
		g.mu.Lock()
		g.fail = nil
		g.mu.Unlock()
		w.pass(2 * housekeeping)
		if _, peers := g.knows(); peers != 1 {
			t.Errorf("the kernel knows %d peers", peers)
		}
		a.Manager.mu.RLock()
		defer a.Manager.mu.RUnlock()
		if g.current != a.cookies.current || g.previous != a.cookies.previous {
			t.Error("the kernel makes other cookies than the node")
		}
	})
}

// A cookie that comes again, as an answer to each transmission of a call, counts once.
func TestCookieAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.start("a", netip.AddrPort{}), w.start("b", netip.AddrPort{})
		w.net.SetFilter(func(_, to netip.AddrPort, p []byte) []byte {
			if to == b.addr {
				return nil
			}
			return p
		})
		a.Connect(b.name, b.addr)
		w.pass(100 * time.Millisecond)
		a.Manager.mu.RLock()
		id, sent := a.peers["b"].out.id, a.peers["b"].out.sent
		a.Manager.mu.RUnlock()
		cookie := messageID{1}
		for range 10 {
			w.net.Inject(b.addr, a.addr, handshakeFrames(frame.HandshakeCookie, cookie[:], id)[0])
			synctest.Wait()
		}
		a.Manager.mu.RLock()
		defer a.Manager.mu.RUnlock()
		if o := a.peers["b"].out; o.cookies != 1 || o.sent != sent+1 {
			t.Errorf("%d cookies, %d transmissions for one cookie", o.cookies, o.sent-sent)
		}
	})
}
