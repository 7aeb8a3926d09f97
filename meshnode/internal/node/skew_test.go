package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/mapek"
	"github.com/x0tta6bl4/mesh/meshnode/internal/transport"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// barSkew is how long after a clock was set the incident may take.
const barSkew = 5 * time.Second

// setClocks gives nodes clocks that can be set: what a step says is added to the time.
func setClocks(m *testMesh, names ...string) *atomic.Int64 {
	var step atomic.Int64
	m.configure = func(name string, c *Config) {
		if slices.Contains(names, name) {
			c.Clock = func() time.Time { return time.Now().Add(time.Duration(step.Load())) }
		}
	}
	return &step
}

// TestAWrongClockIsNamed: when clocks of a minority are set, every node names them, and no other, in time; who is wrong knows it and
// stamps its journal with the others' time; nobody is lost, nothing is accepted alone; and nothing lingers when they are set back.
func TestAWrongClockIsNamed(t *testing.T) {
	for what, c := range map[string]struct {
		step  time.Duration
		wrong []string
	}{
		"50 min back": {-50 * time.Minute, zoneNames[2:3]}, "10 s back": {-10 * time.Second, zoneNames[4:]},
		"a zone 50 min ahead": {50 * time.Minute, zoneNames[3:]},
	} {
		t.Run(what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				m := newTestMesh(t, true)
				step := setClocks(m, c.wrong...)
				m.up()
				defer m.down()
				step.Store(int64(c.step))
				took := m.within(barSkew, "every wrong clock is named", func() error { return m.skewed(c.wrong) })
				t.Logf("named %v after it was set", took)
				time.Sleep(10 * time.Second)
				if err := m.skewed(c.wrong); err != nil {
					t.Error(err)
				}
				if err := m.whole(); err != nil {
					t.Error(err)
				}
				for name, n := range m.nodes {
					wrong := slices.Contains(c.wrong, name)
					if done := n.healed(metric.CorrectClock, metric.OutcomeDone); (done == 1) != wrong {
						t.Errorf("%s corrected its clock %v times", name, done)
					}
					if _, holders, err := n.Accept(t.Context(), name, []byte("x"), 0); err != nil || len(holders) < 2 {
						t.Errorf("%s: accepted by %v: %v", name, holders, err)
					}
					if off := time.Until(n.Status().Time); off.Abs() > time.Second {
						t.Errorf("%s stamps with %v too much", name, off)
					}
					for _, k := range n.Knowledge().Events {
						kind, way := metric.ClockPeer, "ahead of"
						if k.Peers[0] == name {
							kind = metric.ClockOwn
						}
						if c.step < 0 {
							way = "behind"
						}
						if k.Kind != kind || !strings.Contains(k.Reason, way) {
							t.Errorf("%s knows %+v", name, k)
						}
					}
				}
				step.Store(0)
				m.within(barSkew, "nobody is wrong any more", func() error { return m.skewed(nil) })
				time.Sleep(10 * time.Second)
				for name, n := range m.nodes {
					if got := n.incidents(); len(got) > 0 {
						t.Errorf("%s: %v", name, got)
					}
					if got := n.detected(metric.ClockSkew); got != float64(len(c.wrong)) {
						t.Errorf("%s: %v incidents of a clock", name, got)
					}
					if n.anchor.Load() != nil || time.Until(n.Status().Time).Abs() > time.Second {
						t.Errorf("%s still corrects its clock", name)
					}
					last := time.Time{}
					for _, e := range n.events(func(e event.Entry) bool { return e.Phase == event.Knowledge }) {
						if e.Time.Before(last) {
							t.Errorf("%s: %s at %v, after %v", name, e.Kind, e.Time, last)
						}
						last = e.Time
					}
				}
			})
		})
	}
}

// skewed reports whether exactly these nodes' clocks are open incidents, on every node.
func (m *testMesh) skewed(wrong []string) error {
	var want []string
	for _, w := range wrong {
		want = append(want, metric.ClockSkew+" of "+w)
	}
	for name, n := range m.nodes {
		open := n.openIncidents()
		slices.Sort(open)
		if !slices.Equal(open, want) {
			return fmt.Errorf("%s: open are %v", name, open)
		}
	}
	return nil
}

// TestASlowPathIsNoWrongClock: round trips of any length say nothing against a clock, also if they are slow in one
// direction only, so that half of one is not how long an echo was under way.
func TestASlowPathIsNoWrongClock(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		m.configure = func(_ string, c *Config) { c.Policy.Clock.Skew = mapek.Duration(200 * time.Millisecond) }
		m.up()
		defer m.down()
		for _, way := range []struct{ out, back time.Duration }{{300, 300}, {500, 0}, {0, 500}} {
			slow := m.nodes[zoneNames[1]]
			for _, o := range m.nodes {
				m.net.SetLink(slow.addr, o.addr, transport.Conditions{Latency: way.out * time.Millisecond})
				m.net.SetLink(o.addr, slow.addr, transport.Conditions{Latency: way.back * time.Millisecond})
			}
			time.Sleep(15 * time.Second)
			for name, n := range m.nodes {
				if got := n.detected(metric.ClockSkew); got != 0 {
					t.Errorf("%s: %v clocks are wrong at %v", name, got, way)
				}
			}
		}
	})
}

