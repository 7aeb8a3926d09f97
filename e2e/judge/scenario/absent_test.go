package scenario

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/probe"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/fixtures"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// faultlessRun is a run without a cluster in which every fault is absent: who asks the
// cluster panics.
func faultlessRun() *Run {
	const namespace = "scenario-1"
	r := &Run{Scenario: &Scenario{Name: "x"}, Mesh: mesh.New(nil, nil, nil, namespace)}
	r.env = Env{Fixtures: fixtures.FS, Profile: Profile{Name: "quick", Fault: 20 * time.Second}, Absent: true}
	for _, n := range []string{"mesh-node-a-0", "mesh-node-a-1", "mesh-node-a-2", "mesh-node-b-0", "mesh-node-b-1"} {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: n, Labels: map[string]string{
			"app": "mesh-node", "component": "pqc-verifier", "statefulset.kubernetes.io/pod-name": n, "zone": "zone-" + n[10:11],
		}}}
		r.pods, r.Nodes = append(r.pods, p), append(r.Nodes, n)
	}
	return r
}

// A fault that is absent is told of as if it had bitten at once: when, where, and whom.
func TestAbsentFaults(t *testing.T) {
	victim, others := "mesh-node-a-0", []string{"mesh-node-a-1", "mesh-node-a-2", "mesh-node-b-0", "mesh-node-b-1"}
	for fixture, inject := range map[string]func(t *testing.T, r *Run, fixture string) (*Episode, error){
		"network-partition.yaml": func(t *testing.T, r *Run, fixture string) (*Episode, error) {
			p, err := r.Partition(t.Context(), fixture)
			if !slices.Equal(p.Ends(), r.Nodes) || len(p.Cut) != 7 {
				t.Errorf("cut at %v: %v", p.Ends(), p.Cut)
			}
			for n, at := range p.CutAt {
				if at.IsZero() || !at.Equal(*p.Times.Injected) {
					t.Errorf("%s is cut at %v", n, at)
				}
			}
			if _, err := p.healedAt(victim, others[2]); err == nil {
				t.Error("it is healed before it is over")
			}
			p.Times.Recovered = now()
			if at, err := p.healedAt(victim, others[2]); err != nil || !at.Equal(*p.Times.Recovered) {
				t.Errorf("healed at %v: %v", at, err)
			}
			return p.Episode, err
		},
		"node-crash.yaml": func(t *testing.T, r *Run, fixture string) (*Episode, error) {
			c, err := r.Crash(t.Context(), fixture)
			if c.Victim != victim || !slices.Equal(c.Survivors, others) || c.killed.Name != victim || !c.DiedAt.Equal(c.Window.Start) || c.KilledAt.IsZero() {
				t.Errorf("%+v", c)
			}
			return c.Episode, err
		},
		"pqc-verification-failure.yaml": func(t *testing.T, r *Run, fixture string) (*Episode, error) {
			f, err := r.Fail(t.Context(), fixture)
			if f.Victim != victim {
				t.Errorf("%s fails", f.Victim)
			}
			return f.Episode, err
		},
		"pqc-corrupt.yaml": func(t *testing.T, r *Run, fixture string) (*Episode, error) {
			a, err := r.Corrupt(t.Context(), fixture)
			if a.Suspect != victim || !slices.Equal(a.Seers, others) {
				t.Errorf("%s attacks %v", a.Suspect, a.Seers)
			}
			a.Window.End = at(7)
			if end, err := a.End(t.Context()); err != nil || !end.Equal(at(7)) {
				t.Errorf("ended at %v: %v", end, err)
			}
			a.Window.End = time.Time{}
			return a.Episode, err
		},
		"pqc-inject.yaml": func(t *testing.T, r *Run, fixture string) (*Episode, error) {
			a, err := r.Inject(t.Context(), fixture)
			if a.Suspect != "pqc-inject" || !slices.Equal(a.Seers, r.Nodes) {
				t.Errorf("%s attacks %v", a.Suspect, a.Seers)
			}
			return a.Episode, err
		},
		"pqc-forge.yaml": func(t *testing.T, r *Run, fixture string) (*Episode, error) {
			a, err := r.Forge(t.Context(), fixture)
			if a.Suspect != "" {
				t.Errorf("%s is suspected of what nobody of the mesh does", a.Suspect)
			}
			return a.Episode, err
		},
		"resource-stress.yaml": func(t *testing.T, r *Run, fixture string) (*Episode, error) {
			o, err := r.loadFor(fixture, BarScaledUp)
			if err != nil {
				return nil, err
			}
			s := &Stress{}
			s.Episode, err = r.inject(t.Context(), o, func(e *Episode) proof {
				return proof{presume: func() (err error) { s.Victim, err = e.victim(); return err }}
			})
			if s.Victim != victim {
				t.Errorf("%s is under stress", s.Victim)
			}
			return s.Episode, err
		},
	} {
		t.Run(fixture, func(t *testing.T) {
			r := faultlessRun()
			e, err := inject(t, r, fixture)
			if err != nil {
				t.Fatal(err)
			}
			if !e.Absent || e.Times.Injected == nil || e.Times.Proven == nil || e.Window.Start.IsZero() || r.Baseline.End.IsZero() || len(r.episodes) != 1 {
				t.Errorf("%+v", e)
			}
			if e.lasts > r.env.Profile.Fault {
				t.Errorf("it lasts %v, longer than anybody waits for", e.lasts)
			}
			if err := e.stands(t.Context()); err != nil {
				t.Errorf("who asks whether it is there is told: %v", err)
			}
			if err := e.End(t.Context()); err != nil || !e.Healed() || e.Times.Recovered == nil || e.Window.End.IsZero() {
				t.Errorf("%v: %+v", err, e)
			}
			if left, err := r.withdraw(t.Context()); len(left) > 0 || err != nil {
				t.Errorf("left %v: %v", left, err)
			}
		})
	}
}

