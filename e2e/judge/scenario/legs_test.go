package scenario

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"testing"
	"testing/fstest"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/journal"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// kept is a run whose nodes have these journals.
func kept(t *testing.T, journals map[string][]event.Entry) *Run {
	t.Helper()
	files, r := fstest.MapFS{}, &Run{}
	for n, entries := range journals {
		var b bytes.Buffer
		for i, e := range entries {
			e.Seq, e.Node = uint64(i+1), n
			if err := json.NewEncoder(&b).Encode(e); err != nil {
				t.Fatal(err)
			}
		}
		files["journal/"+n+".jsonl"] = &fstest.MapFile{Data: b.Bytes()}
		r.Nodes = append(r.Nodes, n)
	}
	r.artefacts = &artefacts{files}
	return r
}

// What the last scrape has seen cannot be said to have gone, and what was never seen had gone at once.
func TestWhatIsLeft(t *testing.T) {
	for name, c := range map[string]struct {
		last, scraped int // ms; 0: never
		want          time.Duration
		gone          bool
	}{
		"never seen":               {0, 9000, 0, true},
		"seen for three seconds":   {4100, 5100, 3100 * time.Millisecond, true},
		"seen by the last scrape":  {4100, 4100, 3100 * time.Millisecond, false},
		"nobody has scraped since": {2100, 2100, 1100 * time.Millisecond, false},
	} {
		var last time.Time
		if c.last > 0 {
			last = at(c.last)
		}
		if got, gone := left(last, at(c.scraped), at(1000)); got != c.want || gone != c.gone {
			t.Errorf("%s: %v, gone %t", name, got, gone)
		}
	}
}

