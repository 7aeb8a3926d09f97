package session

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
)

func TestFiveNodesVerifyEachOther(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		for _, name := range []Peer{"a-0", "a-1", "a-2", "b-0", "b-1"} {
			w.start(name, netip.AddrPort{})
		}
		w.net.SetConditions(transport.Conditions{Latency: time.Millisecond})
		w.connectAll()
		t.Logf("all verified after %v", w.within(2*time.Second, "every pair verified", func() bool { return w.verified() }))
		w.pass(20 * time.Second)
		if !w.verified() {
			t.Error("a pair is no longer verified after 20 s")
		}
		for _, n := range w.nodes {
			if got := n.metrics.get("latency"); got < 4*15 || got > 4*27 {
				t.Errorf("%s verified %d attestations of 4 peers in 20 s, want about one per peer and second", n.name, got)
			}
			if n.metrics.get("timeout") != 0 || n.count(VerificationFailed) != 0 || n.count(HandshakeFailed) != 0 || n.count(Replayed) != 0 {
				t.Errorf("%s: a healthy network caused %v", n.name, n.events)
			}
			if got := n.count(Established); got != 4 {
				t.Errorf("%s established %d sessions with 4 peers", n.name, got)
			}
			for _, i := range n.Sessions() {
				o := w.nodes[i.Peer]
				if o.info(n).ID != i.ID || i.Zone != "zone-a" {
					t.Errorf("%s and %s disagree about their session", n.name, o.name)
				}
			}
		}
	})
}

func TestSendSmallAndFragmented(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		w.net.SetConditions(transport.Conditions{Latency: time.Millisecond, Jitter: 20 * time.Millisecond, Duplicate: 0.5})
		large := string(bytes.Repeat([]byte("0123456789abcdef"), MaxMessage/16))
		for _, payload := range []string{"", "small", large} {
			if err := a.Send("b", frame.Data, []byte(payload)); err != nil {
				t.Fatal(err)
			}
		}
		w.within(time.Second, "all messages arrive", func() bool {
			return b.received("a ") == 1 && b.received("a small") == 1 && b.received("a "+large) == 1
		})
		if err := a.Send("b", frame.Data, make([]byte, MaxMessage+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("oversized message: %v, want ErrTooLarge", err)
		}
		if err := a.Send("c", frame.Data, nil); !errors.Is(err, ErrNoSession) {
			t.Errorf("unknown peer: %v, want ErrNoSession", err)
		}
	})
}

// A partition ends verification within its validity; after the heal the backoff
// alone is slow and Reverify is fast. That difference is what healing proves.
func TestPartitionAndHeal(t *testing.T) {
	for _, reverify := range []bool{false, true} {
		bubble.Test(t, func(t *testing.T) {
			w := newMesh(t)
			defer w.stopAll()
			for _, name := range []Peer{"a-0", "a-1", "a-2", "b-0", "b-1"} {
				w.start(name, netip.AddrPort{})
			}
			w.net.SetConditions(transport.Conditions{Latency: time.Millisecond})
			w.connectAll()
			w.within(2*time.Second, "every pair verified", func() bool { return w.verified() })
			w.pass(5 * time.Second)
			a, b := w.nodes["a-0"], w.nodes["b-0"]
			id := a.info(b).ID
			// As the fixture does: the nodes of zone b hear nobody.
			cut := func(do func(n, o *node)) {
				for _, n := range w.nodes {
					for _, o := range w.nodes {
						if n.name < o.name && o.name >= "b" {
							do(n, o)
						}
					}
				}
			}
			cut(w.cut)
			w.pass(time.Second)
			cut(func(n, o *node) { n.Suspend(o.name); o.Suspend(n.name) })
			lapse := w.within(6*time.Second, "verification lapses", func() bool { return !a.verifies(b) && !b.verifies(a) })
			t.Logf("lapsed %v after the cut", lapse+time.Second)
			if !a.verifies(w.nodes["a-1"]) {
				t.Error("a pair that was not cut is not verified")
			}
			w.pass(50 * time.Second)
			cut(w.heal)
			if reverify {
				cut(func(n, o *node) { n.Reverify(o.name); o.Reverify(n.name) })
				d := w.within(time.Second, "verified again", func() bool { return w.verified() })
				t.Logf("with Reverify: %v", d)
				if a.info(b).ID != id {
					t.Error("a new session although the old one was still good on both sides")
				}
				return
			}
			// One of the seven pairs may be lucky, all of them are not.
			w.pass(3 * time.Second)
			if w.verified() {
				t.Error("verified within 3 s without Reverify")
			}
			d := w.within(60*time.Second, "the backoff recovers in the end", func() bool { return w.verified() })
			t.Logf("by backoff alone: %v", d+3*time.Second)
		})
	}
}

func TestReverifyAfterThePeerRestarted(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		old := a.info(b).ID
		b.stop()
		w.pass(2 * time.Second)
		b = w.startAs(b.identity, b.addr) // does not connect by itself
		a.Reverify("b")
		w.within(3*time.Second, "a new session", func() bool { return a.verifies(b) && b.verifies(a) && a.info(b).ID != old })
	})
}