// What the faults of a run call for depends on what they are, and each must have been there.
func TestDiagnosesOfFaults(t *testing.T) {
	over := func(from, to int) *Episode {
		return &Episode{run: &Run{}, Window: prom.Window{Start: at(from), End: at(to)}}
	}
	link := &Partition{Episode: over(100, 900), Cut: make([]probe.Pair, 1)}
	slowLink := &Partition{Episode: over(100, 900), Cut: make([]probe.Pair, 1)}
	slowLink.run = &Run{faults: []disturbed{&Delay{Episode: over(0, 50)}, &Delay{Episode: over(200, 300)}}}
	notSlow := &Partition{Episode: over(100, 900), Cut: make([]probe.Pair, 1)}
	notSlow.run = &Run{faults: []disturbed{&Delay{Episode: over(0, 50)}}}
	for name, c := range map[string]struct {
		fault     diagnosed
		incidents []string
		about     string
	}{
		"a partition":            {&Partition{Episode: over(0, 1), Cut: make([]probe.Pair, 7)}, []string{metric.NetworkPartition}, ""},
		"a link":                 {link, []string{metric.LinkFailure}, ""},
		"a link under a delay":   {slowLink, []string{metric.LinkFailure, metric.LatencySLO}, ""},
		"a link after a delay":   {notSlow, []string{metric.LinkFailure}, ""},
		"an attack":              {&Attack{Episode: over(0, 1), Suspect: "b"}, []string{metric.VerificationFailed, metric.HighFailureRate}, "b"},
		"an attack off the path": {&Attack{Episode: over(0, 1)}, nil, ""},
		"a crash":                {&Crash{Episode: over(0, 1), Victim: "b"}, []string{metric.NodeCrash}, "b"},
		"a failure":              {&Failure{Episode: over(0, 1), Victim: "b"}, []string{metric.NodeCrash}, "b"},
		"a delay":                {&Delay{Episode: over(0, 1)}, []string{metric.LatencySLO}, ""},
		"stress":                 {&Stress{Episode: over(0, 1), Victim: "b"}, []string{metric.ResourceExhaustion, metric.LatencySLO}, "b"},
	} {
		d := c.fault.diagnosis()
		if !slices.Equal(d.Incidents, c.incidents) || strings.Join(d.About, ",") != c.about {
			t.Errorf("%s: %+v", name, d)
		}
	}
	long := &Episode{run: &Run{}, Window: prom.Window{Start: time.Now().Add(-time.Hour), End: time.Now().Add(-time.Minute)}}
	r := &Run{Scenario: &Scenario{Fixtures: []string{"a.yaml"}}, faults: []disturbed{&Crash{Episode: long}}, roster: newRoster(nil)}
	if wrong, err := r.Misdiagnoses(t.Context()); len(wrong) > 0 || err != nil {
		t.Errorf("all faults were there, and nothing was found: %v, %v", wrong, err)
	}
	r.Fixtures = append(r.Fixtures, "b.yaml")
	if wrong, err := r.Misdiagnoses(t.Context()); verdict.Of(err) != report.Invalid {
		t.Errorf("one of two faults was there: %v, %v", wrong, err)
	}
	r.unsupported = true
	if wrong, err := r.Misdiagnoses(t.Context()); len(wrong) > 0 || err != nil {
		t.Errorf("one of two faults was there, and the other cannot be: %v, %v", wrong, err)
	}
}

