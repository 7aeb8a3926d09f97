package control

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

func value(v float64) *float64 { return &v }

// table are rows of every sort, as specs declare them.
var table = slices.Concat(
	rows("network-partition", true, Row{Criterion: "S1.2", Reacts: true, Heals: true}, Row{Criterion: "S1.1", Reacts: true},
		Row{Criterion: "S1.4", Reacts: true, Heals: true}, Row{Criterion: "S1.3"}, Row{Criterion: "S1.X"}),
	rows("pqc-inject", false, Row{Criterion: "S2.1", Reacts: true}, Row{Criterion: "S2.3", Reacts: true, Heals: true}),
	rows("node-crash", true, Row{Criterion: "S3.1", Reacts: true}, Row{Criterion: "S3.2", Reacts: true, Heals: true}, Row{Criterion: "S3.3"}, Row{Criterion: "S3.X"}),
	rows("node-crash-held", true, Row{Criterion: "S3.5", Reacts: true, Note: "it is the proof"}, Row{Criterion: "S3.2", Reacts: true, Heals: true},
		Row{Criterion: "S3.3", Heals: true}),
	rows("latency", true, Row{Criterion: "S4.1", Reacts: true}, Row{Criterion: "S4.2", Heals: true, Note: "only the loop gives more time"}),
	rows(faultFree, false, Row{Criterion: "A0"}),
)

// rows are those of a scenario, and that of what is left behind.
func rows(scenario string, emptied bool, all ...Row) []Row {
	all = append(all, Row{Criterion: leftBehind})
	for i := range all {
		all[i].Scenario, all[i].Emptied = scenario, emptied
	}
	return all
}

// of are the rows of some scenarios.
func of(scenarios ...string) []Row {
	return slices.DeleteFunc(slices.Clone(table), func(r Row) bool { return !slices.Contains(scenarios, r.Scenario) })
}

// in is a run in a cell in which every criterion of the table came to the same verdict, but
// for one.
func in(c Cell, all report.Criterion, row Row, one report.Criterion) *report.Summary {
	s := &report.Summary{Mapek: "on"}
	switch c {
	case NoFault:
		s.Control = report.ControlAbsent
	case LoopOff:
		s.Mapek = "off"
	}
	for _, r := range table {
		i := slices.IndexFunc(s.Scenarios, func(sc report.Scenario) bool { return sc.Name == r.Scenario })
		if i < 0 {
			i, s.Scenarios = len(s.Scenarios), append(s.Scenarios, report.Scenario{Name: r.Scenario})
		}
		judged := all
		if r == row {
			judged = one
		}
		judged.ID = r.Criterion
		s.Scenarios[i].Criteria = append(s.Scenarios[i].Criteria, judged)
	}
	return s
}

func row(t *testing.T, scenario, criterion string) Row {
	t.Helper()
	i := slices.IndexFunc(table, func(r Row) bool { return r.Scenario == scenario && r.Criterion == criterion })
	if i < 0 {
		t.Fatalf("no row of %s of %s", criterion, scenario)
	}
	return table[i]
}

