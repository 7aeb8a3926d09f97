package node

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The bars of the mesh, as its verification criteria have them.
const (
	barDetect = 1200 * time.Millisecond
	barRoutes = 3 * time.Second
	barHeal   = 3 * time.Second
)

func TestPartitionIsDetectedAndHealed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		routes := map[string]float64{}
		for name, n := range m.nodes {
			if got := n.incidents(); len(got) > 0 {
				t.Errorf("%s: incidents before any fault: %v", name, got)
			}
			routes[name] = testutil.ToFloat64(n.metrics.RoutesRecalculated)
		}
		m.partition()
		cut := time.Now()
		m.within(barDetect, "network_partition on every node", func() error {
			for name, n := range m.nodes {
				if n.detected(metric.NetworkPartition) != 1 {
					return errors.New(name)
				}
			}
			return nil
		})
		m.within(barRoutes-time.Since(cut), "routes recalculated on every node", func() error {
			for name, n := range m.nodes {
				if testutil.ToFloat64(n.metrics.RoutesRecalculated) <= routes[name] {
					return errors.New(name)
				}
			}
			return nil
		})
		time.Sleep(20*time.Second - time.Since(cut))
		for name, n := range m.nodes {
			if got := n.incidents(); !maps.Equal(got, map[string]float64{metric.NetworkPartition: 1}) {
				t.Errorf("%s: incidents %v, want one partition", name, got)
			}
			want := 2.0
			if name[10] == 'b' {
				want = 4
			}
			if got := testutil.ToFloat64(n.metrics.Sessions.WithLabelValues(metric.StateVerified)); got != 4-want {
				t.Errorf("%s: %v sessions still verified", name, got)
			}
		}
		m.net.HealAll()
		m.within(barHeal, "every pair verified after the heal", m.whole)
		m.within(time.Second, "incidents resolved", func() error {
			for name, n := range m.nodes {
				if open := n.openIncidents(); len(open) > 0 {
					return fmt.Errorf("%s: %s", name, open[0])
				}
			}
			return nil
		})
		for name, n := range m.nodes {
			checkIncidentStory(t, name, n)
		}
	})
}

// checkIncidentStory checks that one incident id ties all phases.
func checkIncidentStory(t *testing.T, name string, n *testNode) {
	t.Helper()
	opened := n.events(func(e event.Entry) bool { return e.Phase == event.Analyze && e.Kind == metric.NetworkPartition })
	if len(opened) == 0 {
		t.Errorf("%s: no partition in the journal", name)
		return
	}
	story := n.events(func(e event.Entry) bool { return e.Incident == opened[0].Incident })
	for _, want := range []struct {
		phase   event.Phase
		kind    string
		outcome string
	}{
		{event.Monitor, event.PeerUnreachable, ""},
		{event.Plan, metric.ActivateBackupRoutes, ""},
		{event.Execute, metric.ActivateBackupRoutes, metric.OutcomeDone},
		{event.Monitor, event.PeerReturned, ""},
		{event.Plan, metric.ReverifySessions, ""},
		{event.Execute, metric.ReverifySessions, metric.OutcomeDone},
		{event.Monitor, event.SessionVerified, ""},
		{event.Analyze, event.Resolved, ""},
		{event.Knowledge, event.Recorded, ""},
	} {
		found := false
		for _, e := range story {
			found = found || e.Phase == want.phase && e.Kind == want.kind && (want.outcome == "" || e.Detail[event.DetailOutcome] == want.outcome)
		}
		if !found {
			t.Errorf("%s: incident %s has no %s %s %s", name, opened[0].Incident, want.phase, want.kind, want.outcome)
		}
	}
	if v := testutil.ToFloat64(n.metrics.Healing.WithLabelValues(metric.ReverifySessions, metric.OutcomeFailed)); v != 0 {
		t.Errorf("%s: %v reverifications failed", name, v)
	}
}

