package session

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/attest"
)

// While the verification pool sheds, re-attestations go first, sessions stay
// verified by the ones that have become critical, and nothing of it looks like
// a failure or a timeout of the peer.
func TestSheddingKeepsSessionsVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newMesh(t)
		defer w.stopAll()
		a, b := w.pair()
		w.pass(3 * time.Second)
		a.SetShedding(true)
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
		for range 60 {
			w.pass(time.Second)
			if !a.verifies(b) || !b.verifies(a) {
				t.Fatal("the session lapsed")
			}
		}
		close(overload)
		<-ended
		if shed := a.metrics.get("shed low"); shed < 10 {
			t.Errorf("%d verifications were shed in a minute of overload", shed)
		}
		if a.metrics.get("verification true critical") < 10 {
			t.Errorf("critical verifications: %v", a.metrics.counts)
		}
		if a.count(VerificationFailed)+a.count(ChallengeTimeout) != 0 || a.metrics.get("shed critical") != 0 {
			t.Errorf("overload looks like an attack or a loss: %v", a.metrics.counts)
		}
	})
}