// A criterion that must fail does so on its own bar, or its red means nothing.
func TestFail(t *testing.T) {
	late := report.Criterion{Verdict: report.Failed, Expected: "≤ 0", Measured: value(1)}
	for name, c := range map[string]struct {
		c       report.Criterion
		unsound string // empty: it failed as it must
	}{
		"over its bar":                {report.Criterion{Verdict: report.Failed, Expected: "≤ 3", Measured: value(14.3)}, ""},
		"never":                       {report.Criterion{Verdict: report.Failed, Expected: "≤ 3", Measured: value(40), Unit: "s", Never: true}, ""},
		"never, of a count":           {report.Criterion{Verdict: report.Failed, Expected: "≥ 50", Measured: value(40), Never: true}, "no bar that what never comes misses"},
		"never, within the bar":       {report.Criterion{Verdict: report.Failed, Expected: "≤ 60", Measured: value(40), Unit: "s", Never: true}, "as wanted"},
		"passed":                      {report.Criterion{Verdict: report.Passed, Expected: "≤ 3", Measured: value(0.2)}, "passed"},
		"failed before its bar":       {report.Criterion{Verdict: report.Failed, Detail: "a counter stayed 0"}, "without a value: a counter stayed 0"},
		"failed within its bar":       {report.Criterion{Verdict: report.Failed, Expected: "≤ 3", Measured: value(1)}, "as wanted"},
		"invalid":                     {report.Criterion{Verdict: report.Invalid, Detail: "late"}, "is invalid: late"},
		"invalid, over its bar":       {report.Criterion{Verdict: report.Invalid, Expected: "≤ 3", Measured: value(14.3), Detail: "busy"}, "is invalid: busy"},
		"not supported":               {report.Criterion{Verdict: report.NotSupported}, "is not supported"},
		"a bar that nobody can read":  {report.Criterion{Verdict: report.Failed, Expected: "fast", Measured: value(1)}, "no bar"},
		"yes or no, no":               {report.Criterion{Verdict: report.Failed, Expected: "yes", Measured: value(0)}, ""},
		"yes or no, without a value":  {report.Criterion{Verdict: report.Failed, Detail: "a panic"}, "without a value"},
		"yes or no, failed after yes": {report.Criterion{Verdict: report.Failed, Expected: "yes", Measured: value(1)}, "as wanted"},
	} {
		for _, cell := range []Cell{NoFault, LoopOff} {
			own := row(t, "network-partition", "S1.4")
			for _, r := range Judge(cell, "", in(cell, late, own, c.c), of("network-partition")) {
				switch {
				case r.Criterion == own.Criterion && ((r.Unsound == "") != (c.unsound == "") || !strings.Contains(r.Unsound, c.unsound)):
					t.Errorf("%s in cell %s: unsound %q, want %q", name, cell, r.Unsound, c.unsound)
				case r.Criterion != own.Criterion && r.Must == Fail && r.Unsound != "":
					t.Errorf("%s in cell %s: %s, which failed on its bar, %s", name, cell, r.Criterion, r.Unsound)
				}
			}
		}
	}
}

// Without a fault, what claims an absence has to hold.
func TestPass(t *testing.T) {
	for name, c := range map[string]struct {
		c     report.Criterion
		sound bool
	}{
		"passed":        {report.Criterion{Verdict: report.Passed, Expected: "≤ 0", Measured: value(0)}, true},
		"failed":        {report.Criterion{Verdict: report.Failed, Expected: "≤ 0", Measured: value(1), Detail: "a false alarm"}, false},
		"invalid":       {report.Criterion{Verdict: report.Invalid, Detail: "late"}, false},
		"not supported": {report.Criterion{Verdict: report.NotSupported}, false},
	} {
		results := Judge(NoFault, "", in(NoFault, report.Criterion{Verdict: report.Passed}, row(t, "node-crash", "S3.3"), c.c), of("node-crash"))
		i := slices.IndexFunc(results, func(r Result) bool { return r.Criterion == "S3.3" })
		if i < 0 || results[i].Must != Pass || (results[i].Unsound == "") != c.sound {
			t.Errorf("%s: %+v", name, results)
		}
	}
}

// A run that was not in the cell proves nothing of it, however it went: its criteria would pass
// where they must because there was a fault, or fail because the mesh is broken.
func TestARunElsewhere(t *testing.T) {
	for _, cell := range Cells() {
		for _, ran := range []*report.Summary{{Mapek: "on"}, {Mapek: "off"}, {Mapek: "on", Control: report.ControlAbsent}, {Mapek: "off", Control: report.ControlAbsent}} {
			own := in(cell, report.Criterion{}, Row{}, report.Criterion{})
			here := own.Mapek == ran.Mapek && own.Control == ran.Control
			if wrong := elsewhere(cell, ran); (wrong == "") != here {
				t.Errorf("cell %s, loop %s, control %q: %q", cell, ran.Mapek, ran.Control, wrong)
			}
		}
	}
	real := in(NoFault, report.Criterion{Verdict: report.Failed, Expected: "≤ 0", Measured: value(1)}, Row{}, report.Criterion{})
	real.Control = ""
	if s := (Score{Results: Judge(NoFault, "", real, of("node-crash"))}); s.Sound() != 0 || len(s.Results) == 0 {
		t.Errorf("%d of %d sound in a run that had its faults", s.Sound(), len(s.Results))
	}
}

