package node

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/session"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// The bars of a cut link with a relay left.
const (
	barTakeover = time.Second     // from the cut until data arrives again
	barGap      = 2 * time.Second // the same as its criterion has it
)

// arrivals counts the frames of one node that reached another by relay.
func arrivals(at, from *testNode) float64 {
	return testutil.ToFloat64(at.metrics.FramesByRelay.WithLabelValues(from.name))
}

// silence sends a small data frame every 10 ms and returns how long none of
// them arrives by relay, limit at most.
func (m *testMesh) silence(from, to *testNode, limit time.Duration) time.Duration {
	m.t.Helper()
	start, before := time.Now(), arrivals(to, from)
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for time.Since(start) < limit {
		if err := from.sessions.Send(session.Peer(to.name), frame.DataAck, make([]byte, 9)); err != nil {
			m.t.Fatal(err)
		}
		<-pace.C
		m.wait()
		if arrivals(to, from) > before {
			break
		}
	}
	return time.Since(start)
}

// attested follows the attestations of every two nodes over d and returns the
// longest time between two of them.
func (m *testMesh) attested(a, b *testNode, d time.Duration) (gap time.Duration) {
	start := time.Now()
	for time.Since(start) < d {
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		for _, n := range [][2]*testNode{{a, b}, {b, a}} {
			n[0].mu.Lock()
			gap = max(gap, time.Since(n[0].proof[n[1].name]))
			n[0].mu.Unlock()
		}
	}
	return gap
}

// TestCutLinkIsRelayed is criterion S1.5: of five nodes only the link of two is
// cut. What they say to each other goes on by relay, their session stays
// verified and they count on each other; when the link is back, it is used.
func TestCutLinkIsRelayed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		a, b := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
		before := a.session(b.name).ID
		m.net.Cut(a.addr, b.addr)
		cut := time.Now()
		for _, d := range [][2]*testNode{{a, b}, {b, a}} {
			if m.silence(d[0], d[1], barGap); time.Since(cut) > barGap {
				t.Errorf("%s reaches %s %v after the cut", d[0].name, d[1].name, time.Since(cut))
			}
		}
		took := time.Since(cut)
		opened := a.events(func(e event.Entry) bool { return e.Phase == event.Analyze && e.Kind == metric.LinkFailure })
		if len(opened) != 1 {
			t.Fatalf("%d link failures", len(opened))
		}
		t.Logf("by relay %v after the cut, %v after its detection", took, took-opened[0].Time.Sub(cut))
		if took > barTakeover {
			t.Errorf("data arrives again %v after the cut, want %v", took, barTakeover)
		}
		if gap := m.attested(a, b, 10*time.Second); gap > barGap {
			t.Errorf("%v between two attestations", gap)
		}
		if s := a.session(b.name); s.State != session.StateVerified || s.ID != before {
			t.Errorf("session during the cut: %+v", s)
		}
		if peers := (mesh{a.Node}).Reachable(); !slices.Contains(peers, b.name) {
			t.Errorf("the store counts on %v only", peers)
		}
		if got := a.incidents(); !maps.Equal(got, map[string]float64{metric.LinkFailure: 1}) {
			t.Errorf("incidents %v", got)
		}
		relayed := 0.0
		for name, n := range m.nodes {
			relayed += testutil.ToFloat64(n.metrics.FramesRelayed)
			for _, reason := range metric.RefusedReasons() {
				// A frame may meet a node whose own route is just changing.
				most := 0.0
				if reason == metric.RefusedNoRoute {
					most = 2
				}
				if v := testutil.ToFloat64(n.metrics.RelayRefused.WithLabelValues(reason)); v > most {
					t.Errorf("%s refused %v frames: %s", name, v, reason)
				}
			}
		}
		if relayed == 0 {
			t.Error("no frame was relayed")
		}
		m.net.HealAll()
		m.within(barHeal, "healed", m.whole)
		// Originator messages come once a second: the one that brings the straight
		// way back may be the second one.
		m.within(2*time.Second, "the direct way again, and the incident over", func() error {
			for _, n := range []*testNode{a, b} {
				if open := n.openIncidents(); len(open) > 0 {
					return errors.New(open[0])
				}
			}
			for _, d := range [][2]*testNode{{a, b}, {b, a}} {
				if next := d[0].next(d[1].name); next != d[1].name {
					return fmt.Errorf("%s to %s through %q", d[0].name, d[1].name, next)
				}
			}
			return nil
		})
		still := arrivals(b, a) + arrivals(a, b)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := arrivals(b, a) + arrivals(a, b); got > still {
			t.Errorf("%v frames by relay although the link is back", got-still)
		}
		if a.session(b.name).ID != before {
			t.Error("the session did not survive the cut")
		}
	})
}

