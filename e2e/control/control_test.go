package control

import (
	"bytes"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

func value(v float64) *float64 { return &v }

// judged is a run in which every criterion of the table came to the same verdict, but for
// one.
func judged(all report.Criterion, row Row, one report.Criterion) *report.Summary {
	s := &report.Summary{}
	for _, name := range Scenarios() {
		sc := report.Scenario{Name: name}
		for _, r := range Rows {
			if r.Scenario != name {
				continue
			}
			c := all
			if r == row {
				c = one
			}
			c.ID = r.Criterion
			sc.Criteria = append(sc.Criteria, c)
		}
		s.Scenarios = append(s.Scenarios, sc)
	}
	return s
}

// A criterion that must fail does so on its own bar, or it is vacuous.
func TestFail(t *testing.T) {
	time := Row{Scenario: "network-partition", Criterion: "S1.4", Reacts: true, Heals: true}
	holds := Row{Scenario: "network-partition", Criterion: "S1.P", Reacts: true, Heals: true, Holds: true}
	for name, c := range map[string]struct {
		row     Row
		c       report.Criterion
		vacuous string
	}{
		"over its bar":                {time, report.Criterion{Verdict: report.Failed, Expected: "≤ 3", Measured: value(14.3)}, ""},
		"passed":                      {time, report.Criterion{Verdict: report.Passed, Expected: "≤ 3", Measured: value(0.2)}, "passed"},
		"failed before its bar":       {time, report.Criterion{Verdict: report.Failed, Detail: "a counter stayed 0"}, "without a value: a counter stayed 0"},
		"failed within its bar":       {time, report.Criterion{Verdict: report.Failed, Expected: "≤ 3", Measured: value(1)}, "as wanted"},
		"invalid":                     {time, report.Criterion{Verdict: report.Invalid, Detail: "late"}, "is invalid: late"},
		"not supported":               {time, report.Criterion{Verdict: report.NotSupported}, "is not supported"},
		"a bar that nobody can read":  {time, report.Criterion{Verdict: report.Failed, Expected: "fast", Measured: value(1)}, "no bar"},
		"yes or no, failed":           {holds, report.Criterion{Verdict: report.Failed, Detail: "planned nothing"}, ""},
		"yes or no, failed, measured": {holds, report.Criterion{Verdict: report.Failed, Expected: "yes", Measured: value(0)}, ""},
		"yes or no, passed":           {holds, report.Criterion{Verdict: report.Passed, Expected: "yes", Measured: value(1)}, "passed"},
	} {
		for _, r := range Judge(LoopOff, "", judged(report.Criterion{Verdict: report.Failed, Expected: "≤ 0", Measured: value(1)}, c.row, c.c), "network-partition") {
			if r.Criterion != c.row.Criterion {
				if r.Vacuous != "" {
					t.Errorf("%s: %s, which failed on its bar, %s", name, r.Criterion, r.Vacuous)
				}
			} else if (r.Vacuous == "") != (c.vacuous == "") || !strings.Contains(r.Vacuous, c.vacuous) {
				t.Errorf("%s: vacuous %q, want %q", name, r.Vacuous, c.vacuous)
			}
		}
	}
}

// Where nothing can be concluded, only that may be said, and why.
func TestInvalidate(t *testing.T) {
	row := Row{Scenario: "latency", Criterion: "S4.2", Heals: true}
	cause := report.Criterion{Verdict: report.Invalid, Detail: "the fault does not bite"}
	for name, c := range map[string]struct {
		c     report.Criterion
		sound bool
	}{
		"with the cause":    {cause, true},
		"without the cause": {report.Criterion{Verdict: report.Invalid}, false},
		"failed":            {report.Criterion{Verdict: report.Failed, Expected: "≤ 0", Measured: value(1)}, false},
		"passed":            {report.Criterion{Verdict: report.Passed}, false},
	} {
		for _, cell := range []Cell{Empty, Harness} {
			results := Judge(cell, "", judged(cause, row, c.c), "latency")
			score := Score{Results: results}
			want := len(results)
			if !c.sound && !(cell == Harness && c.c.Verdict == report.Passed) { // it may not need what is broken
				want--
			}
			if len(results) == 0 || score.Sound() != want {
				t.Errorf("%s, %s: %d of %d sound", name, cell, score.Sound(), len(results))
			}
		}
	}
}

// A harness that is broken and not missed was not broken.
func TestABrokenHarnessIsMissed(t *testing.T) {
	all := judged(report.Criterion{Verdict: report.Passed}, Row{}, report.Criterion{})
	if s := (Score{Results: Judge(Harness, "x", all, "latency")}); s.Sound() != 0 || len(s.Results) == 0 {
		t.Errorf("%d of %d sound", s.Sound(), len(s.Results))
	}
}

// What was not judged at all proves nothing, and what is not asked for is not scored.
func TestJudgeAsksForEveryRow(t *testing.T) {
	results := Judge(NoFault, "", &report.Summary{}, "network-partition")
	if len(results) < 8 {
		t.Errorf("%d results", len(results))
	}
	for _, r := range results {
		if r.Vacuous == "" || r.Scenario != "network-partition" || r.Criterion == "S1.3" || r.Criterion == "F1" {
			t.Errorf("%+v", r)
		}
	}
	if r := Judge(Empty, "", &report.Summary{}); len(r) != 0 {
		t.Errorf("of no scenario: %v", r)
	}
}

func TestMisses(t *testing.T) {
	for bar, values := range map[string][2]float64{"≤ 2": {2, 2.1}, "≥ 0.95": {0.95, 0.94}, "= 1": {1, 2}, "> 5": {6, 5}, "yes": {1, 0}} {
		if missed, err := Misses(bar, values[0]); err != nil || missed {
			t.Errorf("%g misses %s: %v, %v", values[0], bar, missed, err)
		}
		if missed, err := Misses(bar, values[1]); err != nil || !missed {
			t.Errorf("%g misses %s: %v, %v", values[1], bar, missed, err)
		}
	}
	for _, bar := range []string{"", "2", "≤", "≤ two", "< 2"} {
		if _, err := Misses(bar, 1); err == nil {
			t.Errorf("%q is a bar", bar)
		}
	}
}

func TestTable(t *testing.T) {
	s := Score{Commit: "abc", Results: Judge(LoopOff, "", judged(report.Criterion{Verdict: report.Passed}, Row{}, report.Criterion{}), Scenarios()...)}
	var out bytes.Buffer
	if err := s.Table(&out); err != nil || !strings.Contains(out.String(), "controls: 0 of ") || strings.Count(out.String(), "\n") != len(s.Results)+2 {
		t.Errorf("%v\n%s", err, out.String())
	}
}
