package control

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Result is what became of one criterion in one cell.
type Result struct {
	Scenario  string         `json:"scenario"`
	Criterion string         `json:"criterion"`
	Cell      Cell           `json:"cell"`
	Fault     string         `json:"fault,omitempty"` // of the harness, in cell H
	Must      Must           `json:"must"`
	Why       string         `json:"why"` // it must
	Verdict   report.Verdict `json:"verdict"`
	Measured  *float64       `json:"measured"`
	Unit      string         `json:"unit"`
	Never     bool           `json:"never,omitempty"` // measured is how long was waited in vain
	Bar       string         `json:"bar"`
	// Unsound says why the criterion's verdict means nothing; empty: it did what it must.
	Unsound string `json:"unsound,omitempty"`
	busy    bool   // nothing can be concluded, because the machine was too busy
}

// Score is what all cells together say, and of which commit.
type Score struct {
	Commit string `json:"commit"`
	// Whole is whether it is of all cells, and of all scenarios that are not nightly.
	Whole   bool     `json:"whole"`
	Results []Result `json:"results"`
}

// File keeps the last score of all controls in the project's directory. It is not among the
// artefacts, which make clean removes.
const File = ".controls.json"

// Keep writes a score into the directory of a project.
func (s Score) Keep(project string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(project, File), append(b, '\n'), 0o644)
}

// Last reads the score that was kept in the directory of a project. Where none was the error
// is fs.ErrNotExist.
func Last(project string) (Score, error) {
	var s Score
	b, err := os.ReadFile(filepath.Join(project, File))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%s: %w", File, err)
	}
	return s, nil
}

// Judge holds a run in a cell against the rows of its scenarios. A criterion of which the run says
// nothing is unsound, too: nobody knows what it would do. So is all of a run that was not in the cell.
func Judge(c Cell, fault string, s *report.Summary, rows []Row) []Result {
	var results []Result
	for _, row := range rows {
		want := row.In(c)
		if want.Must == Nothing {
			continue
		}
		r := Result{Scenario: row.Scenario, Criterion: row.Criterion, Cell: c, Fault: fault, Must: want.Must, Why: want.Why}
		if judged := find(s, row); judged == nil {
			r.Unsound = "was not judged"
		} else {
			r.Verdict, r.Measured, r.Unit, r.Never, r.Bar = judged.Verdict, judged.Measured, judged.Unit, judged.Never, judged.Expected
			r.Unsound = unsound(want.Must, judged)
			r.busy = r.Unsound != "" && judged.Cause == report.CauseBusy
		}
		if other := elsewhere(c, s); other != "" {
			r.Unsound = other
		}
		results = append(results, r)
	}
	if c == Harness && !slices.ContainsFunc(results, func(r Result) bool { return r.Verdict == report.Invalid }) {
		for i := range results {
			if results[i].Unsound == "" {
				results[i].Unsound = "nothing was invalid: what was broken was not missed"
			}
		}
	}
	return results
}

// Busy returns the scenarios that did not do what they must in some criterion because the machine
// was too busy, which says nothing of the criterion.
func Busy(results []Result) []string {
	var busy []string
	for _, r := range results {
		if r.busy && !slices.Contains(busy, r.Scenario) {
			busy = append(busy, r.Scenario)
		}
	}
	return busy
}

// Replace returns results with those of some scenarios replaced by other ones.
func Replace(results, by []Result) []Result {
	return append(slices.DeleteFunc(results, func(r Result) bool {
		return slices.ContainsFunc(by, func(b Result) bool { return b.Scenario == r.Scenario })
	}), by...)
}

// elsewhere says what keeps a run from being one in a cell; nothing if it was.
func elsewhere(c Cell, s *report.Summary) string {
	switch {
	case (s.Control == report.ControlAbsent) != (c == NoFault):
		return fmt.Sprintf("the run is none of cell %s: its faults were there, or were not", c)
	case (s.Mapek == "off") != (c == LoopOff):
		return fmt.Sprintf("the run is none of cell %s: its loop was %s", c, s.Mapek)
	}
	return ""
}

func find(s *report.Summary, row Row) *report.Criterion {
	for i := range s.Scenarios {
		if s.Scenarios[i].Name != row.Scenario {
			continue
		}
		of := s.Scenarios[i].Criteria
		if k := slices.IndexFunc(of, func(c report.Criterion) bool { return c.ID == row.Criterion }); k >= 0 {
			return &of[k]
		}
	}
	return nil
}

// unsound says why a criterion did not do what it must; nothing if it did.
func unsound(must Must, c *report.Criterion) string {
	switch must {
	case Pass:
		if c.Verdict != report.Passed {
			return fmt.Sprintf("is %s where nothing was done to the mesh: %s", c.Verdict, c.Detail)
		}
		return ""
	case Invalidate, Spare:
		switch {
		case must == Spare && c.Verdict == report.Passed:
		case c.Verdict != report.Invalid:
			return fmt.Sprintf("is %s where nothing can be concluded", c.Verdict)
		case c.Detail == "":
			return "is invalid without a cause"
		}
		return ""
	}
	switch {
	case c.Verdict == report.Passed:
		return "passed"
	case c.Verdict != report.Failed:
		return fmt.Sprintf("is %s: %s", c.Verdict, c.Detail)
	case c.Measured == nil:
		return "failed without a value: " + c.Detail
	}
	missed, err := Misses(c.Expected, *c.Measured)
	switch {
	case err != nil:
		return err.Error()
	case c.Never && !strings.HasPrefix(c.Expected, "≤ "):
		return fmt.Sprintf("%q is no bar that what never comes misses", c.Expected)
	case !missed:
		return fmt.Sprintf("failed with %g, which is %s as wanted: %s", *c.Measured, c.Expected, c.Detail)
	}
	return ""
}

// Misses reports whether a measured value misses a bar as summaries write it, such as "≤ 2".
func Misses(bar string, measured float64) (bool, error) {
	if bar == "yes" {
		return measured != 1, nil
	}
	relation, number, _ := strings.Cut(bar, " ")
	want, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return false, fmt.Errorf("%q is no bar", bar)
	}
	switch relation {
	case "≤":
		return measured > want, nil
	case "≥":
		return measured < want, nil
	case ">":
		return measured <= want, nil
	case "=":
		return measured != want, nil
	}
	return false, fmt.Errorf("%q is no bar", bar)
}

// Sound returns how many results are as they must be.
func (s Score) Sound() int {
	n := 0
	for _, r := range s.Results {
		if r.Unsound == "" {
			n++
		}
	}
	return n
}

func (s Score) String() string {
	part := ""
	if !s.Whole {
		part = ", of a part only"
	}
	return fmt.Sprintf("controls: %d of %d criteria and cells are as they must be, at commit %s%s", s.Sound(), len(s.Results), s.Commit, part)
}
