package node

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// TestRelapsedPeerIsBlocked: a peer whose new sessions fail like the old ones is
// blocked for the policy's time, also over a restart, and nobody else is.
func TestRelapsedPeerIsBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.configure = func(_ string, c *Config) {
			c.Policy.Strikes, c.Policy.Block = 3, mapek.Duration(2*time.Minute)
		}
		m.up()
		defer m.down()
		victim, culprit := zoneNames[0], zoneNames[1]
		from, to := m.nodes[culprit].addr, m.nodes[victim].addr
		m.net.SetFilter(func(f, x netip.AddrPort, b []byte) []byte {
			h, payload, err := frame.Parse(b)
			if err == nil && h.Type == frame.AttestationSignature && f.Addr() == from && x.Addr() == to && len(payload) > 100 {
				payload[100] ^= 1
			}
			return b
		})
		m.within(time.Minute, "the block", func() error {
			if v := m.nodes[victim].healed(metric.BlockPeer, metric.OutcomeDone); v != 1 {
				return fmt.Errorf("%v blocks; invalidated %v", v, m.nodes[victim].healed(metric.InvalidateSession, metric.OutcomeDone))
			}
			return nil
		})
		blocked := time.Now()
		if v := m.nodes[victim].healed(metric.InvalidateSession, metric.OutcomeDone); v < 2 {
			t.Errorf("blocked after %v invalidations", v)
		}
		m.net.SetFilter(nil)
		standing := func() session.State { return m.nodes[victim].Node.session(culprit).State }
		time.Sleep(30 * time.Second)
		if s := standing(); s == session.StateVerified {
			t.Errorf("30 s into the block the session is %s", s)
		}
		m.stop(victim, false)
		m.start(victim)
		time.Sleep(30 * time.Second)
		if s := standing(); s == session.StateVerified {
			t.Errorf("after a restart the blocked peer is %s", s)
		}
		// Without healing nothing is blocked, though it is remembered.
		m.stop(victim, false)
		m.heal = false
		m.start(victim)
		m.within(40*time.Second, "a session with healing off", func() error {
			if standing() != session.StateVerified {
				return errors.New(string(standing()))
			}
			return nil
		})
		m.stop(victim, false)
		m.heal = true
		m.start(victim)
		time.Sleep(time.Until(blocked.Add(2 * time.Minute)))
		m.within(40*time.Second, "the end of the block", func() error {
			if standing() != session.StateVerified {
				return errors.New(string(standing()))
			}
			return nil
		})
		for name, n := range m.nodes {
			if name != victim && n.healed(metric.BlockPeer, metric.OutcomeDone) > 0 {
				t.Errorf("%s blocked somebody", name)
			}
		}
	})
}
