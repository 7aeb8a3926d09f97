package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

func (n *testNode) gauge(g *prometheus.GaugeVec, label string) float64 {
	return testutil.ToFloat64(g.WithLabelValues(label))
}

// learned returns what a node knows of its only incident of a type.
func (n *testNode) learned(t *testing.T, typ string) api.Event {
	t.Helper()
	var found []api.Event
	for _, e := range n.Knowledge().Events {
		if e.Type == typ {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s: %d events %s: %+v", n.name, len(found), typ, found)
	}
	return found[0]
}

// checkPhases checks that an incident has entries of every phase, that each begins after
// the one before it, and that some actions were planned and done under it.
func (n *testNode) checkPhases(t *testing.T, id string, actions ...string) {
	t.Helper()
	var phases []event.Phase
	planned, done := map[string]bool{}, map[string]bool{}
	for _, e := range n.events(func(e event.Entry) bool { return e.Incident == id }) {
		if !slices.Contains(phases, e.Phase) {
			phases = append(phases, e.Phase)
		}
		switch {
		case e.Phase == event.Plan:
			planned[e.Kind] = true
		case e.Phase == event.Execute && e.Detail[event.DetailOutcome] == metric.OutcomeDone:
			done[e.Kind] = true
		}
	}
	if want := []event.Phase{event.Monitor, event.Analyze, event.Plan, event.Execute, event.Knowledge}; !slices.Equal(phases, want) {
		t.Errorf("%s %s: phases %v", n.name, id, phases)
	}
	for _, a := range actions {
		if !planned[a] || !done[a] {
			t.Errorf("%s %s: %s planned %v, done %v", n.name, id, a, planned[a], done[a])
		}
	}
}

// TestAPartitionIsKnown: every cell of the table's first row can be read.
func TestAPartitionIsKnown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		n, cut := m.nodes[zoneNames[0]], zoneNames[3:]
		m.partition()
		time.Sleep(3 * time.Second)
		if v := n.gauge(n.metrics.Sessions, metric.StateUnverified); v != 2 {
			t.Errorf("%v sessions unverified 3 s after the cut", v)
		}
		if v := n.gauge(n.metrics.IncidentsOpen, metric.NetworkPartition); v != 1 {
			t.Errorf("%v incidents open", v)
		}
		for _, peer := range zoneNames[1:] {
			want := 1.0
			if slices.Contains(cut, peer) {
				want = 0
			}
			if v := n.gauge(n.metrics.LinkWeight, peer); v != want || n.Knowledge().Weights[peer] != want {
				t.Errorf("weight of %s: %v, %v", peer, v, n.Knowledge().Weights[peer])
			}
			if v := n.gauge(n.metrics.Availability, peer); (v == 1) != (want == 1) || v < 0.8 {
				t.Errorf("availability of %s: %v", peer, v)
			}
		}
		time.Sleep(7 * time.Second)
		m.net.HealAll()
		m.within(3*time.Second, "the peers' return", func() error {
			if v := n.gauge(n.metrics.LinkWeight, cut[0]); v < 0.5 || v > 0.6 {
				return fmt.Errorf("weight %v", v)
			}
			return m.whole()
		})
		if v := n.gauge(n.metrics.Sessions, metric.StateUnverified); v != 0 {
			time.Sleep(measure)
			if v = n.gauge(n.metrics.Sessions, metric.StateUnverified); v != 0 {
				t.Errorf("%v sessions unverified in the end", v)
			}
		}
		time.Sleep(11 * time.Second)
		if v := n.gauge(n.metrics.LinkWeight, cut[0]); v != 1 {
			t.Errorf("weight %v 11 s after the return", v)
		}
		e := n.learned(t, metric.NetworkPartition)
		if !slices.Equal(e.Peers, cut) || e.Seconds < 8 || e.Seconds > 14 || len(e.Actions) < 4 {
			t.Errorf("%+v", e)
		}
		n.checkPhases(t, e.ID, metric.ActivateBackupRoutes, metric.ReverifySessions)
		m.stop(n.name, false)
		m.start(n.name)
		if again := m.nodes[n.name].learned(t, metric.NetworkPartition); again.ID != e.ID || len(again.Actions) != len(e.Actions) {
			t.Errorf("after a restart: %+v", again)
		}
	})
}

// TestACrashIsKnown: the death and the failure of the session are one incident.
func TestACrashIsKnown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		n, victim := m.nodes[zoneNames[0]], zoneNames[4]
		m.stop(victim, true)
		time.Sleep(5 * time.Second)
		e := n.learned(t, metric.NodeCrash)
		n.checkPhases(t, e.ID, metric.ActivateBackupRoutes, metric.MigrateSessions)
		var kinds []string
		for _, e := range n.events(func(x event.Entry) bool { return x.Phase == event.Monitor && x.Incident == e.ID }) {
			kinds = append(kinds, e.Kind)
		}
		if want := []string{event.PeerUnreachable, event.SessionLost}; !slices.Equal(kinds, want) {
			t.Errorf("symptoms %v", kinds)
		}
		if v := n.gauge(n.metrics.Availability, victim); v >= 1 || !e.Resolved.IsZero() || e.Seconds < 3 {
			t.Errorf("availability %v; %+v", v, e)
		}
	})
}

