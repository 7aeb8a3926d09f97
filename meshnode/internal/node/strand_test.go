package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
)

// TestALostRelayLeavesNoSession: a peer that only relays reached is not verified any more from the
// moment on in which no relay is left and this node accepts alone. With the links both are back.
func TestALostRelayLeavesNoSession(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		a, b := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
		m.net.Cut(a.addr, b.addr)
		time.Sleep(3 * time.Second)
		if s := a.session(b.name); !a.byRelay(b.name) || s.State != session.StateVerified {
			t.Fatalf("by relay %v, session %s: the test proves nothing", a.byRelay(b.name), s.State)
		}
		for _, n := range m.nodes {
			if n != a {
				m.net.Cut(a.addr, n.addr)
			}
		}
		m.within(3*time.Second, "nobody", func() error {
			if peers := (mesh{a.Node}).Reachable(); len(peers) > 0 || a.byRelay(b.name) {
				return fmt.Errorf("counts on %v", peers)
			}
			return nil
		})
		if s := a.session(b.name); s.State == session.StateVerified {
			t.Error("the session is still verified")
		}
		if _, holders, err := a.Accept(t.Context(), "x", nil, 0); err != nil || len(holders) != 1 {
			t.Errorf("accepted by %v, %v", holders, err)
		}
		m.net.HealAll()
		m.within(barHeal, "healed", m.whole)
	})
}
