package session

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// tap notes the sizes of the frames that are sent.
type tap struct {
	mu    sync.Mutex
	sizes []int
}

func (s *tap) watch(from, to netip.AddrPort, b []byte) []byte {
	if h, _, err := frame.Parse(b); err == nil && h.Type != frame.PathProbe {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sizes = append(s.sizes, len(b)+transport.Overhead(to.Addr()))
	}
	return b
}

// largest returns the largest packet since the last call, and how many there were.
func (s *tap) largest() (bytes, count int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if count = len(s.sizes); count > 0 {
		bytes = slices.Max(s.sizes)
	}
	s.sizes = nil
	return bytes, count
}

// narrowest sets the MTU of the links of a and b in both directions.
func (w *mesh) narrowest(a, b *node, mtu int) {
	for _, l := range [][2]*node{{a, b}, {b, a}} {
		w.net.SetLink(l[0].addr.Addr(), l[1].addr.Addr(), transport.Conditions{Latency: time.Millisecond, MTU: mtu})
	}
}

// TestFramesFitThePath: whatever the interfaces carry, and a link further on that tells
// nobody, a session is made, the largest message arrives, frames come to fill the path,
// and but for probes none is ever sent that does not fit.
func TestFramesFitThePath(t *testing.T) {
	const ipv4, ipv6 = "10.0.0.%d", "fd00::%d"
	for _, family := range []string{ipv4, ipv6} {
		for _, mtu := range []struct{ interfaces, link int }{
			{1280, 1280}, {1420, 1420}, {1450, 1450}, {1500, 1500}, {9000, 9000}, {1500, 1450}, {1500, 1280}, {9000, 1500}, {9000, 1420},
		} {
			t.Run(fmt.Sprintf(family+" %d over %d", 1, mtu.interfaces, mtu.link), func(t *testing.T) {
				bubble.Test(t, func(t *testing.T) {
					w := newMesh(t)
					defer w.stopAll()
					var sent tap
					w.net.SetFilter(sent.watch)
					var nodes [2]*node
					for i := range nodes {
						addr := netip.MustParseAddr(fmt.Sprintf(family, i+1))
						w.net.SetMTU(addr, mtu.interfaces)
						nodes[i] = w.start(Peer("ab"[i:i+1]), netip.AddrPortFrom(addr, frame.Port))
					}
					a, b := nodes[0], nodes[1]
					w.narrowest(a, b, mtu.link)
					w.connectAll()
					w.within(2*time.Second, "a and b verify each other", func() bool { return a.verifies(b) && b.verifies(a) })
					large := string(bytes.Repeat([]byte("x"), MaxMessage))
					for range 20 {
						a.forget()
						b.forget()
						for _, err := range []error{a.Send("b", frame.Data, []byte(large)), b.Send("a", frame.Data, []byte(large))} {
							if err != nil {
								t.Fatal(err)
							}
						}
						w.pass(2 * time.Second)
						if b.received("a "+large) != 1 || a.received("b "+large) != 1 {
							t.Fatal("the largest message did not arrive")
						}
						if !a.verifies(b) || !b.verifies(a) {
							t.Fatal("a session has lapsed")
						}
					}
					want := min(mtu.link, maxDatagram+transport.Overhead(a.addr.Addr()))
					if got := a.info(b).MTU; got > want || got < want-8 {
						t.Errorf("path MTU %d, want %d", got, want)
					}
					if got, n := sent.largest(); got > mtu.link || got < want-8 || n < 100 {
						t.Errorf("the largest of %d packets has %d bytes, on a path of %d", n, got, mtu.link)
					}
					if n := a.metrics.get("timeout") + b.metrics.get("timeout"); n != 0 {
						t.Errorf("%d timeouts", n)
					}
				})
			})
		}
	}
}

// A path that becomes narrower is found out by what is missing, before a session lapses,
// and one whose interface does at once.
func TestPathBecomesNarrower(t *testing.T) {
	for name, narrow := range map[string]func(w *mesh, a, b *node){
		"further on": func(w *mesh, a, b *node) { w.narrowest(a, b, 1350) },
		"interface":  func(w *mesh, a, b *node) { w.net.SetMTU(a.addr.Addr(), 1350); w.net.SetMTU(b.addr.Addr(), 1350) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newMesh(t)
				defer w.stopAll()
				a, b := w.pair()
				w.narrowest(a, b, 1500)
				w.pass(5 * time.Second)
				before := a.info(b)
				if before.MTU != maxDatagram+28 {
					t.Fatalf("path MTU %d", before.MTU)
				}
				narrow(w, a, b)
				large := string(bytes.Repeat([]byte("x"), MaxMessage))
				arrived := time.Duration(0)
				for at := time.Duration(0); at < 30*time.Second; at += 100 * time.Millisecond {
					b.forget()
					if err := a.Send("b", frame.Data, []byte(large)); err != nil {
						t.Fatal(err)
					}
					w.pass(100 * time.Millisecond)
					if !a.verifies(b) || !b.verifies(a) {
						t.Fatalf("a session has lapsed after %v", at)
					}
					if b.received("a "+large) == 1 && arrived == 0 {
						arrived = at + 1
					}
				}
				t.Logf("large messages arrive %v after", arrived)
				if arrived == 0 || arrived > 3*time.Second {
					t.Errorf("large messages arrive %v after the change", arrived)
				}
				if got := a.info(b); got.MTU > 1350 || got.MTU < 1342 || got.ID != before.ID {
					t.Errorf("path MTU %d, session %v, before %v", got.MTU, got.ID, before.ID)
				}
			})
		})
	}
}

