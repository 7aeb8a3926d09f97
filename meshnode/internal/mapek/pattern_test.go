package mapek

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

func TestUptime(t *testing.T) {
	minutes := func(m float64) time.Time { return t0.Add(time.Duration(m * float64(time.Minute))) }
	for _, c := range []struct {
		name    string
		outages [][2]float64 // minutes; an end of 0 lasts
		at      float64
		want    float64
	}{
		{"just met", nil, 0, 1},
		{"always there", nil, 90, 1},
		{"a quarter", [][2]float64{{10, 15}}, 20, 0.75},
		{"two", [][2]float64{{10, 15}, {16, 17}}, 60, 0.9},
		{"lasting", [][2]float64{{30, 0}}, 40, 0.75},
		{"more than an hour ago", [][2]float64{{10, 15}}, 76, 1},
		{"half of it more than an hour ago", [][2]float64{{10, 16}}, 73, 0.95},
		{"lasting for hours", [][2]float64{{30, 0}}, 300, 0},
		{"unheard since before it was met", [][2]float64{{-5, 10}}, 20, 0.5},
	} {
		var u uptime
		u.begin(t0)
		for _, o := range c.outages {
			u.fell(minutes(o[0]))
			if o[1] != 0 {
				u.rose(minutes(o[1]))
			}
		}
		if got := u.share(minutes(c.at)); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	var u uptime
	u.begin(t0)
	for i := range 3 * maxOutages {
		u.fell(t0.Add(time.Duration(2*i+1) * time.Second))
		u.rose(t0.Add(time.Duration(2*i+2) * time.Second))
	}
	if got := u.share(t0.Add(6 * maxOutages * time.Second)); len(u.outages) > maxOutages || math.Abs(got-0.5) > 0.01 {
		t.Errorf("%d outages kept, share %v", len(u.outages), got)
	}
}

func TestRecommendation(t *testing.T) {
	limits := DefaultPolicy().Resources // rest is below 0.72 of CPU and memory
	const gi = 1 << 30
	for _, c := range []struct {
		name        string
		peaks       []Load
		cpu, memory string
	}{
		{"all CPU", []Load{{CPU: 1, CPULimit: 0.5, MemoryLimit: gi, Memory: 0.1}}, "700m", "1024Mi"},
		{"throttled", []Load{{CPU: 0.8, Throttled: 0.5, CPULimit: 0.5}}, "1150m", ""},
		{"throttled all the time", []Load{{CPU: 1, Throttled: 1, CPULimit: 1}}, "5600m", ""},
		{"memory", []Load{{Memory: 0.95, MemoryLimit: gi, CPULimit: 1}}, "1000m", "1360Mi"},
		{"the largest counts", []Load{{CPU: 1, CPULimit: 0.5}, {CPU: 0.95, CPULimit: 0.5}}, "700m", ""},
		{"never less than the limit", []Load{{Lag: time.Second, CPU: 0.1, CPULimit: 2}}, "2000m", ""},
		{"no limits", []Load{{Lag: time.Second}}, "", ""},
	} {
		k := &Knowledge{}
		for _, p := range c.peaks {
			k.learnExhaustion(t0, Opened, &Incident{Type: metric.ResourceExhaustion, Peak: p, Reason: "x"})
			k.learnExhaustion(t0, Over, &Incident{Type: metric.ResourceExhaustion, Peak: p})
		}
		r := k.Exhaustion.recommend(&limits)
		if r == nil || r.CPU != c.cpu || r.Memory != c.memory || r.Incidents != len(c.peaks) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
	if r := (&Knowledge{}).Exhaustion.recommend(&limits); r != nil {
		t.Errorf("without an episode: %+v", r)
	}
}

// TestLatencyPatternsAreBounded: the link that was well for longest gives way.
func TestLatencyPatternsAreBounded(t *testing.T) {
	k := &Knowledge{}
	for n := range maxLinks + 1 {
		k.learnLatency(at(n), Opened, fmt.Sprint(n), &Subject{Typical: 1, Episode: 2})
	}
	k.learnLatency(at(maxLinks+1), Opened, "1", &Subject{Typical: 3})
	k.learnLatency(at(maxLinks+2), Over, "1", &Subject{Typical: 3, Episode: 4})
	last := k.Latency[len(k.Latency)-1]
	if len(k.Latency) != maxLinks || k.Latency[0].Peer != "2" || last != (Latency{Peer: "1", Typical: 3, Episode: 4, Count: 2, Last: at(maxLinks + 1)}) {
		t.Errorf("%d patterns, from %+v to %+v", len(k.Latency), k.Latency[0], last)
	}
}

// TestKnowledgeSurvives: what is learned is the same after a restart.
func TestKnowledgeSurvives(t *testing.T) {
	k, err := LoadKnowledge(nil)
	if err != nil {
		t.Fatal(err)
	}
	p := DefaultPolicy()
	high := &Incident{ID: "x-1", Type: metric.HighFailureRate, Opened: at(0), Resolved: at(1500), Subjects: map[string]*Subject{"b": {Failures: 5, Session: "s"}}}
	short := &Incident{ID: "x-2", Type: metric.ResourceExhaustion, Resource: "cpu", Peak: Load{CPU: 1, CPULimit: 1}, Subjects: map[string]*Subject{"self": {}}}
	slow := &Incident{ID: "x-3", Type: metric.LatencySLO, Subjects: map[string]*Subject{"c": {Typical: time.Millisecond, Episode: time.Second}}}
	k.Learn(at(0), p, []Finding{{Opened, high, []string{"b"}}, {Opened, short, []string{"self"}}, {Opened, slow, []string{"c"}}}, nil)
	k.count([]Symptom{{Kind: event.SessionFailed, Peer: "b"}, {Kind: event.SessionFailed, Peer: "z"}})
	k.Learn(at(1500), p, []Finding{{Over, high, []string{"b"}}}, []Outcome{{Action: Action{Name: metric.RotateKeys, Peer: "b", Incident: "x-1"}}})
	b, err := k.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadKnowledge(b)
	if err != nil {
		t.Fatal(err)
	}
	l := NewLoop(Config{Policy: p, Knowledge: again, Heal: true})
	got, err := json.Marshal(l.Report(at(2000)))
	if err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(NewLoop(Config{Policy: p, Knowledge: k, Heal: true}).Report(at(2000)))
	if err != nil || string(got) != string(want) {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
	r := l.Report(at(2000))
	if len(r.Events) != 1 || r.Events[0].Seconds != 1.5 || len(r.Events[0].Actions) != 1 || r.Events[0].Actions[0].Outcome != metric.OutcomeDone {
		t.Errorf("events %+v", r.Events)
	}
	if len(r.Threats) != 1 || r.Threats[0].Peer != "b" || r.Threats[0].Count != 6 || r.Threats[0].Type != metric.HighFailureRate || r.Threats[0].Strikes != 0 {
		t.Errorf("threats %+v", r.Threats)
	}
	if len(r.Latency) != 1 || r.Recommendation == nil || r.Outcomes[metric.RotateKeys].Done != 1 {
		t.Errorf("%+v", r)
	}
}

// TestAnInvalidationNamesItsSession: what is planned is about the session that failed.
func TestAnInvalidationNamesItsSession(t *testing.T) {
	v, cases, p := NewView(), NewCases("x"), DefaultPolicy()
	k, err := LoadKnowledge(nil)
	if err != nil {
		t.Fatal(err)
	}
	signals := met("b")
	for i := range 5 {
		signals = append(signals, Signal{Kind: VerificationFailed, Peer: "b", Time: t0, Session: fmt.Sprint("s", i/3)})
	}
	plan := Plan(t0, p, cases, k, Analyze(t0, p, v, cases, Monitor(t0, p, v, signals)), nil, nil)
	high := cases.find(metric.HighFailureRate, "b")
	if high == nil || len(plan) != 1 || plan[0].Name != metric.InvalidateSession || plan[0].Incident != high.ID || plan[0].Session != "s1" {
		t.Errorf("%+v", plan)
	}
}

func TestTrust(t *testing.T) {
	l := NewLoop(Config{Policy: DefaultPolicy(), Heal: true})
	run := func(ms int, s ...Signal) {
		for i := range s {
			s[i].Time = at(ms)
			s[i].Since = at(ms)
		}
		Monitor(at(ms), l.cfg.Policy, l.view, s)
	}
	check := func(ms int, want float64) {
		t.Helper()
		if got := l.Trust(at(ms), "b"); math.Abs(got-want) > 1e-9 {
			t.Errorf("at %d ms: %v, want %v", ms, got, want)
		}
	}
	check(0, 1)
	run(0, met("b")...)
	check(0, 1)
	run(1000, lost("", "b")...)
	check(1000, 0)
	run(2000, back("b")...)
	check(2000, TrustBack)
	check(7000, (1+TrustBack)/2)
	check(12000, 1)
	check(99000, 1)
	run(100000, Signal{Kind: Restarted, Peer: "b"})
	check(100000, TrustBack)
	l.cfg.Heal = false
	check(100000, 1)
}
