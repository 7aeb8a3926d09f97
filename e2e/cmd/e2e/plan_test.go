package main

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

func TestWritePlan(t *testing.T) {
	all := []planned{
		{Name: "latency", Takes: 100 * time.Second, Criteria: []string{"S4.1", "F1"}, Selected: 2, Fixtures: []string{"latency.yaml"}},
		{Name: "node-crash", Takes: 40 * time.Second, Criteria: []string{"S3.1", "F1"}, Selected: 1},
		{Name: "rolling-restart", Takes: time.Hour, Criteria: []string{"R1"}},
	}
	alone := slices.Clone(all)
	alone[1].Alone = true
	took := report.Times{SetUp: time.Minute, Scenarios: map[string]time.Duration{"latency": 90 * time.Second, "node-crash": 30 * time.Second}}
	part := report.Times{SetUp: time.Minute, Scenarios: map[string]time.Duration{"node-crash": 30 * time.Second}}
	const setUp, estimated = ", of which 1m0s until the first spec", ", from estimates of the quick profile"
	for name, c := range map[string]struct {
		all   []planned
		lanes int
		took  report.Times
		wants []string
	}{
		"one lane": {all, 1, took, []string{"latency     2 of 2    1m30s", "node-crash  1 of 2    30s",
			"profile full: 2 scenarios, 3 criteria, 1 at a time; about 3m0s" + setUp + "\n"}},
		"two lanes":              {all, 2, took, []string{"3 criteria, 2 at a time; about 2m30s" + setUp + "\n"}},
		"more lanes than needed": {all, 8, took, []string{"3 criteria, 2 at a time; about 2m30s" + setUp + "\n"}},
		"one must be alone":      {alone, 2, took, []string{"3 criteria, 2 at a time; about 3m0s" + setUp + "\n"}},
		"one has never run":      {all, 2, part, []string{"latency     2 of 2    never", "about 2m40s" + setUp + estimated + "\n"}},
		"none has":               {all, 2, report.Times{}, []string{"node-crash  1 of 2    never", "about 1m40s, from the first spec on" + estimated + "\n"}},
	} {
		var b strings.Builder
		if err := writePlan(&b, c.all, "full", c.lanes, c.took); err != nil {
			t.Fatal(err)
		}
		for _, want := range c.wants {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s: %q is not in\n%s", name, want, b.String())
			}
		}
		if strings.Contains(b.String(), "rolling-restart") {
			t.Errorf("%s: what is not selected would run:\n%s", name, b.String())
		}
	}
}

// TestMakespan sees lanes given away as a run does it: who should take longest is first, however long it took.
func TestMakespan(t *testing.T) {
	run := []planned{{Name: "a", Takes: 3}, {Name: "b", Takes: 3}, {Name: "c", Takes: 6}, {Name: "d", Takes: 1, Alone: true}}
	for want, took := range map[time.Duration]map[string]time.Duration{7: nil, 12: {"a": 3, "b": 9, "c": 1, "d": 2}} {
		if got := makespan(run, 2, took); got != want {
			t.Errorf("after %v: %d, not %d", took, got, want)
		}
	}
}

func TestFlagOf(t *testing.T) {
	for want, args := range map[string][]string{
		"quick": {"-keep"}, "full": {"-profile", "full"}, "slow": {"-profile", "full", "--profile=slow"}, "fast": {"-profile=fast", "-namespace", "profile", "-keep"},
	} {
		if got := flagOf(args, "profile", "quick"); got != want {
			t.Errorf("%q: %s, not %s", args, got, want)
		}
	}
	for want, args := range map[int][]string{runtime.NumCPU(): {"-keep"}, 501: {"-lanes", "501"}, 502: {"-lanes=501", "--lanes=502"}} {
		if got := lanesOf(args); got != want {
			t.Errorf("%q: %d lanes, not %d", args, got, want)
		}
	}
}
