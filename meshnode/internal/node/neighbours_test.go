package node

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/home"
	"github.com/x0tta6bl4/mesh/meshnode/internal/route"
)

// joined reports what is missing in a mesh of which not all are neighbours:
// every node must be verified with its neighbours and have a way to all others.
func (m *testMesh) joined() error {
	var names []string
	for _, a := range m.all {
		if m.nodes[a.Name] != nil {
			names = append(names, a.Name)
		}
	}
	for name, n := range m.nodes {
		want := route.Neighbours(name, names)
		s := n.Status()
		s.Peers = slices.DeleteFunc(s.Peers, func(p api.Peer) bool { return m.nodes[p.Name] == nil })
		if len(s.Peers) != len(want) || len(s.Routes) != len(names)-1 {
			return fmt.Errorf("%s: %d peers, want %d; %d routes, want %d", name, len(s.Peers), len(want), len(s.Routes), len(names)-1)
		}
		for _, p := range s.Peers {
			if p.Status != "reachable" || p.Session != "verified" {
				return fmt.Errorf("%s sees %s %s, session %s", name, p.Name, p.Status, p.Session)
			}
		}
	}
	return nil
}

// beyondFullMesh names one node more than can all be neighbours.
func beyondFullMesh() (names []string) {
	for i := range route.FullMesh + 1 {
		names = append(names, fmt.Sprintf("mesh-node-%c-%d", 'a'+i%2, i/2))
	}
	return names
}

// TestMeshGrowsBeyondFullMesh: with one node more than can all be neighbours the
// nodes let go of some, none of them takes that for a failure, and records still
// reach everyone; with one node less again all are neighbours as before.
func TestMeshGrowsBeyondFullMesh(t *testing.T) {
	names := beyondFullMesh()
	bubble.Test(t, func(t *testing.T) {
		m := newTestMeshOf(t, true, names)
		d := &moving{make(chan answer, 1)}
		m.discover = d
		defer m.down()
		last := len(names) - 1
		d.set(m.all[:last], nil)
		for _, name := range names[:last] {
			m.start(name)
		}
		m.within(10*time.Second, "all are neighbours", m.joined)
		time.Sleep(2 * time.Second)
		d.set(m.all, nil)
		m.start(names[last])
		m.within(40*time.Second, "the neighbours are bounded", m.joined)
		for i := range m.all {
			n := m.nodes[names[i]]
			if _, holders, err := n.Accept(t.Context(), "of "+names[i], nil, 0); err != nil || len(holders) < 2 {
				t.Errorf("%s: holders %v, %v", names[i], holders, err)
			}
		}
		m.within(20*time.Second, "records everywhere", func() error {
			for name, n := range m.nodes {
				if got := n.store.Len(); got != len(names) {
					return fmt.Errorf("%s holds %d", name, got)
				}
			}
			return nil
		})
		calm := func() error {
			for name, n := range m.nodes {
				if got := n.incidents(); len(got) > 0 {
					return fmt.Errorf("%s: %v", name, got)
				}
			}
			return nil
		}
		if err := calm(); err != nil {
			t.Error(err)
		}
		m.stop(names[last], false)
		d.set(m.all[:last], nil)
		m.within(15*time.Second, "all are neighbours again", func() error {
			return errors.Join(m.joined(), calm())
		})
	})
}

// TestMajorityBeyondNeighbours: whatever part of the mesh a node has for
// neighbours, in a partition only the side with most of the members serves
// client sessions.
func TestMajorityBeyondNeighbours(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMeshOf(t, true, beyondFullMesh())
		defer m.down()
		for _, member := range m.all {
			m.start(member.Name)
		}
		m.within(40*time.Second, "the neighbours are bounded", m.joined)
		var sides [2][]netip.Addr
		few := len(m.all) / 2
		for i, member := range m.all {
			side := &sides[min(i/few, 1)]
			*side = append(*side, member.Addr.Addr())
		}
		m.net.Partition(sides[0], sides[1])
		time.Sleep(2 * time.Second)
		for _, member := range m.all[:few] {
			if _, err := m.nodes[member.Name].CreateSession(t.Context(), nil); !errors.Is(err, home.ErrBusy) {
				t.Errorf("%s, of the minority, creates a session: %v", member.Name, err)
			}
		}
		m.net.HealAll()
		m.within(20*time.Second, "healed", m.joined)
		served := 0
		for _, member := range m.all { // who has too few neighbours for a majority refuses
			if _, err := m.nodes[member.Name].CreateSession(t.Context(), nil); err == nil {
				served++
			}
		}
		if served == 0 {
			t.Error("the whole mesh creates no session")
		}
		t.Logf("%d of %d nodes have a majority for neighbours", served, len(m.all))
	})
}