// What a criterion claims says what must become of it in each cell, and why.
func TestIn(t *testing.T) {
	for name, c := range map[string]struct {
		row  Row
		want [4]Must // in the order of the cells
	}{
		"a reaction":                {Row{Reacts: true}, [4]Must{Fail, Nothing, Nothing, Spare}},
		"healing":                   {Row{Reacts: true, Heals: true}, [4]Must{Fail, Fail, Nothing, Spare}},
		"an absence":                {Row{}, [4]Must{Pass, Nothing, Nothing, Spare}},
		"one that the loop upholds": {Row{Heals: true}, [4]Must{Pass, Fail, Nothing, Spare}},
		"a fault by labels":         {Row{Emptied: true}, [4]Must{Pass, Nothing, Invalidate, Spare}},
		"nothing is left behind":    {Row{Criterion: leftBehind, Emptied: true}, [4]Must{Pass, Nothing, Nothing, Nothing}},
		"no fault":                  {Row{Scenario: faultFree, Reacts: true, Heals: true, Emptied: true}, [4]Must{}},
	} {
		c.row.Note = "of a note"
		for i, cell := range Cells() {
			e := c.row.In(cell)
			if e.Must != c.want[i] || e.Why == "" {
				t.Errorf("%s in cell %s: %+v, want %q", name, cell, e, c.want[i])
			}
			if noted := strings.HasSuffix(e.Why, ": of a note"); noted != (e.Must == Fail || e.Must == Pass) {
				t.Errorf("%s in cell %s: %s", name, cell, e.Why)
			}
		}
	}
}

// A cell runs the scenarios of which it wants something, each once.
func TestScenarios(t *testing.T) {
	for cell, want := range map[Cell][]string{
		NoFault: {"network-partition", "pqc-inject", "node-crash", "node-crash-held", "latency"},
		LoopOff: {"network-partition", "pqc-inject", "node-crash", "node-crash-held", "latency"},
		Empty:   {"network-partition", "node-crash", "node-crash-held", "latency"},
	} {
		if got := Scenarios(table, cell); !slices.Equal(got, want) {
			t.Errorf("cell %s: %v, want %v", cell, got, want)
		}
	}
	if got := Scenarios(of("node-crash"), LoopOff); !slices.Equal(got, []string{"node-crash"}) {
		t.Errorf("of one scenario: %v", got)
	}
}

// Where nothing can be concluded, only that may be said, and why.
func TestInvalidate(t *testing.T) {
	own := row(t, "latency", "S4.2")
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
			results := Judge(cell, "", in(cell, cause, own, c.c), of("latency"))
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
	all := in(Harness, report.Criterion{Verdict: report.Passed}, Row{}, report.Criterion{})
	if s := (Score{Results: Judge(Harness, "x", all, of("latency"))}); s.Sound() != 0 || len(s.Results) == 0 {
		t.Errorf("%d of %d sound", s.Sound(), len(s.Results))
	}
}