// TestLatencyIsKnown: which routes were concerned, how much more time challenges get, how
// much less the link is preferred, and how slow it was.
func TestLatencyIsKnown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		n, slow := m.nodes[zoneNames[1]], zoneNames[0]
		before := n.gauge(n.metrics.Deadline, slow)
		m.delay(slow, transport.Conditions{Latency: 300 * time.Millisecond})
		time.Sleep(10 * time.Second)
		e := n.learned(t, metric.LatencySLO)
		n.checkPhases(t, e.ID, metric.ExtendTimeouts, metric.UpdateRouteWeights)
		opened := n.events(func(x event.Entry) bool { return x.Incident == e.ID && x.Phase == event.Analyze })[0]
		if opened.Detail[event.DetailPeers] != slow || !slices.Contains(strings.Split(opened.Detail[event.DetailRoutes], ","), slow) {
			t.Errorf("%+v", opened)
		}
		if v := n.gauge(n.metrics.Deadline, slow); v < before+1 {
			t.Errorf("deadline %v, before %v", v, before)
		}
		if v := n.gauge(n.metrics.LinkWeight, slow); v > 0.55 || v < 0.4 {
			t.Errorf("weight %v of a link with twice the latency allowed", v)
		}
		m.delay(slow, transport.Conditions{Latency: time.Millisecond})
		time.Sleep(60 * time.Second)
		k := n.Knowledge()
		if len(k.Latency) != 1 || k.Latency[0].Peer != slow || k.Latency[0].Count != 1 ||
			k.Latency[0].TypicalSeconds > 0.01 || k.Latency[0].EpisodeSeconds < 0.25 || k.Latency[0].EpisodeSeconds > 0.35 {
			t.Errorf("%+v", k.Latency)
		}
		if v := n.gauge(n.metrics.Deadline, slow); v > before+0.5 {
			t.Errorf("deadline %v in the end, %v before", v, before)
		}
		if v := n.gauge(n.metrics.LinkWeight, slow); v != 1 {
			t.Errorf("weight %v in the end", v)
		}
	})
}

// TestLossUnderLatencyIsNotForgiven: extended deadlines are no licence to lose.
func TestLossUnderLatencyIsNotForgiven(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		slow := m.nodes[zoneNames[0]]
		m.delay(slow.name, transport.Conditions{Latency: 200 * time.Millisecond})
		time.Sleep(10 * time.Second)
		before := testutil.ToFloat64(slow.metrics.Timeouts)
		m.delay(slow.name, transport.Conditions{Latency: 200 * time.Millisecond, Loss: 0.6})
		m.within(20*time.Second, "timeouts", func() error {
			if testutil.ToFloat64(slow.metrics.Timeouts) < before+5 {
				return errors.New("none")
			}
			return nil
		})
	})
}

// TestExhaustionIsKnown: what ran short, and what the container should be given. A node
// that is starved and therefore slow has these two incidents, and the others at most
// take it for slow.
func TestExhaustionIsKnown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, c := loaded(t, true)
		m.up()
		defer m.down()
		n := m.nodes[zoneNames[0]]
		if n.Knowledge().Recommendation != nil {
			t.Error("a recommendation without an episode")
		}
		c.set(true)
		m.delay(n.name, transport.Conditions{Latency: 180 * time.Millisecond})
		time.Sleep(10 * time.Second)
		if v := testutil.ToFloat64(n.metrics.NodeCPU); v < 0.95 {
			t.Errorf("CPU %v of the limit", v)
		}
		e := n.learned(t, metric.ResourceExhaustion)
		if e.Resource != "cpu" || !e.Resolved.IsZero() {
			t.Errorf("%+v", e)
		}
		opened := n.events(func(x event.Entry) bool { return x.Incident == e.ID && x.Phase == event.Analyze })[0]
		if opened.Detail[event.DetailResource] != "cpu" || opened.Detail[event.DetailReason] == "" {
			t.Errorf("%+v", opened)
		}
		c.set(false)
		m.delay(n.name, transport.Conditions{Latency: time.Millisecond})
		time.Sleep(20 * time.Second)
		n.checkPhases(t, e.ID, metric.ShedLowPriority, metric.RequestScaleUp)
		// All of one core, and throttled all the time: four times of it, at rest by the policy.
		if r := n.Knowledge().Recommendation; r == nil || r.Incidents != 1 || r.CPU != "5600m" || r.Memory != "" || r.Reason == "" {
			t.Errorf("%+v", r)
		}
		for name, o := range m.nodes {
			if got := o.incidents(); name != n.name && len(got) > 0 || len(got) > 1 {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
}

// TestALinkThatFailedIsPreferredLess: routes count with its weight, so that another relay
// of the same quality is better, but its own peer is reached over it at once.
func TestALinkThatFailedIsPreferredLess(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		a, peer := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
		direct := func() uint8 {
			for _, r := range a.Status().Routes {
				if r.Destination == peer.name && r.NextHop == peer.name {
					return r.Quality
				}
			}
			return 0
		}
		full := direct()
		m.net.Cut(a.addr, peer.addr)
		time.Sleep(5 * time.Second)
		m.net.HealAll()
		m.within(2*time.Second, "the link is used again", func() error {
			if direct() == 0 {
				return errors.New(a.next(peer.name))
			}
			return nil
		})
		time.Sleep(measure)
		if q := direct(); q >= full || q < full-10 {
			t.Errorf("quality %d of a link that is just back, %d before", q, full)
		}
		time.Sleep(12 * time.Second)
		if q := direct(); q != full {
			t.Errorf("quality %d later, %d before", q, full)
		}
	})
}