func TestRestartWithAnotherAddress(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		b.stop()
		b = w.startAs(b.identity, netip.MustParseAddrPort("10.0.9.9:26970"))
		b.Connect("a", a.addr)
		w.within(3*time.Second, "a new session at the new address", func() bool {
			return a.verifies(b) && b.verifies(a) && a.info(b).Addr == b.addr
		})
	})
}

func TestRotationLosesNothing(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		w.net.SetConditions(transport.Conditions{Latency: 5 * time.Millisecond, Jitter: 10 * time.Millisecond})
		old := a.info(b).ID
		sent := 0
		for i := range 400 {
			if i == 50 {
				a.Rotate("b", "test")
			}
			if i == 200 { // both at once
				a.Rotate("b", "test")
				b.Rotate("a", "test")
			}
			if err := a.Send("b", frame.Data, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if err := b.Send("a", frame.Data, []byte("y")); err != nil {
				t.Fatal(err)
			}
			sent++
			w.pass(5 * time.Millisecond)
		}
		w.pass(time.Second)
		if got := b.received("a x"); got != sent {
			t.Errorf("b received %d of %d", got, sent)
		}
		if got := a.received("b y"); got != sent {
			t.Errorf("a received %d of %d", got, sent)
		}
		if a.info(b).ID == old || a.info(b).ID != b.info(a).ID {
			t.Errorf("sessions after rotation: %v and %v, before %v", a.info(b).ID, b.info(a).ID, old)
		}
		if got := a.metrics.get("rotated test"); got < 1 {
			t.Errorf("a counted %d rotations", got)
		}
		w.pass(a.cfg.Limits.Grace + time.Second)
		if len(a.table.entries) != 1 || len(b.table.entries) != 1 {
			t.Errorf("after the grace %d and %d sessions are in the tables, want 1 each", len(a.table.entries), len(b.table.entries))
		}
	})
}

// TestRotationAskedForAgain: a second wish comes while the reply to the first is
// being verified. The race detector watches.
func TestRotationAskedForAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		const latency = 5 * time.Millisecond
		w.net.SetConditions(transport.Conditions{Latency: latency})
		for range 20 {
			old := a.info(b).ID
			a.Rotate("b", "first")
			time.Sleep(2 * latency) // the reply comes at this very moment
			a.Rotate("b", "second")
			w.within(time.Second, "a new session", func() bool { return a.verifies(b) && a.info(b).ID != old && a.info(b).ID == b.info(a).ID })
		}
	})
}

// TestChallengesLostTogetherAreOneFailure: after a short cut the next challenge comes
// soon, however many were under way, and before the session lapses.
func TestChallengesLostTogetherAreOneFailure(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		w.pass(3 * time.Second)
		w.cut(a, b)
		a.Manager.mu.Lock()
		for range challengesMax { // as finish messages that come again have it
			a.sendChallenge(a.cfg.Now(), a.peers["b"].current, false)
		}
		a.Manager.mu.Unlock()
		w.within(5*time.Second, "they are lost", func() bool { return a.metrics.get("timeout") >= challengesMax })
		w.heal(a, b)
		before := a.metrics.get("latency")
		w.within(4*time.Second, "a challenge is answered", func() bool { return a.metrics.get("latency") > before })
	})
}

// TestSessionThatOneSideHasNotTakenUp: a link is cut between the last message of a
// handshake and the frame that the caller waits for. Each side is left with a session that
// the other one does not know, and hears nothing by which to notice that the link is back;
// and what is late is forgiven, as it is to a peer that is out of reach.
func TestSessionThatOneSideHasNotTakenUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		a.idle.Store(true)
		b.idle.Store(true)
		w.net.SetFilter(func(from, _ netip.AddrPort, p []byte) []byte {
			if h, _, err := frame.Parse(p); from == a.addr && (err != nil || h.Type != frame.HandshakeReply) {
				return nil
			}
			return p
		})
		old := b.info(a).ID
		b.Rotate("a", "test")
		w.within(time.Second, "a takes the new session up", func() bool { return a.info(b).ID != old })
		w.cut(a, b)
		w.net.SetFilter(nil)
		w.pass(time.Minute)
		if a.info(b).ID == b.info(a).ID {
			t.Fatal("both have the same session")
		}
		w.heal(a, b)
		w.within(5*time.Second, "both verify each other again", func() bool {
			return a.verifies(b) && b.verifies(a) && a.info(b).ID == b.info(a).ID
		})
	})
}

