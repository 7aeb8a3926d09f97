package session

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// flood is an attacker who owns addresses, so that cookies reach him.
type flood struct {
	w     *mesh
	to    *node
	calls int

	mu      sync.Mutex
	cookies map[netip.AddrPort]messageID
}

func (f *flood) cookie(from netip.AddrPort) messageID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cookies[from]
}

func newFlood(w *mesh, to *node) *flood {
	f := &flood{w: w, to: to, cookies: map[netip.AddrPort]messageID{}}
	w.net.SetFilter(func(_, at netip.AddrPort, p []byte) []byte {
		if frame.Type(p[3]) == frame.HandshakeCookie {
			if _, _, cookie, ok := cutPrefix(p[frame.HeaderLen:]); ok && at.Addr().As4()[0] == 172 {
				f.mu.Lock()
				f.cookies[at] = messageID(cookie)
				f.mu.Unlock()
			}
		}
		return p
	})
	return f
}

// call makes a call with a certificate that was observed, from one of his addresses.
func (f *flood) call(c *identity.Certificate, address int) (netip.AddrPort, [][]byte) {
	f.calls++
	msg := initMessage{kem: make([]byte, 1216), responder: string(f.to.name), certificate: c}
	copy(msg.nonce[:], fmt.Sprint("flood", f.calls))
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{172, 16, byte(address >> 8), byte(address)}), 1)
	return from, handshakeFrames(frame.HandshakeInit, msg.encode(), messageID{})
}

// whole sends whole calls, each again with its cookie.
func (f *flood) whole(c *identity.Certificate, address int) {
	from, frames := f.call(c, address)
	for range 2 {
		setToken(frames, f.cookie(from))
		for _, b := range frames {
			f.w.net.Inject(from, f.to.addr, b)
		}
		synctest.Wait()
	}
}

// during runs step every interval until stop is called.
func during(interval time.Duration, step func()) (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-end:
				return
			case <-ticker.C:
				step()
			}
		}
	}()
	return func() { close(end); <-ended }
}

// serves sees a known peer get new sessions with a node, and a new member its first one,
// in the times that a flood of first contact must leave.
func (w *mesh) serves(a, peer *node) {
	w.t.Helper()
	for range 5 {
		old := a.info(peer).ID
		peer.Rotate(a.name, "test")
		w.within(2*time.Second, "a new session of the peer", func() bool {
			id := peer.info(a).ID
			return id != old && a.info(peer).ID == id
		})
	}
	d := w.start("d", netip.AddrPort{})
	d.Connect(a.name, a.addr)
	w.within(5*time.Second, "the first session of a new member", func() bool { return a.verifies(d) && d.verifies(a) })
}

// TestObservedCertificateHoldsNoPlaces: somebody shows a certificate that he has seen,
// and has no key to, from many addresses, or from one. The certificate's owner gets a
// new session within 2 s all the same, and a new member its first within 5 s.
func TestObservedCertificateHoldsNoPlaces(t *testing.T) {
	for _, addresses := range []int{1, 500} {
		t.Run(fmt.Sprint(addresses), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newMesh(t)
				defer w.stopAll()
				a, c := w.pair()
				f := newFlood(w, a)
				at := 0
				flood := func() {
					for range 20 {
						at++
						from, frames := f.call(c.identity.Credential().Certificate, at%addresses)
						setToken(frames, f.cookie(from))
						for _, b := range frames {
							w.net.Inject(from, a.addr, b)
						}
					}
				}
				// Each of his addresses has called before, so that he holds what he can.
				for i := range min(addresses*40, 600) {
					f.whole(c.identity.Credential().Certificate, i%addresses)
				}
				stop := during(100*time.Millisecond, flood)
				defer stop()
				a.Manager.mu.RLock()
				held := 0
				for _, half := range a.halfOpen {
					if half.from.addr.Addr().As4()[0] == 172 {
						held++
					}
				}
				a.Manager.mu.RUnlock()
				if held == 0 || held > halfOpenPerName {
					t.Errorf("the flood holds %d places", held)
				}
				w.serves(a, c)
			})
		})
	}
}

// TestDirectFloodLeavesRelaysAlone: first parts of calls arrive from everywhere, and
// two nodes that reach each other by relay make new sessions as ever.
func TestDirectFloodLeavesRelaysAlone(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newTriangle(t)
		defer w.stopAll()
		f := &flood{w: w.mesh, to: w.b, cookies: map[netip.AddrPort]messageID{}}
		w.detour()
		w.pass(3 * time.Second)
		stop := during(100*time.Millisecond, func() {
			for range 20 {
				from, frames := f.call(w.c.identity.Credential().Certificate, f.calls%10000)
				w.net.Inject(from, w.b.addr, frames[0])
			}
		})
		defer stop()
		w.pass(2 * time.Second)
		for i := range 20 {
			old := w.a.info(w.b).ID
			w.a.Rotate("b", "test")
			w.renewed(2*time.Second, fmt.Sprintf("new session %d by relay", i), old)
			w.pass(time.Second) // within what a relay takes of handshakes
		}
	})
}

// TestPartsOfOwnersGiveWay: somebody who owns many addresses, and shows a cookie for each
// call, sends the first part of ever new ones, as many as the kernel lets through. A peer
// gets a new session within 2 s all the same, and a new member its first within 5 s.
func TestPartsOfOwnersGiveWay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, c := w.pair()
		f := newFlood(w, a)
		stop := during(10*time.Millisecond, func() {
			for range 10 {
				from, frames := f.call(c.identity.Credential().Certificate, f.calls%5000)
				for range 2 { // again with the cookie that came back
					w.net.Inject(from, a.addr, frames[0])
					time.Sleep(time.Microsecond)
					setToken(frames, f.cookie(from))
				}
			}
		})
		defer stop()
		full := func() bool {
			a.Manager.mu.RLock()
			defer a.Manager.mu.RUnlock()
			return a.handshakes.Len() > handshakeMessages-handshakePerSource // some become whole
		}
		w.within(5*time.Second, "no room for another message", full)
		w.serves(a, c)
		if !full() {
			t.Error("the flood is over: the test proves nothing")
		}
	})
}
