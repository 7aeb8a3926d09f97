package report

import (
	"strings"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/types"
)

// aborted is the report of a scenario that was aborted under its second criterion.
func aborted(a *Abort) (r types.Report, selected []types.SpecReport) {
	spec := func(id string, state types.SpecState, entries ...types.ReportEntry) types.SpecReport {
		return types.SpecReport{
			LeafNodeType: types.NodeTypeIt, LeafNodeText: id + " holds", LeafNodeLabels: []string{id}, State: state,
			ContainerHierarchyTexts: []string{"S"}, ContainerHierarchyLabels: [][]string{{"s"}}, ReportEntries: entries,
		}
	}
	var cleanup []types.ReportEntry
	if a != nil {
		cleanup = []types.ReportEntry{{Name: EntryAborted, Value: types.WrapEntryValue(*a)}}
	}
	r.SpecReports = []types.SpecReport{
		spec("S1", types.SpecStatePassed), spec("S2", types.SpecStateInterrupted, cleanup...), spec("S3", types.SpecStateSkipped),
	}
	return r, r.SpecReports
}

func TestAborted(t *testing.T) {
	a := &Abort{Expression: "up < 1", Series: `{pod="a"}`, Value: "0", At: time.Unix(1, 0).UTC()}
	s := Summary{Version: Version}
	s.Build(aborted(a))
	sc := s.Scenarios[0]
	if sc.Aborted == nil || *sc.Aborted != *a {
		t.Fatalf("aborted: %v", sc.Aborted)
	}
	for i, want := range []Verdict{Passed, Aborted, Aborted} {
		if c := sc.Criteria[i]; c.Verdict != want || c.Cause != "" || (want == Aborted) != strings.Contains(c.Detail, "up < 1 is 0 for {pod=") {
			t.Errorf("%s is %s: %s", c.ID, c.Verdict, c.Detail)
		}
	}
	if code := s.ExitCode(); code != ExitAborted {
		t.Errorf("exit code %d", code)
	}
	s.Scenarios[0].Criteria[0].Verdict = Failed
	if code := s.ExitCode(); code != ExitFailed {
		t.Errorf("exit code %d: a failure outweighs an abort", code)
	}
	if md := Markdown(&s); !strings.Contains(md, "was aborted: up &lt; 1 is 0") {
		t.Errorf("the Markdown does not say why:\n%s", md)
	}
	var table strings.Builder
	if err := Table(&table, &s, "dir"); err != nil || !strings.Contains(table.String(), "scenario s was aborted: up < 1 is 0") {
		t.Errorf("the table does not say why: %v\n%s", err, table.String())
	}
	if j := junit(&s); j.Errors != 2 || j.Failures != 1 {
		t.Errorf("JUnit: %d errors, %d failures", j.Errors, j.Failures)
	}
}

// TestAbortedAtTheEnd sees that a run is not passed where all had been judged by then.
func TestAbortedAtTheEnd(t *testing.T) {
	r, selected := aborted(&Abort{Expression: "x", Value: "1"})
	for i := range r.SpecReports {
		r.SpecReports[i].State = types.SpecStatePassed
	}
	var s Summary
	if s.Build(r, selected); s.ExitCode() != ExitAborted || s.Count()[Passed] != 3 {
		t.Errorf("exit code %d, %v", s.ExitCode(), s.Count())
	}
}

// TestInterruptedIsNotAborted sees that an interrupt alone concludes nothing, as before.
func TestInterruptedIsNotAborted(t *testing.T) {
	var s Summary
	s.Build(aborted(nil))
	if n := s.Count(); n[Invalid] != 2 || n[Aborted] != 0 || s.ExitCode() != ExitInvalid {
		t.Errorf("%v, exit code %d", n, s.ExitCode())
	}
}