// TestMajority: more than half of all members' clocks have to agree, and then they are right.
func TestMajority(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		offsets []time.Duration
		members int
		mesh    time.Duration
		agreed  bool
	}{
		{[]time.Duration{0}, 1, 0, true},
		{[]time.Duration{0}, 2, 0, false},
		{[]time.Duration{0, 9 * s}, 2, 0, false},
		{[]time.Duration{0, 0, 9 * s}, 3, 0, true},
		{[]time.Duration{0, 9 * s, 9 * s}, 3, 9 * s, true},
		{[]time.Duration{0, 9 * s, 9 * s}, 5, 0, false}, // two of five
		{[]time.Duration{0, 9 * s, 9 * s, 9 * s}, 5, 9 * s, true},
		{[]time.Duration{0, -9 * s, 9 * s}, 3, 0, false},
		{[]time.Duration{0, 0, 9 * s, 9 * s}, 4, 0, false},
		{[]time.Duration{0, -s, 9 * s, s, -9 * s}, 5, 0, true},
		{[]time.Duration{1 << 62, -1 << 63, 0, 0, 0}, 5, 0, true},
	} {
		if mesh, agreed := majority(slices.Clone(c.offsets), c.members, 2*s); mesh != c.mesh || agreed != c.agreed {
			t.Errorf("%v of %d: %v, %v", c.offsets, c.members, mesh, agreed)
		}
	}
}

// TestWhoCannotTellKeepsWhatWasKnown: when so many are out of sight that no majority is left, a
// clock that was wrong stays so, its node goes on to correct it, and nobody else is named.
func TestWhoCannotTellKeepsWhatWasKnown(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMesh(t, true)
		wrong := zoneNames[2]
		step := setClocks(m, wrong)
		m.up()
		defer m.down()
		step.Store(int64(-50 * time.Minute))
		m.within(barSkew, "the wrong clock is named", func() error { return m.skewed([]string{wrong}) })
		a, b := m.nodes[wrong], m.nodes[zoneNames[0]]
		m.within(barSkew, "it is corrected", func() error {
			if a.anchor.Load() == nil {
				return errors.New("not yet")
			}
			return nil
		})
		for _, other := range zoneNames {
			if o := m.nodes[other]; o != a && o != b {
				m.net.Cut(a.addr, o.addr)
				m.net.Cut(b.addr, o.addr)
			}
		}
		for range 40 {
			time.Sleep(500 * time.Millisecond)
			for _, n := range []*testNode{a, b} {
				clocks := slices.DeleteFunc(n.openIncidents(), func(i string) bool { return !strings.HasPrefix(i, metric.ClockSkew) })
				if !slices.Equal(clocks, []string{metric.ClockSkew + " of " + wrong}) {
					t.Fatalf("%s: %v", n.name, clocks)
				}
			}
			if off := time.Until(a.Status().Time); off.Abs() > time.Second {
				t.Fatalf("%s stamps with %v too much", wrong, off)
			}
		}
	})
}

// TestAClockThatIsWrongNowAndThen: a clock that is right for a moment is wrong still.
func TestAClockThatIsWrongNowAndThen(t *testing.T) {
	limits := &mapek.ClockLimits{Skew: mapek.Duration(2 * time.Second), For: mapek.Duration(time.Second), Rest: mapek.Duration(3 * time.Second)}
	s, now, changes := &suspicion{}, time.Unix(1e9, 0), 0
	run := func(wrong bool, d time.Duration) {
		for end := now.Add(d); now.Before(end); now = now.Add(measure) {
			if s.sample(now, wrong, limits) {
				changes++
			}
		}
	}
	for range 20 {
		run(true, 1200*time.Millisecond)
		run(false, 2*time.Second)
	}
	if changes != 1 || !s.on {
		t.Errorf("%d changes, on %t", changes, s.on)
	}
	run(false, 4*time.Second)
	if changes != 2 || s.on {
		t.Errorf("at rest: %d changes, on %t", changes, s.on)
	}
}

// TestAloneNoClockIsWrong: a node whose clock is wrong has nobody to go by when all others have
// left, and its incident does not stay open for good. A goodbye that is lost takes as long as it
// takes to forget a member.
func TestAloneNoClockIsWrong(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m := newTestMeshOf(t, true, zoneNames[:3])
		m.discover = &present{all: m.all, gone: map[string]bool{}}
		wrong := zoneNames[0]
		step := setClocks(m, wrong)
		m.up()
		defer m.down()
		step.Store(int64(-50 * time.Minute))
		m.within(barSkew, "the wrong clock is named", func() error { return m.skewed([]string{wrong}) })
		for _, name := range zoneNames[1:3] {
			m.leave(name)
		}
		n := m.nodes[wrong]
		m.within(forgetAfter+2*barSkew, "its end", func() error {
			open := n.openIncidents()
			if slices.Contains(open, metric.ClockSkew+" of "+wrong) || n.anchor.Load() != nil {
				return fmt.Errorf("open are %v", open)
			}
			return nil
		})
	})
}
