package node

import (
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestRelayOverADeafLink: node 1 does not hear node 0 and may take node 2 for its relay,
// which node 0 does not hear. Both that are not heard have to find that out, and the
// session of 0 and 1 must not wait for a challenge that was lost meanwhile. Who
// chooses what depends on which cut comes first.
func TestRelayOverADeafLink(t *testing.T) {
	inMemory(t)
	const size = 5
	first := cuts(0).with(size, 0, 1)
	both := first.with(size, 2, 0)
	bubble.Test(t, func(t *testing.T) {
		m := newTestMeshOf(t, true, certifiedNames(size))
		m.up()
		defer m.down()
		c := newCertified(m)
		for after := time.Duration(0); after < time.Second; after += 50 * time.Millisecond {
			c.set(first)
			time.Sleep(after)
			begun := time.Now()
			c.set(both)
			if _, err := c.until(barWays, c.unserved); err != nil {
				t.Errorf("the second cut %v after the first: %v", after, err)
			} else if err := c.exchange(); err != nil {
				t.Errorf("the second cut %v after the first: %v", after, err)
			}
			time.Sleep(settled - time.Since(begun))
			c.set(0)
			if _, err := c.until(barWhole, c.changed); err != nil {
				t.Errorf("the second cut %v after the first: not as before within %v: %v", after, barWhole, err)
				_, _ = c.until(time.Minute, c.changed)
			}
			time.Sleep(restFor)
		}
	})
}
