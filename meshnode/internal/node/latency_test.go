package node

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// delay makes everything that a node sends take longer.
func (m *testMesh) delay(name string, c transport.Conditions) {
	for other, n := range m.nodes {
		if other != name {
			m.net.SetLink(m.nodes[name].addr, n.addr, c)
		}
	}
}

// TestLatencyIsRoutedAround: one node's packets take 200 ms. Every pair with it
// is slow, no one is lost, and nothing goes through it while there is another
// way; afterwards all is as before.
func TestLatencyIsRoutedAround(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		slow := zoneNames[0]
		// The way from a-1 to a-2 leads through the node that becomes slow.
		m.net.Cut(m.nodes[zoneNames[1]].addr, m.nodes[zoneNames[2]].addr)
		time.Sleep(5 * time.Second)
		if m.nodes[zoneNames[1]].next(zoneNames[2]) == "" {
			t.Fatal("no way around the cut link")
		}
		before := timeouts(m)
		m.delay(slow, transport.Conditions{Latency: 200 * time.Millisecond, Jitter: 50 * time.Millisecond})
		m.within(10*time.Second, "latency_slo on every node, and weights", func() error {
			for name, n := range m.nodes {
				if n.detected(metric.LatencySLO) != 1 {
					return fmt.Errorf("%s: %v", name, n.incidents())
				}
				if v := testutil.ToFloat64(n.metrics.Healing.WithLabelValues(metric.UpdateRouteWeights, metric.OutcomeDone)); v == 0 {
					return fmt.Errorf("%s has set no weight", name)
				}
				for _, r := range n.Status().Routes {
					if name != slow && r.NextHop == slow && r.Destination != slow {
						return fmt.Errorf("%s goes to %s through the slow node", name, r.Destination)
					}
				}
			}
			return nil
		})
		time.Sleep(30 * time.Second)
		if got := timeouts(m); got != before {
			t.Errorf("%v challenges timed out although their deadlines were extended", got-before)
		}
		for name, n := range m.nodes {
			got := n.incidents()
			delete(got, metric.LinkFailure) // the link that was cut
			if !maps.Equal(got, map[string]float64{}) {
				t.Errorf("%s takes latency for a loss: %v", name, got)
			}
			if n.detected(metric.LatencySLO) != 1 {
				t.Errorf("%s: %v incidents in one episode", name, n.detected(metric.LatencySLO))
			}
		}
		m.delay(slow, transport.Conditions{Latency: time.Millisecond})
		m.net.HealAll()
		m.within(15*time.Second, "all is as before", func() error {
			for name, n := range m.nodes {
				if open := n.openIncidents(); len(open) > 0 {
					return fmt.Errorf("%s: %s", name, open[0])
				}
				for _, r := range n.Status().Routes {
					if r.NextHop != r.Destination {
						return errors.New(name + " to " + r.Destination)
					}
				}
			}
			return nil
		})
	})
}

// TestLatencyThatGrows: a link that is only just slow at first is avoided when it
// becomes slower, though the loop has acted by then.
func TestLatencyThatGrows(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		a, b := m.nodes[zoneNames[1]], m.nodes[zoneNames[2]]
		m.net.Cut(a.addr, b.addr)
		time.Sleep(5 * time.Second)
		relay := a.next(b.name)
		if relay == "" || relay == b.name {
			t.Fatalf("the way around the cut link leads through %q", relay)
		}
		limit := time.Duration(a.cfg.Policy.Latency)
		m.delay(relay, transport.Conditions{Latency: limit * 51 / 50})
		time.Sleep(20 * time.Second) // the loop tries twice
		if next := a.next(b.name); next != relay {
			t.Fatalf("left for %q already: the test proves nothing", next)
		}
		m.delay(relay, transport.Conditions{Latency: 3 * limit})
		m.within(5*time.Second, "another relay", func() error {
			if next := a.next(b.name); next == relay || next == "" {
				return fmt.Errorf("the way leads through %q", next)
			}
			return nil
		})
	})
}

// timeouts sums the timeouts of the nodes whose links are all there: plain
// retransmission to a lost peer times out, as it must.
func timeouts(m *testMesh) float64 {
	sum := 0.0
	for _, name := range []string{zoneNames[0], zoneNames[3], zoneNames[4]} {
		sum += testutil.ToFloat64(m.nodes[name].metrics.Timeouts)
	}
	return sum
}

// TestLatencyWithoutHealingTimesOut is the control: deadlines are tight, so that
// without the loop the first challenges under a delay are lost.
func TestLatencyWithoutHealingTimesOut(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, false)
		m.up()
		defer m.down()
		time.Sleep(10 * time.Second)
		before := timeouts(m)
		for _, name := range zoneNames {
			m.delay(name, transport.Conditions{Latency: 200 * time.Millisecond, Jitter: 50 * time.Millisecond})
		}
		time.Sleep(30 * time.Second)
		if timeouts(m) == before {
			t.Error("no challenge timed out: there is nothing that extending deadlines saves")
		}
	})
}