// TestWithoutHealingRecoveryIsSlow is the control of the test above: what heals
// is Execute, not a habit of the layers below.
func TestWithoutHealingRecoveryIsSlow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, false)
		m.up()
		defer m.down()
		m.partition()
		time.Sleep(20 * time.Second)
		for name, n := range m.nodes {
			if n.detected(metric.NetworkPartition) != 1 {
				t.Errorf("%s: Monitor and Analyze must work without Execute", name)
			}
		}
		m.net.HealAll()
		heal := time.Now()
		time.Sleep(barHeal)
		synctest.Wait()
		if m.whole() == nil {
			t.Error("the mesh was whole within the bar without healing: the criterion would be empty")
		}
		m.within(45*time.Second, "plain retransmission", m.whole)
		t.Logf("whole after %v without healing", time.Since(heal))
		for name, n := range m.nodes {
			if e := n.events(func(e event.Entry) bool { return e.Phase == event.Plan || e.Phase == event.Execute }); len(e) > 0 {
				t.Errorf("%s: %+v", name, e[0])
			}
		}
	})
}

func TestLinkFailure(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		a, b := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
		m.net.Cut(a.addr, b.addr)
		m.within(2*time.Second, "link_failure at both ends", func() error {
			if a.detected(metric.LinkFailure) != 1 || b.detected(metric.LinkFailure) != 1 {
				return fmt.Errorf("%v, %v", a.incidents(), b.incidents())
			}
			return nil
		})
		m.within(time.Second, "a way around", func() error {
			if next := a.next(zoneNames[1]); next == "" || next == zoneNames[1] {
				return fmt.Errorf("next hop %q", next)
			}
			return nil
		})
		time.Sleep(5 * time.Second)
		for name, n := range m.nodes {
			got := n.incidents()
			if name != zoneNames[0] && name != zoneNames[1] && len(got) > 0 {
				t.Errorf("%s, whose links are whole, reports %v", name, got)
			}
		}
		m.net.Heal(a.addr, b.addr)
		m.within(barHeal, "healed", m.whole)
	})
}

func TestNodeCrashAndReturn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		m.stop(zoneNames[4], true)
		m.within(2*time.Second, "node_crash on every survivor", func() error {
			for name, n := range m.nodes {
				if n.detected(metric.NodeCrash) != 1 {
					return fmt.Errorf("%s: %v", name, n.incidents())
				}
			}
			return nil
		})
		m.net.HealAll()
		m.start(zoneNames[4])
		m.within(5*time.Second, "the node is back", m.whole)
		m.within(time.Second, "incidents resolved", func() error {
			for name, n := range m.nodes {
				if open := n.openIncidents(); len(open) > 0 {
					return fmt.Errorf("%s: %s", name, open[0])
				}
			}
			return nil
		})
		for name, n := range m.nodes {
			if name != zoneNames[4] && !maps.Equal(n.incidents(), map[string]float64{metric.NodeCrash: 1}) {
				t.Errorf("%s: %v", name, n.incidents())
			}
		}
	})
}

// TestStaggeredPartition: the fault reaches pod after pod, a second apart, and
// still every node recognises one partition.
func TestStaggeredPartition(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		for _, cut := range []string{zoneNames[3], zoneNames[4]} {
			for _, other := range zoneNames {
				if other != cut {
					m.net.Cut(m.nodes[cut].addr, m.nodes[other].addr)
				}
			}
			time.Sleep(1500 * time.Millisecond)
		}
		m.within(barDetect, "network_partition on every node", func() error {
			for name, n := range m.nodes {
				if n.detected(metric.NetworkPartition) != 1 {
					return fmt.Errorf("%s: %v", name, n.incidents())
				}
			}
			return nil
		})
		m.net.HealAll()
		m.within(barHeal, "healed", m.whole)
	})
}

func TestGoodbyeRaisesNoAlarm(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		m.stop(zoneNames[0], false)
		time.Sleep(5 * time.Second)
		m.start(zoneNames[0])
		m.within(5*time.Second, "back", m.whole)
		for name, n := range m.nodes {
			if got := n.incidents(); len(got) > 0 {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

func TestLossyMeshStaysCalm(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		m.net.SetConditions(transport.Conditions{Latency: time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.01, Duplicate: 0.01, Reorder: 0.01})
		time.Sleep(3 * time.Minute)
		for name, n := range m.nodes {
			if got := n.incidents(); len(got) > 0 {
				t.Errorf("%s: false alarms %v", name, got)
			}
		}
		m.within(5*time.Second, "whole under loss", m.whole)
	})
}
