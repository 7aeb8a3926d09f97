package session

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// patient is a pair of nodes of which a gives every overdue challenge a second more; what
// it sends of challenges while lose is true is lost, and counted.
func patient(t *testing.T, w *mesh) (a, b *node, lose *atomic.Bool, lost *atomic.Int64) {
	t.Helper()
	lose, lost = new(atomic.Bool), new(atomic.Int64)
	a, b = w.pair(func(c *Config) {
		if c.Identity.Name() != "a" {
			return
		}
		report := c.OnEvent
		c.OnEvent = func(e Event) {
			report(e)
			if e.Kind == ChallengeOverdue {
				w.nodes["a"].ExtendDeadline("b", time.Second)
			}
		}
	})
	w.net.SetFilter(func(from, _ netip.AddrPort, datagram []byte) []byte {
		if h, _, err := frame.Parse(datagram); err == nil && h.Type == frame.Challenge && from == a.addr && lose.Load() {
			lost.Add(1)
			return nil
		}
		return datagram
	})
	w.pass(3 * time.Second)
	return a, b, lose, lost
}

// TestNoChallengeIsExtendedForEver: whoever extends deadlines at every turn sees the
// timeouts of a link that loses everything all the same, each sent again before.
func TestNoChallengeIsExtendedForEver(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, _, lose, lost := patient(t, w)
		made := func() uint64 { // challenges so far
			a.Manager.mu.Lock()
			defer a.Manager.mu.Unlock()
			return a.peers["b"].current.epoch
		}
		before := made()
		lose.Store(true)
		took := w.within(6*time.Second, "a timeout", func() bool { return a.metrics.get("timeout") > 0 })
		if took < extendedMax {
			t.Errorf("after %v: none was extended", took)
		}
		if frames, challenges := lost.Load(), made()-before; frames <= int64(challenges) {
			t.Errorf("%d frames of %d challenges: none was sent again", frames, challenges)
		}
	})
}

// TestALostChallengeIsSentAgain: what is lost for a moment is verified by a repetition,
// whose latency says nothing about the path.
func TestALostChallengeIsSentAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b, lose, lost := patient(t, w)
		before := a.info(b).Deadline
		lose.Store(true)
		w.within(2*time.Second, "a challenge is lost", func() bool { return lost.Load() > 0 })
		w.pass(500 * time.Millisecond)
		lose.Store(false)
		w.pass(5 * time.Second)
		if n := a.metrics.get("timeout"); n != 0 {
			t.Errorf("%d timeouts although the challenge could be repeated", n)
		}
		if after := a.info(b).Deadline; after > before+10*time.Millisecond {
			t.Errorf("the deadline has gone from %v to %v", before, after)
		}
	})
}

// TestASuspendedSessionIsUnverified: at once, also for the kernel, until the peer has
// proven itself again.
func TestASuspendedSessionIsUnverified(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		w.pass(3 * time.Second)
		a.Suspend("b")
		i := a.info(b)
		a.table.mu.Lock()
		until := a.table.entries[i.ID].VerifiedUntil
		a.table.mu.Unlock()
		if now := a.cfg.Now(); i.State != StateUnverified || until > now {
			t.Errorf("%s; the kernel lets data pass for %v more", i.State, until-now)
		}
		w.cut(a, b)
		a.Reverify("b")
		w.pass(100 * time.Millisecond)
		if a.verifies(b) {
			t.Error("verified without an answer")
		}
		w.heal(a, b)
		a.Reverify("b")
		w.within(time.Second, "verified again", func() bool { return a.verifies(b) })
	})
}

func TestAllowance(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		w.pass(10 * time.Second)
		before := a.info(b).Deadline
		a.Allow("b", time.Second)
		if got := a.info(b).Deadline; before < deadlineMin || got != before+time.Second {
			t.Errorf("deadline %v, before %v", got, before)
		}
		w.cut(a, b)
		overdue := a.count(ChallengeOverdue)
		w.pass(1100 * time.Millisecond)
		if a.count(ChallengeOverdue) != overdue {
			t.Error("overdue before the extended deadline")
		}
		a.Allow("b", 0)
		if got := a.info(b).Deadline; got != before {
			t.Errorf("deadline %v in the end, %v before", got, before)
		}
	})
}
