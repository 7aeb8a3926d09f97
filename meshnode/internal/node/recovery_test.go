package node

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/store"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

func TestRecordsConvergeAfterPartition(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		want := map[string]bool{}
		put := func(node, id string, holders int) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			_, h, err := m.nodes[node].Accept(ctx, id, []byte("body of "+id), 0)
			if err != nil {
				t.Errorf("%s refuses %s: %v", node, id, err)
				return
			}
			if len(h) < holders {
				t.Errorf("%s accepted %s with holders %v", node, id, h)
			}
			want[id] = true
		}
		for i, name := range zoneNames {
			put(name, fmt.Sprintf("before-%d", i), 2)
		}
		m.partition()
		for round := range 30 {
			for _, name := range zoneNames {
				put(name, fmt.Sprintf("during-%d-%s", round, name), 1)
			}
		}
		m.net.HealAll()
		m.within(barHeal, "every record everywhere", func() error {
			for name, n := range m.nodes {
				if n.store.Len() != len(want) {
					return fmt.Errorf("%s holds %d of %d", name, n.store.Len(), len(want))
				}
			}
			return nil
		})
		for name, n := range m.nodes {
			list, err := n.store.List("", 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range list {
				if !want[r.ID] || string(r.Body) != "body of "+r.ID {
					t.Errorf("%s holds %q: %q", name, r.ID, r.Body)
				}
			}
		}
	})
}

// TestNewNodeDoesNotAcceptAloneAtOnce: a node that has just started does not yet
// know whether it is alone.
func TestNewNodeDoesNotAcceptAloneAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		defer m.down()
		m.start(zoneNames[0])
		time.Sleep(500 * time.Millisecond)
		n := m.nodes[zoneNames[0]]
		if _, holders, err := n.Accept(t.Context(), "early", nil, 0); !errors.Is(err, store.ErrNoHolder) {
			t.Errorf("accepted by %v, %v", holders, err)
		}
		time.Sleep(greeting)
		if _, holders, err := n.Accept(t.Context(), "late", nil, 0); err != nil || len(holders) != 1 {
			t.Errorf("holders %v, %v", holders, err)
		}
		m.start(zoneNames[1])
		m.within(5*time.Second, "both records at the second node", func() error {
			if got := m.nodes[zoneNames[1]].store.Len(); got != 2 {
				return fmt.Errorf("%d records", got)
			}
			return nil
		})
	})
}

func TestLostGateStopsDataUntilItIsBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		n := m.nodes[zoneNames[0]]
		if why := n.NotReady(); why != nil {
			t.Fatalf("not ready: %v", why)
		}
		n.gate.lose(true)
		m.within(time.Second, "not ready", func() error {
			if n.NotReady() == nil {
				return errors.New("still ready")
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, _, err := n.Accept(ctx, "x", nil, 0); err == nil {
			t.Error("accepted a record with a peer as holder without a verifier")
		}
		n.gate.lose(false)
		m.within(5*time.Second, "ready again", func() error {
			if why := n.NotReady(); why != nil {
				return errors.New(why[0])
			}
			return nil
		})
		for _, kind := range []string{event.VerifierLost, event.VerifierBack} {
			if e := n.events(func(e event.Entry) bool { return e.Kind == kind }); len(e) != 1 {
				t.Errorf("%d entries %s", len(e), kind)
			}
		}
	})
}

func TestKnowledgeSurvivesRestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		m.partition()
		time.Sleep(3 * time.Second)
		m.net.HealAll()
		m.within(barHeal, "healed", m.whole)
		time.Sleep(time.Second)
		m.stop(zoneNames[0], false)
		m.start(zoneNames[0])
		n := m.nodes[zoneNames[0]]
		if s := n.Status(); len(s.Incidents) != 1 || s.Incidents[0].Type != metric.NetworkPartition {
			t.Errorf("incidents after a restart: %+v", s.Incidents)
		}
		if e := n.Events(0, 10); len(e) == 0 || e[0].Seq != 1 {
			t.Errorf("journal after a restart: %+v", e)
		}
		m.within(5*time.Second, "whole", m.whole)
	})
}

// TestDataSurvivesAllNodesAtOnce: where every node ends at the same moment and starts again with its disk, every
// acknowledged record is on every node, and the mesh is whole and calm.
func TestDataSurvivesAllNodesAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		var acknowledged []string
		for i := range 20 {
			id := fmt.Sprint("record-", i)
			if _, _, err := m.nodes[zoneNames[i%5]].Accept(t.Context(), id, []byte("kept"), 0); err != nil {
				t.Fatal(err)
			}
			acknowledged = append(acknowledged, id)
		}
		for _, name := range zoneNames {
			m.stop(name, true)
		}
		m.net.HealAll()
		time.Sleep(5 * time.Second)
		for _, name := range zoneNames {
			m.start(name)
		}
		m.within(10*time.Second, "every pair verified again", m.whole)
		m.within(10*time.Second, "every record everywhere", func() error {
			for name, n := range m.nodes {
				for _, id := range acknowledged {
					if r, err := n.Record(id); err != nil || string(r.Body) != "kept" {
						return fmt.Errorf("%s at %s: %q, %v", id, name, r.Body, err)
					}
				}
			}
			return nil
		})
		time.Sleep(time.Minute)
		for name, n := range m.nodes {
			if open := n.openIncidents(); len(open) > 0 {
				t.Errorf("%s: open %v", name, open)
			}
		}
	})
}
