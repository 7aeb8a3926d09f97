package node

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// corrupt flips a bit in every attestation that a node sends in the clear, to anybody, as
// the corruptor at its egress does.
func (m *testMesh) corrupt(name string) {
	from := m.nodes[name].addr
	m.net.SetFilter(func(f, _ netip.AddrPort, b []byte) []byte {
		h, payload, err := frame.Parse(b)
		if err == nil && h.Type == frame.AttestationSignature && f.Addr() == from && len(payload) > 64 {
			payload[64] ^= 1
		}
		return b
	})
}

// only reports incidents of other types than those that are allowed.
func (m *testMesh) only(allowed ...string) error {
	for name, n := range m.nodes {
		for typ, count := range n.incidents() {
			if !slices.Contains(allowed, typ) {
				return fmt.Errorf("%s: %v times %s", name, count, typ)
			}
		}
	}
	return nil
}

// TestBadSignaturesAreNoSilence: every session of a node is invalidated again and again,
// at the pace of one attestation a second and of many. Nobody takes that for silence:
// neither those who invalidate, nor the node whose signatures are spoiled. Each of the
// others sees one attack, by that node.
func TestBadSignaturesAreNoSilence(t *testing.T) {
	for _, reattest := range []time.Duration{0, 300 * time.Millisecond} {
		t.Run(fmt.Sprintf("reattest %v", reattest), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m := newTestMesh(t, true)
				m.configure = func(_ string, c *Config) {
					c.Limits.Reattest = reattest
					c.Policy.Strikes = 1000 // many attestations a second would have the node blocked
				}
				m.up()
				defer m.down()
				culprit := zoneNames[0]
				m.corrupt(culprit)
				time.Sleep(30 * time.Second)
				m.net.SetFilter(nil)
				ended := time.Now()
				m.within(5*time.Second, "whole again", m.whole)
				time.Sleep(20 * time.Second)
				if err := m.only(metric.VerificationFailed, metric.HighFailureRate); err != nil {
					t.Error(err)
				}
				for name, n := range m.nodes {
					if v := n.invalidated(); name == culprit && v != 0 || name != culprit && v < 2 {
						t.Errorf("%s invalidated %v sessions: the test proves nothing", name, v)
					}
					if name != culprit {
						n.checkAttack(t, culprit, ended)
					}
				}
				if got := m.nodes[culprit].incidents(); !maps.Equal(got, map[string]float64{}) {
					t.Errorf("the node whose signatures are spoiled: %v", got)
				}
			})
		})
	}
}

func (n *testNode) invalidated() float64 {
	return testutil.ToFloat64(n.metrics.Invalidated.WithLabelValues(metric.VerificationFailed))
}

// checkAttack checks what a node did about an attack that ended at a time.
func (n *testNode) checkAttack(t *testing.T, culprit string, ended time.Time) {
	t.Helper()
	if v := testutil.ToFloat64(n.metrics.Anomalies.WithLabelValues(metric.HighFailureRate)); v != 1 {
		t.Errorf("%s counts %v episodes of a high failure rate", n.name, v)
	}
	opened := n.events(func(e event.Entry) bool {
		return e.Kind == metric.HighFailureRate && e.Phase == event.Analyze && e.Detail["moment"] == "opened"
	})
	if len(opened) != 1 || opened[0].Detail[event.DetailPeers] != culprit || len(opened[0].Detail[event.DetailSession]) != 32 {
		t.Fatalf("%s: %+v", n.name, opened)
	}
	id := opened[0].Incident
	// The phases, in their order, under one incident.
	var phases []event.Phase
	done := map[string]int{}
	var rotated time.Time
	for _, e := range n.events(func(e event.Entry) bool { return e.Incident == id }) {
		if !slices.Contains(phases, e.Phase) {
			phases = append(phases, e.Phase)
		}
		if e.Phase == event.Execute && e.Detail[event.DetailOutcome] == metric.OutcomeDone {
			done[e.Kind]++
		}
		if e.Phase == event.Execute && e.Kind == metric.RotateKeys && e.Detail[event.DetailOutcome] == metric.OutcomeDone {
			rotated = e.Time
		}
	}
	if want := []event.Phase{event.Monitor, event.Analyze, event.Plan, event.Execute, event.Knowledge}; !slices.Equal(phases, want) {
		t.Errorf("%s: phases %v", n.name, phases)
	}
	if done[metric.InvalidateSession] == 0 || done[metric.RotateKeys] == 0 {
		t.Errorf("%s did %v under its high failure rate", n.name, done)
	}
	if d := rotated.Sub(ended); d > 2*time.Second {
		t.Errorf("%s rotated its keys %v after the attack", n.name, d)
	}
	k := n.Knowledge()
	if len(k.Threats) != 1 || k.Threats[0].Peer != culprit || k.Threats[0].Type != metric.HighFailureRate || k.Threats[0].Count < 5 {
		t.Errorf("%s: threats %+v", n.name, k.Threats)
	}
}

// TestADeathDuringAnAttackIsFound: who is really gone is found although its signatures
// failed, whatever the session with it is at the moment.
func TestADeathDuringAnAttackIsFound(t *testing.T) {
	for _, after := range []time.Duration{3 * time.Second, 3500 * time.Millisecond, 4 * time.Second, 4500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m := newTestMesh(t, true)
				m.up()
				defer m.down()
				victim := zoneNames[0]
				m.corrupt(victim)
				time.Sleep(after)
				m.stop(victim, true)
				m.within(6*time.Second, "the death known to all", func() error {
					for name, n := range m.nodes {
						if testutil.ToFloat64(n.metrics.PeerUnreachable.WithLabelValues(victim)) != 1 {
							return errors.New(name + " has not missed it")
						}
						if n.detected(metric.NodeCrash) != 1 {
							return fmt.Errorf("%s: %v", name, n.incidents())
						}
					}
					return nil
				})
				if err := m.only(metric.VerificationFailed, metric.HighFailureRate, metric.NodeCrash); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
