package node

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// TestCorruptedSignatures: what a node signs is damaged on its way to one peer.
// That peer counts, invalidates the session at the third failure, and makes new
// keys when the attack is over; no other session is touched.
func TestCorruptedSignatures(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		victim, culprit := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
		old := victim.session(zoneNames[1]).ID
		var attack atomic.Bool
		attack.Store(true)
		m.net.SetFilter(func(from, to netip.AddrPort, b []byte) []byte {
			h, payload, err := frame.Parse(b)
			if err == nil && h.Type == frame.AttestationSignature && attack.Load() && from.Addr() == culprit.addr && to.Addr() == victim.addr && len(payload) > 100 {
				payload[100] ^= 1
			}
			return b
		})
		m.within(10*time.Second, "the session invalidated", func() error {
			if v := testutil.ToFloat64(victim.metrics.Invalidated.WithLabelValues(metric.VerificationFailed)); v != 1 {
				return fmt.Errorf("%v invalidated; incidents %v", v, victim.incidents())
			}
			return nil
		})
		e := victim.events(func(e event.Entry) bool { return e.Kind == event.SessionFailed })
		if len(e) < 3 {
			t.Fatalf("%d failures in the journal", len(e))
		}
		third := e[2].Time
		if e = victim.events(func(e event.Entry) bool {
			return e.Phase == event.Execute && e.Kind == metric.InvalidateSession && e.Detail[event.DetailOutcome] == metric.OutcomeDone
		}); len(e) != 1 || e[0].Time.Sub(third) > time.Second {
			t.Errorf("invalidation in the journal: %+v; third failure at %v", e, third)
		}
		if v := testutil.ToFloat64(victim.metrics.Anomalies.WithLabelValues(metric.VerificationFailed)); v < 3 {
			t.Errorf("%v anomalies counted", v)
		}
		attack.Store(false)
		m.within(5*time.Second, "new keys and whole again", func() error {
			if v := testutil.ToFloat64(victim.metrics.Healing.WithLabelValues(metric.RotateKeys, metric.OutcomeDone)); v != 1 {
				return errors.New("keys not rotated")
			}
			return m.whole()
		})
		if v := testutil.ToFloat64(victim.metrics.Rotations.WithLabelValues(metric.ReasonCompromise)); v != 1 {
			t.Errorf("%v rotations for compromise counted", v)
		}
		if victim.session(zoneNames[1]).ID == old {
			t.Error("the session is still the old one")
		}
		for name, n := range m.nodes {
			if name != zoneNames[0] && testutil.ToFloat64(n.metrics.Invalidated.WithLabelValues(metric.VerificationFailed)) > 0 {
				t.Errorf("%s invalidated a session", name)
			}
		}
		m.within(5*time.Second, "incidents resolved", func() error {
			if open := victim.openIncidents(); len(open) > 0 {
				return errors.New(open[0])
			}
			return nil
		})
	})
}