// TestCutLinkWithoutHealing is the control of the test above.
func TestCutLinkWithoutHealing(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, false)
		m.up()
		defer m.down()
		a, b := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
		m.net.Cut(a.addr, b.addr)
		gap := m.silence(a, b, 20*time.Second)
		if gap <= barGap {
			t.Errorf("by relay after %v without healing: the criterion would be empty", gap)
		}
		if gap > 10*time.Second {
			t.Errorf("ageing took %v", gap)
		}
		t.Logf("by relay after %v without healing", gap)
	})
}

// TestLastRelayLost: a relay that is cut off is replaced by another; when none is
// left, everything is as without relays.
func TestLastRelayLost(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.up()
		defer m.down()
		a, b := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
		m.net.Cut(a.addr, b.addr)
		m.within(barGap, "a relay", func() error {
			if !a.byRelay(b.name) {
				return errors.New("none")
			}
			return nil
		})
		time.Sleep(3 * time.Second)
		relay := a.next(b.name)
		m.net.Cut(a.addr, m.nodes[relay].addr)
		m.within(barGap, "another relay", func() error {
			if next := a.next(b.name); next == relay || next == "" || next == b.name {
				return fmt.Errorf("next hop %q", next)
			}
			return nil
		})
		if gap := m.attested(a, b, 5*time.Second); gap > 4*time.Second {
			t.Errorf("%v between two attestations", gap)
		}
		for _, n := range m.nodes {
			m.net.Cut(a.addr, n.addr)
		}
		m.within(7*time.Second, "no way and no session", func() error {
			if v := testutil.ToFloat64(a.metrics.Sessions.WithLabelValues(metric.StateVerified)); v > 0 {
				return fmt.Errorf("%v sessions still verified", v)
			}
			if peers := (mesh{a.Node}).Reachable(); len(peers) > 0 || a.next(b.name) != "" {
				return fmt.Errorf("still counts on %v", peers)
			}
			return nil
		})
		m.net.HealAll()
		m.within(barHeal, "healed", m.whole)
	})
}

// BenchmarkRelayTakeover measures in real time how long nothing arrives after
// the link of two of five nodes was cut.
func BenchmarkRelayTakeover(b *testing.B) {
	m := newTestMesh(b, true)
	m.wait = func() {}
	m.up()
	defer m.down()
	var took []time.Duration
	for b.Loop() {
		for range 5 {
			x, y := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
			m.net.Cut(x.addr, y.addr)
			took = append(took, m.silence(x, y, 20*time.Second))
			m.net.HealAll()
			m.within(20*time.Second, "healed", m.whole)
			m.within(20*time.Second, "the direct way", func() error {
				if next := x.next(y.name); next != y.name || y.next(x.name) != x.name {
					return errors.New(next)
				}
				return nil
			})
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms/takeover")
	b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "ms/worst")
}

// watchedConn calls before ahead of every datagram that is sent.
type watchedConn struct {
	transport.Conn
	before func(datagram []byte)
}

func (c *watchedConn) WriteTo(b []byte, to netip.AddrPort) error {
	c.before(b)
	return c.Conn.WriteTo(b, to)
}

// TestWayIsPublishedBeforeItIsTold: a neighbour that hears of a way may send its
// next frame by it, so what a node announces it has to honour already.
func TestWayIsPublishedBeforeItIsTold(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		var up atomic.Bool
		var told, changed atomic.Int64
		m.configure = func(name string, c *Config) {
			ways := map[string]string{}
			c.Transport = &watchedConn{c.Transport, func(b []byte) {
				if h, _, err := frame.Parse(b); err != nil || h.Type != frame.Routing || !up.Load() {
					return
				}
				told.Add(1)
				// Only the control goroutine, which owns the routes, sends these.
				n := m.nodes[name]
				for _, r := range n.routes.Routes() {
					if next, _ := n.relays.Next(session.Peer(r.Destination)); string(next) != r.NextHop {
						t.Errorf("%s tells of its way to %s through %s while %q is in force", name, r.Destination, r.NextHop, next)
					}
					if ways[r.Destination] != r.NextHop {
						ways[r.Destination] = r.NextHop
						changed.Add(1)
					}
				}
			}}
		}
		m.up()
		defer m.down()
		up.Store(true)
		time.Sleep(5 * time.Second)
		straight := changed.Load()
		a, b := m.nodes[zoneNames[0]], m.nodes[zoneNames[1]]
		m.net.Cut(a.addr, b.addr)
		time.Sleep(5 * time.Second)
		m.net.HealAll()
		m.within(barHeal, "healed", m.whole)
		if told.Load() == 0 || changed.Load() < straight+2 {
			t.Errorf("%d routing messages, %d changes of a way after the cut: nothing was tested", told.Load(), changed.Load()-straight)
		}
	})
}
