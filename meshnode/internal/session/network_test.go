package session

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

// The session ends with the certificates it was made with, and a renewed
// certificate carries it over without a gap.
func TestRenewalCarriesSessionsOver(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		life := 10 * time.Minute // and an hour of allowance
		start := func(name string) *node {
			id, err := w.authority.NewNode(name, "", life)
			if err != nil {
				t.Fatal(err)
			}
			return w.startAs(id, netip.AddrPort{}, func(c *Config) {
				c.Limits.TTL = 24 * time.Hour
				c.Limits.Challenge = 20 * time.Second
				c.Limits.Verified = 2 * time.Minute
			})
		}
		a, b := start("a"), start("b")
		w.connectAll()
		w.within(2*time.Second, "verified", func() bool { return a.verifies(b) && b.verifies(a) })
		if left := a.info(b).Expires - a.cfg.Now(); left > life+identity.ClockSkew {
			t.Errorf("the session outlives its certificates: %v", left)
		}
		w.pass(life / 3 * 2)
		for _, n := range []*node{a, b} {
			fresh, err := w.authority.NewNode(string(n.name), "", 24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			n.identity.Update(fresh.Credential(), fresh.Trust())
		}
		for range 80 {
			w.pass(time.Minute)
			if !a.verifies(b) || !b.verifies(a) {
				t.Fatal("a gap")
			}
		}
	})
}

func TestAddressOfAnotherNode(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, c := w.start("a", netip.AddrPort{}), w.start("c", netip.AddrPort{})
		a.Connect("b", c.addr) // a stale address
		w.pass(time.Second)
		c.Manager.mu.RLock()
		if len(c.halfOpen) != 0 {
			t.Error("a node answers calls for another")
		}
		c.Manager.mu.RUnlock()
		w.pass(30 * time.Second)
		if len(a.table.entries) != 0 || len(c.table.entries) != 0 {
			t.Error("a session with the wrong node")
		}
		b := w.start("b", netip.AddrPort{})
		a.Connect("b", b.addr)
		w.within(3*time.Second, "verified at the right address", func() bool { return a.verifies(b) })
	})
}

func TestLossyNetwork(t *testing.T) {
	for seed := range uint64(5) {
		bubble.Test(t, func(t *testing.T) {
			w := newMesh(t)
			w.net = transport.NewNetwork(seed)
			defer w.stopAll()
			w.net.SetConditions(transport.Conditions{
				Latency: 20 * time.Millisecond, Jitter: 40 * time.Millisecond, Loss: 0.2, Duplicate: 0.2, Reorder: 0.2,
			})
			a, b := w.start("a", netip.AddrPort{}), w.start("b", netip.AddrPort{})
			w.connectAll()
			d := w.within(40*time.Second, "verified in spite of loss", func() bool { return a.verifies(b) && b.verifies(a) })
			t.Logf("seed %d: %v", seed, d)
			if a.count(VerificationFailed)+b.count(VerificationFailed) != 0 {
				t.Error("loss looks like a forgery")
			}
		})
	}
}

func TestSimultaneousOpen(t *testing.T) {
	for _, latency := range []time.Duration{0, time.Millisecond, 80 * time.Millisecond, 400 * time.Millisecond} {
		bubble.Test(t, func(t *testing.T) {
			w := newMesh(t)
			defer w.stopAll()
			w.net.SetConditions(transport.Conditions{Latency: latency})
			a, b := w.start("a", netip.AddrPort{}), w.start("b", netip.AddrPort{})
			finished := make(map[messageID]bool)
			w.net.SetFilter(func(_, _ netip.AddrPort, p []byte) []byte {
				if frame.Type(p[3]) == frame.HandshakeFinish {
					id, _, _, _ := cutPrefix(p[frame.HeaderLen:])
					finished[id] = true
				}
				return p
			})
			w.connectAll()
			a.Reverify("b") // calls at once, both of them
			b.Reverify("a")
			w.within(5*time.Second, "verified", func() bool { return a.verifies(b) && b.verifies(a) })
			w.pass(15 * time.Second)
			if latency > 0 && len(finished) != 1 {
				t.Errorf("latency %v: %d handshakes were made, want 1", latency, len(finished))
			}
			if a.info(b).ID != b.info(a).ID {
				t.Errorf("latency %v: the sides disagree", latency)
			}
			if len(a.table.entries) != 1 || len(b.table.entries) != 1 {
				t.Errorf("latency %v: %d and %d sessions", latency, len(a.table.entries), len(b.table.entries))
			}
		})
	}
}