// A fault that only is a part of how another one is judged is not waited for.
func TestAwaitTails(t *testing.T) {
	ended := &Episode{healed: true, Times: report.Fault{Injected: now()}, Window: prom.Window{End: time.Now().Add(-time.Hour)}}
	r := &Run{faults: []disturbed{&Replay{Episode: &Episode{aside: true}}, &Crash{Episode: ended}}}
	if err := r.AwaitTails(t.Context()); err != nil {
		t.Error(err)
	}
	never := &Run{faults: []disturbed{&Crash{Episode: &Episode{}}}}
	if err := never.AwaitTails(t.Context()); verdict.Of(err) != report.Invalid {
		t.Errorf("a fault that never was: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended.Window.End = time.Now()
	if err := r.AwaitTails(ctx); err == nil {
		t.Error("a tail that goes on is over")
	}
}

// Who asks late asks for a short time, but for longer than a bar of seconds.
func TestLeft(t *testing.T) {
	for name, c := range map[string]struct {
		start, end  time.Duration // ago; 0: not over
		least, most time.Duration
	}{
		"right after the fault": {0, 0, 39 * time.Second, 40 * time.Second},
		"in the middle":         {30 * time.Second, 0, 9 * time.Second, 10 * time.Second},
		"long after":            {time.Hour, 0, leastLeft, leastLeft},
		"right after its end":   {time.Hour, time.Nanosecond, 39 * time.Second, 40 * time.Second},
		"long after its end":    {time.Hour, time.Minute, leastLeft, leastLeft},
	} {
		e := &Episode{Window: prom.Window{Start: time.Now().Add(-c.start)}}
		if c.end > 0 {
			e.Window.End = time.Now().Add(-c.end)
		}
		if left := e.Left(WaitSettle); left > c.most || c.least == leastLeft && left != leastLeft {
			t.Errorf("%s: %v", name, left)
		}
	}
	for _, bar := range []time.Duration{BarRecognised, BarRerouted, BarSessionsBack, BarGap, BarInvalidated, BarRotated, BarMigrated} {
		if bar >= leastLeft {
			t.Errorf("a bar of %v is longer than is waited for at least: what never came would be invalid", bar)
		}
	}
	for wait, bar := range map[time.Duration]time.Duration{WaitRestart: BarRestarted, WaitAvoided: BarPreferred, WaitScaleUp: BarScaledUp, WaitScraped: BarRerouted} {
		if wait <= bar {
			t.Errorf("%v are waited for a bar of %v", wait, bar)
		}
	}
}

// An alert that was not active in the fault and its tail is not going to be the fault's; any other may come.
func TestCame(t *testing.T) {
	long := time.Now().Add(-time.Hour)
	over, under := &Episode{Window: prom.Window{Start: long, End: long.Add(time.Minute)}}, &Episode{Window: prom.Window{Start: long}}
	active := alert.Life{Pending: long}
	for name, c := range map[string]struct {
		e    *Episode
		life alert.Life
		last bool
	}{
		"inactive, and it is over": {over, alert.Life{}, true},
		"inactive under the fault": {under, alert.Life{}, false},
		"pending, and it is over":  {over, active, false},
	} {
		err := c.e.Came("A", c.life, alert.Firing)
		if last := verdict.IsFinal(err); verdict.Of(err) != report.Failed || last != c.last {
			t.Errorf("%s: %v, the last answer: %t", name, err, last)
		}
	}
	if err := over.Came("A", active, alert.Pending); err != nil {
		t.Error(err)
	}
}
