package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/trend"
)

func TestArtifactsOf(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "/p/artifacts"},
		{[]string{"-profile", "quick"}, "/p/artifacts"},
		{[]string{"-artifacts", "/tmp/a", "-profile", "quick"}, "/tmp/a"},
		{[]string{"--artifacts=a/b"}, "/p/a/b"},
		{[]string{"-namespace", "artifacts"}, "/p/artifacts"},
	} {
		if got := artifactsOf("/p", c.args); got != c.want {
			t.Errorf("%v: %s, want %s", c.args, got, c.want)
		}
	}
}

// Only a run that has just ended, with the loop on, is one to compare with.
func TestKeepResults(t *testing.T) {
	started := time.Now()
	one := 1.0
	measured := []report.Scenario{{Name: "a", Criteria: []report.Criterion{{ID: "S1.1", Verdict: report.Passed, Measured: &one, Unit: "s"}}}}
	for name, c := range map[string]struct {
		summary *report.Summary
		want    int
	}{
		"a run":             {&report.Summary{Mapek: "on", Started: started.Add(time.Second), Scenarios: measured}, 1},
		"with the loop off": {&report.Summary{Mapek: "off", Started: started.Add(time.Second), Scenarios: measured}, 0},
		"without a fault":   {&report.Summary{Mapek: "on", Control: report.ControlAbsent, Started: started.Add(time.Second), Scenarios: measured}, 0},
		"an earlier run":    {&report.Summary{Mapek: "on", Started: started.Add(-time.Second), Scenarios: measured}, 0},
		"nothing measured":  {&report.Summary{Mapek: "on", Started: started.Add(time.Second)}, 0},
		"no summary":        {nil, 0},
	} {
		project := t.TempDir()
		dir := filepath.Join(project, "artifacts", "r1")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("r1", filepath.Join(project, "artifacts", "latest")); err != nil {
			t.Fatal(err)
		}
		if c.summary != nil {
			b, err := json.Marshal(c.summary)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "summary.json"), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		s := &session{project: project, started: started}
		if err := s.keepResults(filepath.Join(project, "artifacts")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		runs, err := trend.Read(filepath.Join(project, resultsFile))
		if err != nil || len(runs) != c.want {
			t.Errorf("%s: %d runs kept, want %d: %v", name, len(runs), c.want, err)
		}
		if len(runs) == 1 && (runs[0].Run != "r1" || runs[0].Speed <= 0) {
			t.Errorf("%s: %+v", name, runs[0])
		}
	}
	if err := (&session{project: t.TempDir()}).keepResults(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("without artefacts: %v", err)
	}
}
