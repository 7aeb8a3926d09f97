package main

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/ground/mesh"
	"github.com/x0tta6bl4/mesh/e2e/judge/guard"
	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/fixtures"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// TestAborted: a run that was to be aborted is good only if its fault was there, and was taken back at once.
func TestAborted(t *testing.T) {
	began := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	second := func(s float64) *time.Time {
		at := began.Add(time.Duration(s * float64(time.Second)))
		return &at
	}
	// whole is a run that is as it must be.
	whole := func() *report.Summary {
		return &report.Summary{Scenarios: []report.Scenario{{
			Name:    abortScenario,
			Fault:   report.Fault{Injected: second(0), Proven: second(2), Recovered: second(18)},
			Aborted: &report.Abort{Expression: abortOn, Value: "1", At: *second(14)},
			Criteria: []report.Criterion{
				{ID: "S1.2", Verdict: report.Passed}, {ID: "S1.1", Verdict: report.Aborted}, {ID: "F1", Verdict: report.Aborted},
			},
		}}}
	}
	if a := asAborted(whole(), report.ExitAborted); len(a.Wrong) > 0 || a.After != 14 || a.TakenBack != 4 {
		t.Errorf("as it must be: %+v", a)
	}
	for name, of := range map[string]struct {
		spoil func(s *report.Summary, sc *report.Scenario)
		want  string
	}{
		"not aborted":               {func(_ *report.Summary, sc *report.Scenario) { sc.Aborted = nil }, "was to be aborted"},
		"another scenario":          {func(_ *report.Summary, sc *report.Scenario) { sc.Name = "latency" }, "was to be aborted"},
		"two scenarios":             {func(s *report.Summary, sc *report.Scenario) { s.Scenarios = append(s.Scenarios, *sc) }, "and it alone"},
		"no scenario":               {func(s *report.Summary, _ *report.Scenario) { s.Scenarios = nil }, "was to be aborted"},
		"a failed criterion":        {func(_ *report.Summary, sc *report.Scenario) { sc.Criteria[0].Verdict = report.Failed }, "2 criteria are aborted, of 3"},
		"an invalid criterion":      {func(_ *report.Summary, sc *report.Scenario) { sc.Criteria[2].Verdict = report.Invalid }, "1 criteria are aborted, of 2"},
		"all were judged":           {func(_ *report.Summary, sc *report.Scenario) { sc.Criteria = sc.Criteria[:1] }, "0 criteria are aborted, of 0"},
		"no fault":                  {func(_ *report.Summary, sc *report.Scenario) { sc.Fault = report.Fault{} }, "before its fault was proven"},
		"no proof":                  {func(_ *report.Summary, sc *report.Scenario) { sc.Fault.Proven = nil }, "before its fault was proven"},
		"before the proof":          {func(_ *report.Summary, sc *report.Scenario) { sc.Aborted.At = *second(1.9) }, "before its fault was proven"},
		"the fault stays":           {func(_ *report.Summary, sc *report.Scenario) { sc.Fault.Recovered = nil }, "never taken back"},
		"the fault was over before": {func(_ *report.Summary, sc *report.Scenario) { sc.Fault.Recovered = second(13.9) }, "-100ms after the abort"},
		"taken back late":           {func(_ *report.Summary, sc *report.Scenario) { sc.Fault.Recovered = second(34.1) }, "20.1s after the abort"},
		"it was over by itself": {func(_ *report.Summary, sc *report.Scenario) {
			sc.Aborted.At, sc.Fault.Recovered = *second(45), second(60)
		}, "over by itself"},
		"something was left":          {func(s *report.Summary, _ *report.Scenario) { s.Cleanup = []string{"namespace x stays"} }, "namespace x stays"},
		"the last moment that counts": {func(_ *report.Summary, sc *report.Scenario) { sc.Fault.Recovered = second(34) }, ""},
	} {
		s := whole()
		of.spoil(s, &s.Scenarios[0])
		a := asAborted(s, report.ExitAborted)
		if got := strings.Join(a.Wrong, "; "); (of.want == "") != (len(a.Wrong) == 0) || !strings.Contains(got, of.want) {
			t.Errorf("%s: %q, want %q", name, got, of.want)
		}
	}
	for _, code := range []int{report.ExitPassed, report.ExitFailed, report.ExitInvalid, report.ExitControl} {
		if a := asAborted(whole(), code); len(a.Wrong) != 1 || a.Wrong[0] != fmt.Sprintf("the exit code is %d, not %d", code, report.ExitAborted) {
			t.Errorf("exit code %d: %q", code, a.Wrong)
		}
	}
}

// What make e2e-abort takes for granted of the suite is so.
func TestAbortedByWhat(t *testing.T) {
	found := prom.Selector(metric.AnomaliesDetected, guard.Namespace, prom.Labels{metric.LabelType: metric.NetworkPartition})
	if want := "max(" + found + " offset 10s) > 0"; abortOn != want {
		t.Errorf("it is aborted on %s, not %s", abortOn, want)
	}
	if want := mesh.OwnerLabel + "," + mesh.OwnerLabel + "!=" + mesh.Documented; !strings.Contains(whatIsLeft, want) {
		t.Errorf("%s does not look for %s", whatIsLeft, want)
	}
	b, err := fs.ReadFile(fixtures.FS, abortScenario+".yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("duration: \"%gs\"\n", abortFault.Seconds()); !strings.Contains(string(b), want) {
		t.Errorf("the fault does not last %v", abortFault)
	}
}