// TestRepeat: a challenge that was lost is sent again once, and then times out.
func TestRepeat(t *testing.T) {
	for name, lasts := range map[string]bool{"lost once": false, "lost again": true} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				w := newMesh(t)
				defer w.stopAll()
				a, b := w.pair()
				w.pass(3 * time.Second)
				overdue := func() (n int) {
					a.Manager.mu.Lock()
					defer a.Manager.mu.Unlock()
					for _, c := range a.peers["b"].current.challenges {
						if c.overdue && !c.lost {
							n++
						}
					}
					return n
				}
				w.cut(a, b)
				a.Manager.mu.Lock()
				a.sendChallenge(a.cfg.Now(), a.peers["b"].current, false)
				a.poke()
				a.Manager.mu.Unlock()
				w.within(time.Second, "it is overdue", func() bool { return overdue() > 0 })
				if !lasts {
					w.heal(a, b)
				}
				a.Repeat("b", time.Second)
				if lasts {
					w.pass(500 * time.Millisecond)
					a.Repeat("b", time.Hour) // the one that is not overdue is not repeated
					w.within(time.Second, "it is overdue again", func() bool { return overdue() > 0 })
					a.Repeat("b", time.Hour) // and none is repeated twice
					w.within(time.Second, "it times out", func() bool { return a.metrics.get("timeout") > 0 })
					return
				}
				for range 10 { // another one may have been lost with it
					w.pass(100 * time.Millisecond)
					a.Repeat("b", time.Second)
				}
				if n := a.metrics.get("timeout"); n != 0 || overdue() != 0 {
					t.Errorf("%v timeouts, %d challenges are overdue", n, overdue())
				}
			})
		})
	}
}

// TestStalledOwnerGivesTime: while the owner of the sessions cannot extend deadlines,
// nothing times out.
func TestStalledOwnerGivesTime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		w.pass(3 * time.Second)
		a.idle.Store(true)
		w.cut(a, b)
		w.within(5*time.Second, "one is overdue", func() bool { return a.count(ChallengeOverdue) > 0 })
		w.pass(time.Second)
		a.ExtendDeadline("b", time.Second)
		a.idle.Store(false)
		w.pass(250 * time.Millisecond) // too short for a challenge that is sent now
		if n := a.metrics.get("timeout"); n != 0 {
			t.Errorf("%v timeouts after a stall", n)
		}
		w.within(3*time.Second, "it times out all the same", func() bool { return a.metrics.get("timeout") > 0 })
	})
}

func TestInvalidateRevokesUntilRotate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		old := a.info(b).ID
		if err := a.Invalidate("b", "test"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !a.table.revoked[old] || a.info(b).State != StateRevoked || a.count(Invalidated) != 1 {
			t.Fatalf("not revoked: %+v", a.info(b))
		}
		if err := a.Send("b", frame.Data, nil); !errors.Is(err, ErrNoSession) {
			t.Errorf("Send on a revoked session: %v", err)
		}
		if err := b.Send("a", frame.Heartbeat, []byte("late")); err != nil {
			t.Fatal(err)
		}
		a.Connect("b", b.addr)
		w.pass(10 * time.Second)
		if a.received("b late") != 0 {
			t.Error("a frame of the revoked session was delivered")
		}
		if a.info(b).State != StateRevoked {
			t.Error("a new session although nobody asked for one")
		}
		a.Rotate("b", "compromise")
		w.within(2*time.Second, "a new session after Rotate", func() bool { return a.verifies(b) && b.verifies(a) && a.info(b).ID != old })
		if err := a.Invalidate("nobody", "test"); !errors.Is(err, ErrNoSession) {
			t.Errorf("Invalidate of an unknown peer: %v", err)
		}
	})
}

func TestRekeyBeforeExpiry(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair(func(c *Config) { c.Limits.TTL = time.Minute })
		ids := []frame.SessionID{a.info(b).ID}
		for range 200 {
			w.pass(time.Second)
			if !a.verifies(b) || !b.verifies(a) {
				t.Fatal("a gap in verification")
			}
			if id := a.info(b).ID; !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if len(ids) < 4 || len(ids) > 6 {
			t.Errorf("%d sessions in 200 s with a life of 60 s", len(ids))
		}
	})
}

func TestRekeyBeforeTheSequenceRunsOut(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair(func(c *Config) { c.Limits.SequenceLimit = 300 })
		for range 1000 {
			if err := a.Send("b", frame.Data, []byte("x")); err != nil {
				t.Fatal(err)
			}
			w.pass(10 * time.Millisecond)
		}
		if got := b.received("a x"); got != 1000 {
			t.Errorf("received %d of 1000", got)
		}
		if a.metrics.get("rotated sequence") < 2 {
			t.Errorf("rotations: %v", a.metrics.counts)
		}
	})
}

func TestForgetAndBlock(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		if err := a.Block("b", time.Minute); err != nil {
			t.Fatal(err)
		}
		b.Rotate("a", "test")
		w.pass(30 * time.Second)
		if a.info(b).State != StateRevoked {
			t.Errorf("a blocked peer is %s", a.info(b).State)
		}
		w.within(90*time.Second, "the block ends", func() bool { return a.verifies(b) })
		a.Forget("b")
		if len(a.Sessions()) != 0 || len(a.table.entries) != 0 {
			t.Error("Forget left something")
		}
	})
}
