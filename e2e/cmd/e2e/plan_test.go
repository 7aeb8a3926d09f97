package main

import (
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

func TestWritePlan(t *testing.T) {
	all := []planned{
		{Name: "latency", Criteria: []string{"S4.1", "F1"}, Selected: 2, Fixtures: []string{"latency.yaml"}},
		{Name: "node-crash", Criteria: []string{"S3.1", "F1"}, Selected: 1},
		{Name: "rolling-restart", Criteria: []string{"R1"}},
	}
	took := report.Times{SetUp: time.Minute, Scenarios: map[string]time.Duration{"latency": 90 * time.Second, "node-crash": 30 * time.Second}}
	for name, c := range map[string]struct {
		took  report.Times
		wants []string
	}{
		"all has run": {took, []string{"latency     2 of 2    1m30s", "node-crash  1 of 2    30s", "profile full: 2 scenarios, 3 criteria; about 3m0s, of which 1m0s until the first spec"}},
		"none has":    {report.Times{}, []string{"latency     2 of 2    never", "how long is not known"}},
	} {
		var b strings.Builder
		if err := writePlan(&b, all, "full", c.took); err != nil {
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

func TestProfileOf(t *testing.T) {
	for want, args := range map[string][]string{"quick": {"-keep"}, "full": {"-profile", "full"}, "slow": {"-profile", "full", "--profile=slow"}} {
		if got := profileOf(args); got != want {
			t.Errorf("%q: %s, not %s", args, got, want)
		}
	}
}
