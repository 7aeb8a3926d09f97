package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/x0tta6bl4/mesh/meshnode/bubble"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/internal/resource"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// container is the control group of a node, with a limit of one core. While busy
// is true, it is always at that limit.
type container struct {
	start time.Time

	mu    sync.Mutex
	busy  bool
	since time.Time
	used  time.Duration
}

func newContainer() *container { return &container{start: time.Now(), since: time.Now()} }

func (c *container) set(busy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count()
	c.busy = busy
}

func (c *container) count() {
	if c.busy {
		c.used += time.Since(c.since)
	}
	c.since = time.Now()
}

// Open implements fs.FS.
func (c *container) Open(name string) (fs.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count()
	const period = 100 * time.Millisecond
	files := fstest.MapFS{
		"proc/self/cgroup":      {Data: []byte("0::/\n")},
		"sys/fs/cgroup/cpu.max": {Data: []byte("100000 100000\n")},
		"sys/fs/cgroup/cpu.stat": {Data: fmt.Appendf(nil, "usage_usec %d\nnr_periods %d\nnr_throttled %d\n",
			c.used.Microseconds(), time.Since(c.start)/period, c.used/period)},
	}
	return files.Open(name)
}

// loaded is a mesh whose first node has a container, and whose nodes ask each other
// for attestations of low priority.
func loaded(t *testing.T, heal bool) (*testMesh, *container) {
	m, c := newTestMesh(t, heal), newContainer()
	m.configure = func(name string, cfg *Config) {
		cfg.Limits.Reattest = 200 * time.Millisecond
		if name == zoneNames[0] {
			cfg.Group = resource.Open(c)
		}
	}
	return m, c
}

func (n *testNode) healed(action, outcome string) float64 {
	return testutil.ToFloat64(n.metrics.Healing.WithLabelValues(action, outcome))
}

// verifications returns how many good attestations of each priority a node sees in d.
func (n *testNode) verifications(d time.Duration) (critical, low float64) {
	count := func(p string) float64 {
		return testutil.ToFloat64(n.metrics.Verifications.WithLabelValues(metric.ResultSuccess, p))
	}
	c, l := count(metric.PriorityCritical), count(metric.PriorityLow)
	time.Sleep(d)
	synctest.Wait()
	return count(metric.PriorityCritical) - c, count(metric.PriorityLow) - l
}

// criticalLeast are the critical verifications of four peers that ten seconds hold at the
// least: there is one a second and peer, on a grid with a jitter of a quarter, so that
// each window may lose one.
const criticalLeast = 4 * (10 - 1)

// TestExhaustion: a node at its CPU limit sheds what is not critical, lets others be
// home of its clients' sessions and asks for more nodes, until it has rested; the
// others have nothing to do with it.
func TestExhaustion(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, c := loaded(t, true)
		m.up()
		defer m.down()
		busy := m.nodes[zoneNames[0]]
		critical, low := busy.verifications(10 * time.Second)
		if critical < criticalLeast || low < 150 {
			t.Fatalf("at rest %v critical and %v low verifications in 10 s of 4 peers", critical, low)
		}
		sessions := m.createSessions(100)
		if homes(sessions)[zoneNames[0]] == 0 {
			t.Fatalf("no session has its home at %s: %v", zoneNames[0], homes(sessions))
		}
		c.set(true)
		took := m.within(5*time.Second, "shedding", func() error {
			if busy.healed(metric.ShedLowPriority, metric.OutcomeDone) != 1 {
				return fmt.Errorf("not shed; incidents %v", busy.incidents())
			}
			return nil
		})
		t.Logf("sheds %v after the load began", took)
		m.within(2*time.Second, "the sessions' move", func() error {
			if n := busy.clients.Homed(zoneNames[0]); n > 0 || busy.healed(metric.YieldSessions, metric.OutcomeDone) != 1 {
				return fmt.Errorf("%d sessions are still there, yielded %v", n, busy.healed(metric.YieldSessions, metric.OutcomeDone))
			}
			return nil
		})
		if err := m.answering(sessions); err != nil {
			t.Error(err)
		}
		critical, low = busy.verifications(10 * time.Second)
		if critical < criticalLeast || low != 0 {
			t.Errorf("under load %v critical and %v low verifications in 10 s", critical, low)
		}
		if v := testutil.ToFloat64(busy.metrics.Shed.WithLabelValues(metric.PriorityLow)); v < 100 {
			t.Errorf("%v of low priority shed", v)
		}
		if v := testutil.ToFloat64(busy.metrics.ScaleRequests); v != 1 || busy.healed(metric.RequestScaleUp, metric.OutcomeDone) != 0 {
			t.Errorf("%v requests for more nodes", v)
		}
		if got := busy.incidents(); !maps.Equal(got, map[string]float64{metric.ResourceExhaustion: 1}) {
			t.Errorf("incidents %v", got)
		}
		c.set(false)
		m.within(8*time.Second, "the end of it", func() error {
			if busy.sessions.Shedding() || len(busy.openIncidents()) > 0 || busy.healed(metric.RequestScaleUp, metric.OutcomeDone) != 1 {
				return fmt.Errorf("sheds %v, incidents %v", busy.sessions.Shedding(), busy.openIncidents())
			}
			return nil
		})
		if _, low = busy.verifications(10 * time.Second); low < 150 {
			t.Errorf("%v low verifications in 10 s after the load", low)
		}
		if homes(m.createSessions(100))[zoneNames[0]] == 0 {
			t.Errorf("after the load no new session has its home at %s", zoneNames[0])
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if busy.clients.Homed(zoneNames[0]) == 0 {
			t.Errorf("after the load no session stays at %s", zoneNames[0])
		}
		for name, n := range m.nodes {
			if name != zoneNames[0] && len(n.incidents()) > 0 {
				t.Errorf("%s: %v", name, n.incidents())
			}
		}
		busy.phases(t, metric.ResourceExhaustion)
	})
}

