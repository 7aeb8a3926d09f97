package node

import (
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
)

// TestAFloodOfHeartbeats: a member sends more than there is room for, whenever an honest peer says
// something and the control goroutine is busy. No honest peer is suspected for it.
func TestAFloodOfHeartbeats(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		victim, liar := zoneNames[0], zoneNames[4]
		h := m.turn(victim)
		m.up()
		defer m.down()
		stale := make([]byte, 25) // an echo of another life's heartbeat
		stale[7] = 1
		n, flooded := m.nodes[victim], 0
		h.mu.Lock()
		h.takes = func(from string, typ frame.Type, deliver func()) {
			if from == liar || typ.Class() != frame.ClassControl {
				deliver()
				return
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			for range maxMessages {
				n.onMessage(session.Peer(liar), frame.HeartbeatEcho, stale)
			}
			deliver()
			flooded++
		}
		h.mu.Unlock()
		time.Sleep(2 * time.Second)
		h.mu.Lock()
		h.takes = nil
		h.mu.Unlock()
		m.wait()
		for _, p := range n.Status().Peers {
			if p.Name != liar && (p.Status != "reachable" || p.Session != "verified") {
				t.Errorf("%s is %s, session %s", p.Name, p.Status, p.Session)
			}
		}
		if got := n.incidents(); len(got) > 0 || flooded < 3*10 {
			t.Errorf("after %d floods: incidents %v", flooded, got)
		}
	})
}
