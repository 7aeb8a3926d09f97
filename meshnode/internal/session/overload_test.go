package session

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
	"github.com/x0tta6bl4/mesh/meshnode/internal/identity"
)

// reattested makes a node ask for attestations of low priority.
func reattested(period time.Duration) func(*Config) {
	return func(c *Config) { c.Limits.Reattest = period }
}

// rates returns how many attestations of each priority a verified in a minute.
func (w *mesh) rates(a *node) (critical, low int) {
	before := [2]int{a.metrics.get("verification true critical"), a.metrics.get("verification true low")}
	w.pass(time.Minute)
	return a.metrics.get("verification true critical") - before[0], a.metrics.get("verification true low") - before[1]
}

func TestReattestationIsExtra(t *testing.T) {
	for _, c := range []struct {
		period   time.Duration
		min, max int
	}{{0, 0, 0}, {100 * time.Millisecond, 570, 630}, {10 * time.Second, 5, 9}} {
		bubble.Test(t, func(t *testing.T) {
			w := newMesh(t)
			defer w.stopAll()
			a, _ := w.pair(reattested(c.period))
			critical, low := w.rates(a)
			if critical < 59 || critical > 61 {
				t.Errorf("every %v: %d critical attestations in a minute, want 60", c.period, critical)
			}
			if low < c.min || low > c.max {
				t.Errorf("every %v: %d of low priority in a minute, want %d to %d", c.period, low, c.min, c.max)
			}
			if n := a.count(VerificationFailed) + a.count(ChallengeTimeout); n != 0 {
				t.Errorf("every %v: %d failures and timeouts", c.period, n)
			}
		})
	}
}

// A node that sheds asks for nothing of low priority and answers little of it,
// and what keeps its sessions verified goes on at the same rate.
func TestSheddingRelieves(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair(reattested(20 * time.Millisecond))
		w.pass(time.Second)
		a.SetShedding(true)
		w.pass(time.Second)
		shed := a.Shed()
		critical, low := w.rates(a)
		if critical < 59 || low != 0 {
			t.Errorf("while it sheds, a node verified %d critical attestations and %d of low priority in a minute", critical, low)
		}
		critical, low = w.rates(b)
		if critical < 59 || low > 61 {
			t.Errorf("a node that sheds answered %d critical and %d challenges of low priority in a minute", critical, low)
		}
		if got := a.Shed() - shed; got < 2*5000 || a.metrics.get("shed low") != int(a.Shed()) || b.Shed() != 0 {
			t.Errorf("%d shed in two minutes of 50 challenges a second either way, %d by the peer", got, b.Shed())
		}
		if a.count(VerificationFailed)+b.count(VerificationFailed)+a.count(ChallengeTimeout)+b.count(ChallengeTimeout) != 0 {
			t.Error("shedding looks like an attack or a loss")
		}
		a.SetShedding(false)
		w.pass(time.Second)
		if _, low = w.rates(a); low < 2900 {
			t.Errorf("%d of low priority in a minute after the shedding", low)
		}
	})
}

// While the verification pool is overloaded, sessions stay verified by what is
// critical, and nothing of it looks like a failure or a timeout of the peer.
func TestOverloadKeepsSessionsVerified(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair(reattested(20 * time.Millisecond))
		w.pass(3 * time.Second)
		// More low-priority work than the one worker can do, so that its queue
		// is nearly always full; it takes it up only when nothing critical waits.
		overload, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			for tick := time.NewTicker(time.Millisecond); ; {
				select {
				case <-overload:
					tick.Stop()
					return
				case <-tick.C:
				}
				for {
					err := a.pool.Submit(attest.Low, func() { time.Sleep(20 * time.Millisecond) }) // virtual
					if errors.Is(err, attest.ErrShed) {
						break
					}
				}
			}
		}()
		critical, _ := w.rates(a)
		if d := a.Delay(); d < time.Second {
			t.Errorf("the oldest job waits for %v only", d)
		}
		close(overload)
		<-ended
		if critical < 59 || !a.verifies(b) || !b.verifies(a) {
			t.Errorf("%d critical attestations in a minute of overload", critical)
		}
		if a.metrics.get("shed low") == 0 {
			t.Error("nothing was shed by a full queue")
		}
		if a.count(VerificationFailed)+a.count(ChallengeTimeout) != 0 || a.metrics.get("shed critical") != 0 {
			t.Errorf("overload looks like an attack or a loss: %v", a.metrics.counts)
		}
	})
}

func TestMalformedChallengesAreNotAnswered(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		a.Manager.mu.RLock()
		s := a.peers["b"].current
		a.Manager.mu.RUnlock()
		for _, payload := range [][]byte{{}, make([]byte, challengeSize-1), make([]byte, challengeSize+1), append(make([]byte, challengeSize-1), byte(attest.Low)+1)} {
			if a.challenged(s, payload) || s.answers[attest.Critical].busy || s.answers[attest.Low].busy {
				t.Errorf("a challenge of %d bytes is answered", len(payload))
			}
		}
		if !a.verifies(b) {
			t.Error("the session lapsed")
		}
	})
}

// TestMalformedMessagesArePassedOn: of what the manager takes itself, what is malformed goes to
// whoever refuses what nobody knows, and what is not goes nowhere else.
func TestMalformedMessagesArePassedOn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		priority := append(make([]byte, challengeSize-1), byte(attest.Low)+1)
		for _, m := range []struct {
			typ     frame.Type
			payload []byte
			want    int
		}{
			{frame.Challenge, make([]byte, challengeSize), 0},
			{frame.Challenge, make([]byte, challengeSize-1), 1},
			{frame.Challenge, priority, 1},
			{frame.PathEcho, make([]byte, echoSize), 0},
			{frame.PathEcho, make([]byte, echoSize+1), 1},
			{frame.PathProbe, make([]byte, 100), 0},
			{frame.AttestationProof, make([]byte, 8+identity.SignatureSize), 0},
			{frame.AttestationProof, make([]byte, 8), 1},
		} {
			a.forget()
			if err := b.Send("a", m.typ, m.payload); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := a.received("b " + string(m.payload)); got != m.want {
				t.Errorf("type %#x, %d bytes: passed on %d times, want %d", uint8(m.typ), len(m.payload), got, m.want)
			}
		}
		if !a.verifies(b) {
			t.Error("the session lapsed")
		}
	})
}
