package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// TestSlowLinkIsLeftAndTakenBack: only the link of two nodes is slow. What they
// say to each other goes by a relay, which is quicker, and the heartbeats that
// measure the link stay on it; when it is quick again, it is used again. Routes
// do not swing meanwhile.
func TestSlowLinkIsLeftAndTakenBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		a, b := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
		link := func(c transport.Conditions) {
			m.net.SetLink(a.addr, b.addr, c)
			m.net.SetLink(b.addr, a.addr, c)
		}
		ways := func(direct bool) func() error {
			return func() error {
				for _, d := range [][2]*testNode{{a, b}, {b, a}} {
					if next := d[0].next(d[1].name); next == "" || direct != (next == d[1].name) {
						return fmt.Errorf("%s to %s through %q", d[0].name, d[1].name, next)
					}
				}
				return nil
			}
		}
		if err := ways(true)(); err != nil {
			t.Fatal(err)
		}
		link(transport.Conditions{Latency: 200 * time.Millisecond, Jitter: 50 * time.Millisecond})
		m.within(10*time.Second, "the slow link is left", ways(false))
		time.Sleep(3 * time.Second)
		changes := testutil.ToFloat64(a.metrics.RoutesRecalculated)
		before := arrivals(b, a)
		if gap := m.attested(a, b, 20*time.Second); gap > barGap {
			t.Errorf("%v between two attestations", gap)
		}
		if arrivals(b, a)-before < 20 {
			t.Errorf("%v frames by relay in 20 s", arrivals(b, a)-before)
		}
		if got := testutil.ToFloat64(a.metrics.RoutesRecalculated); got != changes {
			t.Errorf("%v routes changed while nothing else did", got-changes)
		}
		for name, n := range m.nodes {
			if got := n.incidents(); len(got) > 0 {
				t.Errorf("%s takes latency for a loss: %v", name, got)
			}
			if slow := n.detected(metric.LatencySLO); slow != 0 && n != a && n != b || slow != 1 && (n == a || n == b) {
				t.Errorf("%s: %v incidents of latency", name, slow)
			}
		}
		link(transport.Conditions{Latency: time.Millisecond})
		m.within(10*time.Second, "the link is used again", ways(true))
		changes = testutil.ToFloat64(a.metrics.RoutesRecalculated)
		time.Sleep(20 * time.Second)
		if got := testutil.ToFloat64(a.metrics.RoutesRecalculated); got != changes {
			t.Errorf("%v routes changed at rest", got-changes)
		}
	})
}