// By relay frames fit, too, into one frame to the relay; and where a link behind that is
// narrower they arrive all the same.
func TestRelayedFramesFitThePath(t *testing.T) {
	for _, test := range []struct {
		name         string
		first, other int // MTU of the links of a and of b with the relay
	}{{"equal", 1500, 1500}, {"narrow behind", 1500, 1280}, {"narrow before", 1280, 1500}, {"narrow", 1280, 1280}} {
		t.Run(test.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newTriangle(t)
				defer w.stopAll()
				w.narrowest(w.a, w.c, test.first)
				w.narrowest(w.b, w.c, test.other)
				w.pass(30 * time.Second)
				w.detour()
				w.pass(2 * time.Second)
				var sent tap
				w.net.SetFilter(func(from, to netip.AddrPort, b []byte) []byte {
					if h, _, err := frame.Parse(b); err == nil && h.Type == frame.Relay && from == w.a.addr {
						return sent.watch(from, to, b)
					}
					return b
				})
				a, b := w.a, w.b
				payload := string(bytes.Repeat([]byte("x"), 3000)) // three frames on every path
				b.forget()
				for range 10 {
					if err := a.Send("b", frame.Data, []byte(payload)); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				w.pass(10 * time.Millisecond)
				if n := b.received("a " + payload); n != 10 {
					t.Errorf("%d of 10 messages arrived by relay", n)
				}
				if got, n := sent.largest(); got > test.first || n < 30 || n > 38 { // an attestation may have come between
					t.Errorf("%d frames to the relay for 10 messages of three, the largest of %d bytes on a path of %d", n, got, test.first)
				}
				large := string(bytes.Repeat([]byte("x"), MaxMessage))
				for range 30 {
					b.forget()
					if err := a.Send("b", frame.Data, []byte(large)); err != nil {
						t.Fatal(err)
					}
					w.pass(time.Second)
					if b.received("a "+large) != 1 || !a.verifies(b) || !b.verifies(a) {
						t.Fatalf("by relay: %d times; verified %t, %t", b.received("a "+large), a.verifies(b), b.verifies(a))
					}
				}
				if got, _ := sent.largest(); got > test.first {
					t.Errorf("a frame of %d bytes on a path of %d", got, test.first)
				}
			})
		})
	}
}

// boastful is a connection whose interface says that it carries more than it does.
type boastful struct {
	transport.Conn
	asked atomic.Int64 // how often
	wrote atomic.Int64 // datagrams that were refused
}

func (c *boastful) Largest(netip.Addr) int { c.asked.Add(1); return 8972 }

func (c *boastful) WriteTo(b []byte, to netip.AddrPort) error {
	err := c.Conn.WriteTo(b, to)
	if err != nil {
		c.wrote.Add(1)
	}
	return err
}

func (w *mesh) startBoastful(name Peer) (*node, *boastful) {
	w.t.Helper()
	var c *boastful
	n := w.start(name, netip.AddrPort{}, func(cfg *Config) {
		c = &boastful{Conn: cfg.Transport}
		cfg.Transport = c
	})
	return n, c
}

// TestARefusedProbeIsAnAnswer: where probes do not even leave, sizes below are tried at the pace
// of a search.
func TestARefusedProbeIsAnAnswer(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, c := w.startBoastful("a")
		w.net.SetMTU(a.addr.Addr(), 1350)
		b := w.start("b", netip.AddrPort{})
		w.connectAll()
		w.pass(30 * time.Second)
		if got := a.info(b).MTU; got > 1350 || got < 1342 {
			t.Errorf("path MTU %d of 1350", got)
		}
		if n := c.wrote.Load(); n == 0 || n > 10 {
			t.Errorf("%d datagrams were refused", n)
		}
	})
}

// TestAPeerCannotDriveTheSearch: who asks for small frames, or answers probes that nobody
// sent, again and again, gets a search every second and no more.
func TestAPeerCannotDriveTheSearch(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, c := w.startBoastful("a")
		b := w.start("b", netip.AddrPort{})
		w.connectAll()
		w.pass(5 * time.Second)
		before := c.asked.Load()
		challenge := make([]byte, challengeSize)
		challenge[challengeSize-1] = challengeSmall
		const seconds = 10
		for range seconds * 100 {
			for typ, payload := range map[frame.Type][]byte{frame.Challenge: challenge, frame.PathEcho: {5, 0}} {
				if err := b.Send("a", typ, payload); err != nil {
					t.Fatal(err)
				}
			}
			w.pass(10 * time.Millisecond)
		}
		if n := c.asked.Load() - before; n < 2 || n > seconds+1 {
			t.Errorf("%d searches in %d seconds", n, seconds)
		}
		w.pass(5 * time.Second)
		if !a.verifies(b) || a.info(b).MTU < maxDatagram {
			t.Errorf("afterwards: %+v", a.info(b))
		}
	})
}