// What was not judged at all proves nothing, and what is not asked for is not scored.
func TestJudgeAsksForEveryRow(t *testing.T) {
	results := Judge(NoFault, "", &report.Summary{Control: report.ControlAbsent}, of("network-partition", faultFree))
	if want := len(of("network-partition")); len(results) != want || want < 6 {
		t.Errorf("%d results of %d rows", len(results), want)
	}
	for _, r := range results {
		if r.Unsound != "was not judged" || r.Scenario != "network-partition" {
			t.Errorf("%+v", r)
		}
	}
	if r := Judge(Empty, "", &report.Summary{}, nil); len(r) != 0 {
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

// The matrix has a line for each criterion and a column for each cell, and tells what is not as
// it must be.
func TestMatrix(t *testing.T) {
	never := report.Criterion{Verdict: report.Failed, Expected: "≤ 3", Measured: value(40), Unit: "s", Never: true}
	s := Score{Commit: "abc", Results: Judge(LoopOff, "", in(LoopOff, report.Criterion{Verdict: report.Passed}, row(t, "node-crash", "S3.2"), never), of("node-crash"))}
	s.Results = append(s.Results, Judge(NoFault, "", in(NoFault, report.Criterion{Verdict: report.Passed}, Row{}, report.Criterion{}), of("node-crash"))...)
	var out bytes.Buffer
	if err := s.Matrix(&out); err != nil {
		t.Fatal(err)
	}
	lines := map[string]string{}
	for line := range strings.Lines(out.String()) {
		lines[strings.Join(strings.Fields(line)[:2], " ")] = strings.Join(strings.Fields(line), " ")
	}
	for _, want := range []string{
		"scenario criterion N O", "node-crash S3.1 passed ! -", "node-crash S3.2 passed ! failed (never, > 40 s; bar ≤ 3)", "node-crash S3.3 passed -",
		"! S3.1 of node-crash in cell N must fail, for it claims a reaction, and there is nothing to react to, but passed",
		"controls: 4 of 6 criteria and cells are as they must be, at commit abc, of a part only",
	} {
		if got := lines[strings.Join(strings.Fields(want)[:2], " ")]; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	s.Whole = true
	if got := s.String(); strings.Contains(got, "part") || s.Sound() != 4 {
		t.Errorf("%s", got)
	}
}

// A run of which the machine was too busy to tell is made again, and what is found then counts
// in its place. What is unsound for any other reason is not tried again.
func TestBusy(t *testing.T) {
	busy := report.Criterion{Verdict: report.Invalid, Cause: report.CauseBusy, Detail: "1 times; otherwise failed: never"}
	late := report.Criterion{Verdict: report.Failed, Expected: "≤ 3", Measured: value(14.3)}
	passed := report.Criterion{Verdict: report.Passed, Expected: "≤ 3", Measured: value(1)}
	one := row(t, "node-crash-held", "S3.2")
	for name, c := range map[string]struct {
		cell Cell
		one  report.Criterion
		busy []string
	}{
		"too busy":                        {LoopOff, busy, []string{one.Scenario}},
		"invalid for another reason":      {LoopOff, report.Criterion{Verdict: report.Invalid, Detail: "503"}, nil},
		"interrupted":                     {LoopOff, report.Criterion{Verdict: report.Invalid, Cause: report.CauseInterrupted, Detail: "interrupted"}, nil},
		"words alone":                     {LoopOff, report.Criterion{Verdict: report.Invalid, Detail: "the machine was too busy"}, nil},
		"passed":                          {LoopOff, passed, nil},
		"failed as it must":               {LoopOff, late, nil},
		"too busy, which is well: cell E": {Empty, busy, nil},
	} {
		if got := Busy(Judge(c.cell, "", in(c.cell, late, one, c.one), of(one.Scenario))); !slices.Equal(got, c.busy) {
			t.Errorf("%s: %v", name, got)
		}
	}
	results := Judge(LoopOff, "", in(LoopOff, late, one, busy), of(one.Scenario, "latency"))
	again := Judge(LoopOff, "", in(LoopOff, late, one, late), of(one.Scenario))
	both := Replace(slices.Clone(results), again)
	if len(both) != len(results) || len(Busy(both)) != 0 {
		t.Errorf("%d results, then %d; still too busy: %v", len(results), len(both), Busy(both))
	}
}