// phases checks that one incident of a type runs through all phases in the journal.
func (n *testNode) phases(t *testing.T, typ string) {
	t.Helper()
	opened := n.events(func(e event.Entry) bool { return e.Phase == event.Analyze && e.Kind == typ })
	if len(opened) == 0 {
		t.Fatalf("no %s in the journal", typ)
	}
	var phases []event.Phase
	for _, e := range n.events(func(e event.Entry) bool { return e.Incident == opened[0].Incident }) {
		if !slices.Contains(phases, e.Phase) {
			phases = append(phases, e.Phase)
		}
	}
	if want := []event.Phase{event.Monitor, event.Analyze, event.Plan, event.Execute, event.Knowledge}; !slices.Equal(phases, want) {
		t.Errorf("phases of %s in the journal: %v, want %v", typ, phases, want)
	}
}

// TestExhaustionIsOnlyWatched: without healing the incident is seen and nothing
// is done.
func TestExhaustionIsOnlyWatched(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, c := loaded(t, false)
		m.up()
		defer m.down()
		busy := m.nodes[zoneNames[0]]
		c.set(true)
		m.within(5*time.Second, "the incident", func() error {
			if busy.detected(metric.ResourceExhaustion) != 1 {
				return errors.New("not seen")
			}
			return nil
		})
		if _, low := busy.verifications(10 * time.Second); low < 150 || busy.sessions.Shedding() || busy.sessions.Shed() != 0 || testutil.ToFloat64(busy.metrics.ScaleRequests) != 0 {
			t.Errorf("healing is off, and still: %v low, shed %v", low, busy.sessions.Shed())
		}
	})
}

// TestScaleUpIsDoneWhenANodeJoins: the request's effect is a new peer, while the
// load goes on.
func TestScaleUpIsDoneWhenANodeJoins(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		m, c := loaded(t, true)
		for _, name := range zoneNames[:4] {
			m.start(name)
		}
		defer m.down()
		m.within(5*time.Second, "every pair verified", m.whole)
		busy := m.nodes[zoneNames[0]]
		c.set(true)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if v := testutil.ToFloat64(busy.metrics.ScaleRequests); v != 1 || busy.healed(metric.RequestScaleUp, metric.OutcomeDone) != 0 {
			t.Fatalf("%v requests, %v done before a node came", v, busy.healed(metric.RequestScaleUp, metric.OutcomeDone))
		}
		m.start(zoneNames[4])
		m.within(5*time.Second, "the request is done", func() error {
			if busy.healed(metric.RequestScaleUp, metric.OutcomeDone) != 1 {
				return errors.New("no effect seen")
			}
			return nil
		})
		if open := busy.openIncidents(); !slices.Equal(open, []string{metric.ResourceExhaustion + " of " + zoneNames[0]}) {
			t.Errorf("open incidents %v", open)
		}
	})
}

// TestStalledNodeJudgesNobody: for a while after a late tick, and while one is
// overdue, but not because of a tick in time.
func TestStalledNodeJudgesNobody(t *testing.T) {
	start := time.Unix(1e9, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var o overload
	for _, c := range []struct {
		tick, ask int // ms; no tick if negative
		want      bool
	}{
		{0, 0, false}, {50, 60, false}, {110, 140, false},
		{-1, 220, true},                                            // the next one is overdue,
		{230, 231, true},                                           // and came late
		{280, 1200, true},                                          // the next came in time; no sign since
		{1330, 1400, true},                                         // late again
		{1380, 1390, true},                                         // within a second
		{1430, 1435, true}, {2290, 2295, true}, {2340, 2345, true}, // 2290 was late, too
	} {
		if c.tick >= 0 {
			o.tick(at(c.tick))
		}
		if got := o.stalled(at(c.ask)); got != c.want {
			t.Errorf("at %d ms: stalled %v, want %v", c.ask, got, c.want)
		}
	}
	for ms := 2390; ms <= 3400; ms += 50 {
		o.tick(at(ms))
	}
	if o.stalled(at(3400)) {
		t.Error("a second of ticks in time is not enough")
	}
}
