package e2e

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/control"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/meshnode/api"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// saved are the scenarios of the runs that are kept.
var saved = []string{"latency", "network-partition", "node-crash", "node-crash-held", "pqc-corrupt", "pqc-inject", "resource-stress"}

// leastAgain is how many criteria of the saved runs are judged again: fewer would mean that
// some fell out unseen.
const leastAgain = 35

// savedRuns judges the runs that are kept as test data: each verdict is the one that it was.
// They are of a real cluster; only what is judged again was kept of them, and what their
// faults were was gathered from their reports.
func savedRuns(t *testing.T) {
	paths, err := filepath.Glob("testdata/runs/*.zip")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, path := range paths {
		was, z, err := savedRun(path)
		if err != nil {
			t.Fatal(err)
		}
		all, err := judgeAgain(t.Context(), was, z)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, j := range all {
			count++
			if !j.same() {
				t.Errorf("%s %s was %s, and is %s now: %s", j.scenario, j.was.ID, valued(j.was), valued(j.again), j.again.Detail)
			}
		}
		if err := z.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(paths) != len(saved) || count < leastAgain {
		t.Errorf("%d criteria of %d runs were judged again", count, len(paths))
	}
}

// edit changes a copy of a saved run.
type edit func(t *testing.T, files fstest.MapFS)

// entries edits every entry of every journal; one for which it returns false is dropped.
func entries(change func(e *event.Entry) bool) edit {
	return func(t *testing.T, files fstest.MapFS) {
		for name, f := range files {
			if !strings.HasPrefix(name, "journal/") {
				continue
			}
			log, err := event.Read(bytes.NewReader(f.Data))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			for _, e := range log {
				if change(&e) {
					encode(t, &out, e)
				}
			}
			files[name] = &fstest.MapFile{Data: out.Bytes()}
		}
	}
}

// late dates entries of a kind later; so are all that follow, for a journal is in order.
func late(by time.Duration, kind string, done bool) edit {
	return entries(func(e *event.Entry) bool {
		if e.Kind == kind && (!done || e.Detail[event.DetailOutcome] == metric.OutcomeDone) {
			e.Time = e.Time.Add(by)
		}
		return true
	})
}

func without(kind string, phase event.Phase) edit {
	return entries(func(e *event.Entry) bool { return e.Kind != kind || e.Phase != phase })
}

// text replaces text in one file.
func text(name, old, replacement string) edit {
	return func(t *testing.T, files fstest.MapFS) {
		b := files[name].Data
		if !bytes.Contains(b, []byte(old)) {
			t.Fatalf("%s holds no %q", name, old)
		}
		files[name] = &fstest.MapFile{Data: bytes.ReplaceAll(b, []byte(old), []byte(replacement))}
	}
}

// operations edits every operation of the clients' history that went through the Service, given
// how far into the history it is, 0 to 1.
func operations(change func(i int, into float64, o *api.Operation) bool) edit {
	return func(t *testing.T, files fstest.MapFS) {
		ops, err := api.ReadHistory(bytes.NewReader(files["history.jsonl"].Data))
		if err != nil {
			t.Fatal(err)
		}
		first, last := ops[0].Invoked, ops[len(ops)-1].Invoked
		var out bytes.Buffer
		for i, o := range ops {
			into := float64(o.Invoked.Sub(first)) / float64(last.Sub(first))
			if o.Service == "" || change(i, into, &o) {
				encode(t, &out, o)
			}
		}
		files["history.jsonl"] = &fstest.MapFile{Data: out.Bytes()}
	}
}

// failing fails one operation of fifty, unserved leaves out all of a third of the time.
var (
	failing = operations(func(i int, _ float64, o *api.Operation) bool {
		if i%50 == 0 {
			o.Result = api.Failed
		}
		return true
	})
	unserved = operations(func(_ int, into float64, _ *api.Operation) bool { return into < 1./3 || into > 2./3 })
)

func encode(t *testing.T, out *bytes.Buffer, v any) {
	t.Helper()
	if err := json.NewEncoder(out).Encode(v); err != nil {
		t.Fatal(err)
	}
}

// otherwise calls crashes failed links.
var otherwise = entries(func(e *event.Entry) bool {
	if e.Phase == event.Analyze && e.Kind == metric.NodeCrash {
		e.Kind = metric.LinkFailure
	}
	return true
})

// episodes edits what a run kept of its faults.
func episodes(change func(t *testing.T, saved map[string]any)) edit {
	return func(t *testing.T, files fstest.MapFS) {
		var saved map[string]any
		if err := json.Unmarshal(files["episodes.json"].Data, &saved); err != nil {
			t.Fatal(err)
		}
		change(t, saved)
		var out bytes.Buffer
		encode(t, &out, saved)
		files["episodes.json"] = &fstest.MapFile{Data: out.Bytes()}
	}
}

// visited adds a node that joined and left, and counted an incident.
func visited(incident string) edit {
	return episodes(func(_ *testing.T, saved map[string]any) {
		saved["Guests"] = []any{map[string]any{"Name": "mesh-node-a-3", "Opened": map[string]float64{incident: 1}}}
	})
}

// clocksOff says how far clocks may have been off.
func clocksOff(by time.Duration, clocks ...string) edit {
	return episodes(func(_ *testing.T, saved map[string]any) {
		off := map[string]time.Duration{}
		for _, c := range clocks {
			off[c] = by
		}
		saved["Clocks"] = off
	})
}

// cutLater dates the first partition's cuts later.
func cutLater(by time.Duration) edit {
	return episodes(func(t *testing.T, saved map[string]any) {
		cut := saved["Episodes"].([]any)[0].(map[string]any)["Fault"].(map[string]any)["CutAt"].(map[string]any)
		for node, at := range cut {
			was, err := time.Parse(time.RFC3339Nano, at.(string))
			if err != nil {
				t.Fatal(err)
			}
			cut[node] = was.Add(by)
		}
	})
}

// healsLater dates what the probers in some pods told of a heal later.
func healsLater(by time.Duration, pods ...string) edit {
	return func(t *testing.T, files fstest.MapFS) {
		for _, pod := range pods {
			name := "pods/" + pod + ".outside-probe.log"
			var begun time.Time
			var out bytes.Buffer
			for line := range bytes.Lines(files[name].Data) {
				var told map[string]any
				if err := json.Unmarshal(line, &told); err != nil {
					t.Fatal(err)
				}
				if at, ok := told["at"].(string); ok {
					when, err := time.Parse(time.RFC3339Nano, at)
					if err != nil {
						t.Fatal(err)
					}
					if begun.IsZero() {
						begun = when
					}
					if told["up"] == true && when.Sub(begun) > 10*time.Second { // after the cut, not when they began
						told["at"] = when.Add(by)
					}
				}
				encode(t, &out, told)
			}
			files[name] = &fstest.MapFile{Data: out.Bytes()}
		}
	}
}

// everyNode are the nodes of every mesh.
var everyNode = []string{"mesh-node-a-0", "mesh-node-a-1", "mesh-node-a-2", "mesh-node-b-0", "mesh-node-b-1"}

func missing(name string) edit {
	return func(_ *testing.T, files fstest.MapFS) { delete(files, name) }
}

// savedControls takes out of the journals of saved runs what came of the fault, or of planning and
// executing, as if there had been neither: whatever claims a reaction, or that something was
// healed, must fail. What clients saw stands in their history, which stays as it was.
func savedControls(t *testing.T) {
	for _, c := range []struct {
		cell control.Cell
		edit edit
		seen []string // by what the edit leaves
	}{
		{control.NoFault, entries(func(e *event.Entry) bool { return e.Incident == "" }), []string{"S3.2", "S5.3"}},
		// That sessions are verified again stands in entries of Monitor.
		{control.LoopOff, entries(func(e *event.Entry) bool { return e.Phase != event.Plan && e.Phase != event.Execute }), []string{"S3.2", "S3.3", "S1.4"}},
	} {
		for _, name := range saved {
			was, files := opened(t, name)
			c.edit(t, files)
			all, err := judgeAgain(t.Context(), was, files)
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range all {
				if rowOf(t, name, j.was.ID).In(c.cell).Must == control.Fail && !slices.Contains(c.seen, j.was.ID) && j.again.Verdict != report.Failed {
					t.Errorf("cell %s: %s of %s is %s: %s", c.cell, j.was.ID, name, valued(j.again), j.again.Detail)
				}
			}
		}
	}
}

// opened is a saved run whose files can be changed.
func opened(t *testing.T, name string) (report.Scenario, fstest.MapFS) {
	t.Helper()
	was, z, err := savedRun("testdata/runs/" + name + ".zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := fstest.MapFS{}
	for _, f := range z.File {
		b, err := fs.ReadFile(z, f.Name)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = &fstest.MapFile{Data: b}
	}
	return was, files
}

// nearMisses judges saved runs that were edited so that one thing is not as it was: the
// criterion that is about it says so.
func nearMisses(t *testing.T) {
	const bar = 3100 * time.Millisecond // more than any of those bars, from anywhere within it
	for name, c := range map[string]struct {
		run, criterion string
		edit           edit
		want           report.Verdict
	}{
		"routes too late":                                   {"network-partition", "S1.2", late(bar, metric.ActivateBackupRoutes, true), report.Failed},
		"routes never":                                      {"network-partition", "S1.2", without(metric.ActivateBackupRoutes, event.Execute), report.Failed},
		"recognised too late":                               {"network-partition", "S1.1", late(bar, metric.NetworkPartition, false), report.Failed},
		"recognised before the cut":                         {"network-partition", "S1.1", cutLater(2 * time.Second), report.Invalid},
		"a pair cut before its node's others":               {"network-partition", "S1.2", cutLater(2 * time.Second), report.Passed}, // which was invalid
		"verified again too late":                           {"network-partition", "S1.4", late(bar, event.SessionVerified, false), report.Failed},
		"one prober that was kept from running at the heal": {"network-partition", "S1.4", healsLater(2*time.Second, "mesh-node-b-1"), report.Passed}, // which was failed
		"verified before the heal":                          {"network-partition", "S1.4", healsLater(2*time.Second, everyNode...), report.Invalid},
		"no plan":                                           {"network-partition", "S1.P", without(metric.ReverifySessions, event.Plan), report.Failed},
		"planned and not done":                              {"network-partition", "S1.E", without(metric.ReverifySessions, event.Execute), report.Failed},
		"no incident":                                       {"network-partition", "S1.A", without(metric.NetworkPartition, event.Analyze), report.Failed},
		"another incident":                                  {"node-crash-held", "S3.X", otherwise, report.Failed},
		"invalidated too late":                              {"pqc-corrupt", "S2.3", late(bar, metric.InvalidateSession, true), report.Failed},
		"an innocent loses a session":                       {"pqc-corrupt", "S2.5", text("journal/mesh-node-b-0.jsonl", `"kind":"invalidate_session","subject":"mesh-node-a-0"`, `"kind":"invalidate_session","subject":"mesh-node-a-1"`), report.Failed},
		"no keys after the last cause":                      {"pqc-corrupt", "S2.4", without(metric.RotateKeys, event.Execute), report.Failed},
		"a failed operation":                                {"node-crash-held", "S3.3", failing, report.Failed},
		"a client that is not served":                       {"resource-stress", "S5.3", unserved, report.Failed},
		"verified again by a clock 40 ms off":               {"network-partition", "S1.4", clocksOff(40*time.Millisecond, "mesh-node-b-1"), report.Passed},
		"verified again by a clock 60 ms off":               {"network-partition", "S1.4", clocksOff(60*time.Millisecond, "mesh-node-b-1"), report.Invalid},
		"verified again by clocks 60 ms apart":              {"network-partition", "S1.4", clocksOff(30*time.Millisecond, "mesh-node-a-0", "mesh-node-b-1"), report.Invalid},
		"recognised by a clock 60 ms off, as the cut is":    {"network-partition", "S1.1", clocksOff(60*time.Millisecond, everyNode...), report.Passed},
		"recognised by a clock that is off a window":        {"network-partition", "S1.1", clocksOff(time.Second, "mesh-node-b-1"), report.Invalid},
		"routes by Prometheus' clock 60 ms off":             {"network-partition", "S1.2", clocksOff(60*time.Millisecond, scenario.ClockOfPrometheus), report.Invalid},
		"keys by a clock 60 ms off":                         {"pqc-corrupt", "S2.4", clocksOff(60*time.Millisecond, "mesh-node-b-0"), report.Invalid},
		"clients' sessions by their clock 60 ms off":        {"node-crash-held", "S3.2", clocksOff(60*time.Millisecond, scenario.ClockOfClients), report.Invalid},
		"operations by the clients' clock 60 ms off":        {"node-crash-held", "S3.3", clocksOff(60*time.Millisecond, scenario.ClockOfClients), report.Invalid},
		"a node that joined finds a link failed":            {"resource-stress", "S5.X", visited(metric.LinkFailure), report.Failed},
		"a node that joined finds itself exhausted":         {"resource-stress", "S5.X", visited(metric.ResourceExhaustion), report.Failed},
		"a node that joined finds the victim slow":          {"resource-stress", "S5.X", visited(metric.LatencySLO), report.Passed},
		"a journal is missing":                              {"latency", "S4.A", missing("journal/mesh-node-a-0.jsonl"), report.Invalid},
		"the history is missing":                            {"node-crash", "S3.3", missing("history.jsonl"), report.Invalid},
		"the attacker's log is gone":                        {"pqc-corrupt", "S2.4", missing("pods/mesh-node-a-0.pqc-corrupt.log"), report.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			was, files := opened(t, c.run)
			c.edit(t, files)
			all, err := judgeAgain(t.Context(), was, files)
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range all {
				if j.was.ID == c.criterion {
					if j.again.Verdict != c.want || j.was.Verdict == c.want && c.want != report.Passed {
						t.Errorf("%s was %s and is %s: %s", c.criterion, valued(j.was), valued(j.again), j.again.Detail)
					}
					return
				}
			}
			t.Errorf("%s is not judged again", c.criterion)
		})
	}
}
