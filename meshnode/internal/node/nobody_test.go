package node

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/home"
	lies "github.com/x0tta6bl4/mesh/meshnode/internal/hostile"
)

// barNobody is how long after the last lie about its home a session may take to answer.
const barNobody = 15 * time.Second

// lied is the epoch under which the liar names a home: who believes it claims under a higher one.
const lied = 40

// TestNobodyIsHome: a member tells all others that every session is at home with one who is not
// there: a name of nobody, a member that discovery lists and nobody ever met, one that has died.
// All believe it, and each session answers again at every node in time.
func TestNobodyIsHome(t *testing.T) {
	nobody, dead := "mesh-node-z-9", zoneNames[1]
	for what, named := range map[string]string{"a name": nobody, "a member that was never there": nobody, "a dead member": dead} {
		t.Run(what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m := newTestMesh(t, true)
				liar := zoneNames[4]
				h := m.turn(liar)
				if what == "a member that was never there" {
					m.discover = append(slices.Clone(m.all), Member{nobody, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 99}), frame.Port)})
				}
				m.up()
				defer m.down()
				sessions := m.createSessions(20)
				if named == dead {
					m.stop(dead, true)
					m.within(barMigrate, "every session answers", func() error { return m.answering(sessions) })
				}
				for id := range sessions {
					for name := range m.nodes {
						if name == liar {
							continue
						}
						if err := h.send(name, frame.Client, lies.NamesHome(liar, id, named, lied)); err != nil {
							t.Fatal(err)
						}
					}
				}
				time.Sleep(2 * time.Millisecond) // on the wire
				m.wait()
				took := m.within(barNobody, "every session can be read", func() error { return m.readable(sessions) })
				t.Logf("all can be read after %v", took)
				for id := range sessions {
					if got, err := m.nodes[zoneNames[0]].Session(t.Context(), id); err != nil || got.Epoch <= lied {
						t.Fatalf("session %s is at epoch %d, %v: nobody believed the lie, and the test proves nothing", id, got.Epoch, err)
					}
				}
				for name, n := range m.nodes {
					if homed := n.clients.Homed(named); homed > 0 {
						t.Errorf("%s takes %s for the home of %d sessions", name, named, homed)
					}
				}
				if err := m.answering(sessions); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// readable reads every session at every running node: its version is no older than what is known, and its
// home one that runs.
func (m *testMesh) readable(sessions map[string]home.Session) error {
	for name, n := range m.nodes {
		for id, s := range sessions {
			got, err := n.Session(m.t.Context(), id)
			if err != nil {
				return fmt.Errorf("%s, session %s: %w", name, id, err)
			}
			if got.Version < s.Version || m.nodes[got.Home] == nil {
				return fmt.Errorf("%s, session %s: version %d at home with %q, want %d", name, id, got.Version, got.Home, s.Version)
			}
		}
	}
	return nil
}
