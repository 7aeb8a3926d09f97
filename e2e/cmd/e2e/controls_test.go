package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/control"
)

// A run tells the last score, of which commit it is, and if there is none.
func TestLastScore(t *testing.T) {
	s := &session{project: t.TempDir()}
	if got := s.lastScore(); !strings.Contains(got, "not run here yet") {
		t.Errorf("without a score: %s", got)
	}
	if err := (control.Score{Commit: "abc", Whole: true, Results: []control.Result{{Unsound: "passed"}, {}}}).Keep(s.project); err != nil {
		t.Fatal(err)
	}
	// The directory is no repository.
	if got, want := s.lastScore(), "controls: 1 of 2 criteria and cells are as they must be, at commit abc; this is unknown"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := (control.Score{Commit: "unknown", Whole: true}).Keep(s.project); err != nil {
		t.Fatal(err)
	}
	if got := s.lastScore(); strings.Contains(got, "this is") {
		t.Errorf("of the same commit: %s", got)
	}
	if err := os.WriteFile(filepath.Join(s.project, control.File), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.lastScore(); !strings.Contains(got, "cannot be read") {
		t.Errorf("half a score: %s", got)
	}
}

func TestFilter(t *testing.T) {
	all := []planned{{Name: "node-crash", Filter: "node-crash && !node-crash-held"}, {Name: "latency", Filter: "latency"}}
	if got, err := filter(all, "node-crash"); err != nil || got != all[0].Filter {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := filter(all, "none"); err == nil {
		t.Errorf("a filter of no scenario: %q", got)
	}
}

// A cell is judged by what the scenarios that ran in it claim, and by no others.
func TestRowsOf(t *testing.T) {
	all := []planned{
		{Name: "latency", Controls: []control.Row{{Scenario: "latency", Criterion: "S4.1"}, {Scenario: "latency", Criterion: "F1"}}},
		{Name: "node-crash", Controls: []control.Row{{Scenario: "node-crash", Criterion: "S3.1"}}},
	}
	for want, names := range map[int][]string{3: nil, 2: {"latency"}, 1: {"node-crash", "none"}} {
		if got := rowsOf(all, names...); len(got) != want {
			t.Errorf("of %v: %v", names, got)
		}
	}
}