// Of two calls that of the lesser name stands. When the other one comes, it is repeated
// at once, although its own pauses have grown while nothing got through.
func TestStandingCallIsRepeatedWhenTheOtherComes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.start("a", netip.AddrPort{}), w.start("b", netip.AddrPort{})
		w.net.SetFilter(func(_, _ netip.AddrPort, _ []byte) []byte { return nil })
		a.Connect("b", b.addr)
		w.within(6*time.Second, "five calls into the void", func() bool {
			a.Manager.mu.RLock()
			defer a.Manager.mu.RUnlock()
			out := a.peers["b"].out
			return out != nil && out.sent == 5
		})
		w.pass(halfOpenResend)
		w.net.SetFilter(nil)
		b.Connect("a", a.addr)
		b.Reverify("a") // calls at once
		w.within(100*time.Millisecond, "a session", func() bool { return a.verifies(b) && b.verifies(a) })
	})
}

func TestLatencyShiftIsNotATimeoutWhenExtended(t *testing.T) {
	for _, extend := range []bool{true, false} {
		bubble.Test(t, func(t *testing.T) {
			w := newMesh(t)
			defer w.stopAll()
			var a, b *node
			a, b = w.pair(func(c *Config) {
				record := c.OnEvent
				c.OnEvent = func(e Event) {
					record(e)
					if e.Kind == ChallengeOverdue && extend {
						w.nodes[Peer(c.Identity.Name())].ExtendDeadline(e.Peer, time.Second)
					}
				}
			})
			w.net.SetConditions(transport.Conditions{Latency: time.Millisecond})
			w.pass(20 * time.Second)
			w.net.SetConditions(transport.Conditions{Latency: 250 * time.Millisecond, Jitter: 50 * time.Millisecond})
			w.pass(30 * time.Second)
			timeouts := a.metrics.get("timeout") + b.metrics.get("timeout")
			if (timeouts == 0) != extend {
				t.Errorf("extended %v: %d timeouts", extend, timeouts)
			}
			if !a.verifies(b) || !b.verifies(a) {
				t.Error("latency alone ended verification")
			}
			if a.info(b).ID != b.info(a).ID || a.count(Rotated) != 0 {
				t.Error("latency alone made a handshake")
			}
		})
	}
}

// A peer is where its newest frame came from, not where an older one did that
// was under way for longer.
func TestPeerMoves(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		var held [][]byte
		w.net.SetFilter(func(from, _ netip.AddrPort, p []byte) []byte {
			if from != b.addr {
				return p
			}
			if frame.Type(p[3]) == frame.Heartbeat {
				held = append(held, p)
			}
			return nil
		})
		for range 2 {
			if err := b.Send("a", frame.Heartbeat, nil); err != nil {
				t.Fatal(err)
			}
		}
		moved := netip.MustParseAddrPort("10.7.7.7:26970")
		w.net.Inject(moved, a.addr, held[1])
		synctest.Wait()
		if got := a.info(b).Addr; got != moved {
			t.Errorf("after a frame from %v the peer is at %v", moved, got)
		}
		w.net.SetFilter(nil)
		w.net.Inject(b.addr, a.addr, held[0])
		synctest.Wait()
		if got := a.info(b).Addr; got != moved {
			t.Errorf("a late frame moved the peer back to %v", got)
		}
	})
}