// A session that is lost is not made up for by one with a node that joined, nor by others that verify more.
func TestUpheld(t *testing.T) {
	before := map[string]float64{"a→b": 1, "a→c": 1, "a→d": 1, "a→e": 1}
	for name, c := range map[string]struct {
		after map[string]float64
		want  float64
	}{
		"all":                       {before, 1},
		"one is lost":               {map[string]float64{"a→b": 1, "a→c": 1, "a→d": 1}, 0.75},
		"one is lost, another came": {map[string]float64{"a→b": 1, "a→c": 1, "a→d": 1, "a→new": 1}, 0.75},
		"one is lost, others more":  {map[string]float64{"a→b": 2, "a→c": 2, "a→d": 1}, 0.75},
		"half of each":              {map[string]float64{"a→b": .5, "a→c": .5, "a→d": .5, "a→e": .5}, 0.5},
	} {
		if got := Upheld(before, c.after); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if got := Upheld(map[string]float64{"a→b": 0}, before); !math.IsNaN(got) {
		t.Errorf("of nothing: %v", got)
	}
}

func TestExhausted(t *testing.T) {
	o := &v1alpha1.StressChaos{}
	if got := exhausted(o); len(got) != 0 {
		t.Errorf("of no stressor: %q", got)
	}
	o.Spec.Stressors = &v1alpha1.Stressors{MemoryStressor: &v1alpha1.MemoryStressor{}}
	if got := exhausted(o); len(got) != 1 || got[0] != event.ResourceMemory {
		t.Errorf("of memory: %q", got)
	}
}

// An incident that names a session must name one that failed, of the suspect, before it was found.
func TestNamesTheSession(t *testing.T) {
	opened := analyzed("1", metric.HighFailureRate, 300, "s")
	opened.Detail[event.DetailSession] = "abc"
	i := journal.Incident{ID: "1", Opened: opened.Time, Entries: []event.Entry{opened}}
	fails := func(ms int, peer, session string) event.Entry {
		return event.Entry{Phase: event.Monitor, Kind: event.SessionFailed, Subject: peer, Time: at(ms), Detail: map[string]string{event.DetailSession: session}}
	}
	for name, c := range map[string]struct {
		entry event.Entry
		want  report.Verdict
	}{
		"a session that failed":         {fails(200, "s", "abc"), report.Passed},
		"another session":               {fails(200, "s", "abd"), report.Failed},
		"one of somebody else":          {fails(200, "t", "abc"), report.Failed},
		"one that failed only later on": {fails(301, "s", "abc"), report.Failed},
	} {
		if err := names("n", i, "s", []event.Entry{c.entry}); verdict.Of(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	i.Entries = []event.Entry{analyzed("1", metric.HighFailureRate, 300, "s")}
	if err := names("n", i, "s", []event.Entry{fails(200, "s", "")}); verdict.Of(err) != report.Failed {
		t.Errorf("an incident without a session: %v", err)
	}
}

// Sessions of the suspect may be replaced, and no others.
func TestTheInnocentKeepTheirSessions(t *testing.T) {
	a := &Attack{Suspect: "s"}
	before := map[string]string{"a→b": "1", "b→a": "1", "a→s": "2", "s→a": "2"}
	after := maps.Clone(before)
	after["a→s"], after["s→a"] = "3", "3"
	if err := Kept(a.innocent(before), a.innocent(after)); err != nil {
		t.Errorf("the suspect's alone: %v", err)
	}
	after["b→a"] = "4"
	if err := Kept(a.innocent(before), a.innocent(after)); verdict.Of(err) != report.Failed {
		t.Errorf("one of the innocent: %v", err)
	}
}

// The death of a node and the loss of its session are one incident.
func TestTheLossIsUnderTheVictimsIncident(t *testing.T) {
	lost := func(peer string) event.Entry {
		return event.Entry{Phase: event.Monitor, Kind: event.SessionLost, Subject: peer, Time: at(200)}
	}
	for name, c := range map[string]struct {
		entries []event.Entry
		want    report.Verdict
	}{
		"of the victim": {[]event.Entry{lost("v")}, report.Passed},
		"of another":    {[]event.Entry{lost("w")}, report.Failed},
		"none":          {nil, report.Failed},
	} {
		if err := whole("n", "v", journal.Incident{Entries: c.entries}); verdict.Of(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An alert about healing is the fault's own if it is of an action that a node did under the fault's incident.
func TestAlertedOfTheIncident(t *testing.T) {
	done := event.Entry{
		Incident: "1", Phase: event.Execute, Kind: metric.MigrateSessions, Time: at(400), Detail: map[string]string{event.DetailOutcome: metric.OutcomeDone},
	}
	r := kept(t, map[string][]event.Entry{"a": {analyzed("1", metric.NodeCrash, 200, "v"), done}})
	l := &Loop{Incident: metric.NodeCrash, About: map[string][]string{"a": {"v"}}, Actions: []string{metric.MigrateSessions}, From: at(100), To: at(1000), run: r}
	fired := func(ms int, pod, action, outcome string) alert.Fired {
		return alert.Fired{At: at(ms), Labels: map[string]string{prom.LabelPod: pod, metric.LabelAction: action, metric.LabelOutcome: outcome}}
	}
	earlier := fired(300, "a", metric.MigrateSessions, metric.OutcomeDone)
	earlier.Before = true
	for name, c := range map[string]struct {
		fired []alert.Fired
		want  report.Verdict
	}{
		"active before the fault":  {[]alert.Fired{earlier}, report.Invalid},
		"of the action":            {[]alert.Fired{fired(500, "a", metric.MigrateSessions, metric.OutcomeDone)}, report.Passed},
		"none":                     {nil, report.Failed},
		"before it was done":       {[]alert.Fired{fired(399, "a", metric.MigrateSessions, metric.OutcomeDone)}, report.Failed},
		"of another node":          {[]alert.Fired{fired(500, "b", metric.MigrateSessions, metric.OutcomeDone)}, report.Failed},
		"of another action":        {[]alert.Fired{fired(500, "a", metric.RotateKeys, metric.OutcomeDone)}, report.Failed},
		"of one that was not done": {[]alert.Fired{fired(500, "a", metric.MigrateSessions, "failed")}, report.Failed},
	} {
		if err := l.Alerted(t.Context(), c.fired); verdict.Of(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What two clocks say may be 40 ms apart.
	r.clocks.off = map[string]time.Duration{"a": 30 * time.Millisecond, ClockOfPrometheus: 10 * time.Millisecond}
	for ms, want := range map[int]report.Verdict{360: report.Passed, 359: report.Failed} {
		if err := l.Alerted(t.Context(), []alert.Fired{fired(ms, "a", metric.MigrateSessions, metric.OutcomeDone)}); verdict.Of(err) != want {
			t.Errorf("at %d ms: %v, want %s", ms, err, want)
		}
	}
	r.clocks.off[ClockOfPrometheus] = 30 * time.Millisecond
	if err := l.Alerted(t.Context(), nil); verdict.Of(err) != report.Invalid {
		t.Errorf("by clocks that are too far apart: %v", err)
	}
}
