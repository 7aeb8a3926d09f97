package mapek

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

func TestPressureIsOfTheShortestResource(t *testing.T) {
	limits := DefaultPolicy().Resources
	for _, c := range []struct {
		load   Load
		over   bool
		reason string
	}{
		{Load{}, false, ""},
		{Load{CPU: 0.89, Memory: 0.5}, false, "CPU: 0.89 of the limit in use"},
		{Load{CPU: 0.9}, true, "CPU: 0.90 of the limit in use"},
		{Load{CPU: 0.95, Throttled: 1}, true, "CPU: throttled in 1.00 of the periods"},
		{Load{Memory: 0.96, CPU: 0.95}, true, "memory: 0.96 of the limit in use"},
		{Load{Queued: 2 * time.Second}, true, "verification: waits for a core for 2s"},
		{Load{Lag: time.Second}, true, "scheduling: late by 1s"},
	} {
		pressure, short := limits.pressure(c.load)
		if (pressure >= 1) != c.over || short.reason != c.reason {
			t.Errorf("%+v: %v, %q", c.load, pressure, short)
		}
	}
}

func TestMonitorTellsWhatIsShort(t *testing.T) {
	p, v := DefaultPolicy(), NewView()
	var got []string
	for ms := 0; ms <= 10000; ms += 500 {
		load := Load{CPU: 0.99}
		if ms > 3500 {
			load = Load{CPU: 0.1}
		}
		for _, s := range Monitor(at(ms), p, v, []Signal{{Kind: Loaded, Peer: "a", Time: at(ms), Load: load}}) {
			got = append(got, s.Kind+" "+s.Peer+" "+s.Time.Sub(t0).String()+" since "+s.Since.Sub(t0).String()+" "+s.Reason)
		}
	}
	want := []string{
		event.ResourcesShort + " a 3s since 0s CPU: 0.99 of the limit in use",
		event.ResourcesNormal + " a 9s since 4s CPU: 0.10 of the limit in use",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	if len(v.Peers) != 0 {
		t.Error("this node is taken for a peer")
	}
}

func TestExhaustionIsShedAndReported(t *testing.T) {
	k, err := LoadKnowledge(nil)
	if err != nil {
		t.Fatal(err)
	}
	cases := NewCases("x")
	findings := cases.strained(t0, Symptom{Peer: "a"})
	plan := Plan(t0, DefaultPolicy(), cases, k, findings, nil, nil)
	if want := []string{metric.RequestScaleUp, metric.ShedLowPriority, metric.YieldSessions}; !slices.Equal(names(plan), want) || plan[0].Peer != "a" {
		t.Errorf("%+v", plan)
	}
	if again := cases.strained(t0, Symptom{Peer: "a"}); again != nil {
		t.Errorf("a second incident of one episode: %+v", again)
	}
}
