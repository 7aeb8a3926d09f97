package control

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Result is what became of one criterion in one cell.
type Result struct {
	Scenario  string         `json:"scenario"`
	Criterion string         `json:"criterion"`
	Cell      Cell           `json:"cell"`
	Fault     string         `json:"fault,omitempty"` // of the harness, in cell H
	Must      Must           `json:"must"`
	Verdict   report.Verdict `json:"verdict"`
	Measured  *float64       `json:"measured"`
	Bar       string         `json:"bar"`
	// Vacuous says why the criterion's green means nothing; empty: it did what it must.
	Vacuous string `json:"vacuous,omitempty"`
}

// Score is what all cells together say, and of which commit.
type Score struct {
	Commit  string   `json:"commit"`
	Results []Result `json:"results"`
}

// Judge holds a run in a cell against the table. A criterion of which the run says nothing
// is vacuous, too: nobody knows what it would do.
func Judge(c Cell, fault string, s *report.Summary, scenarios ...string) []Result {
	var results []Result
	for _, row := range Rows {
		must := row.In(c)
		if must == Nothing || !slices.Contains(scenarios, row.Scenario) {
			continue
		}
		r := Result{Scenario: row.Scenario, Criterion: row.Criterion, Cell: c, Fault: fault, Must: must}
		if judged := find(s, row); judged == nil {
			r.Vacuous = "was not judged"
		} else {
			r.Verdict, r.Measured, r.Bar = judged.Verdict, judged.Measured, judged.Expected
			r.Vacuous = vacuous(row, must, judged)
		}
		results = append(results, r)
	}
	if c == Harness && !slices.ContainsFunc(results, func(r Result) bool { return r.Verdict == report.Invalid }) {
		for i := range results {
			results[i].Vacuous = cmp.Or(results[i].Vacuous, "nothing was invalid: what was broken was not missed")
		}
	}
	return results
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

// vacuous says why a criterion did not do what it must; nothing if it did.
func vacuous(row Row, must Must, c *report.Criterion) string {
	if must == Invalidate || must == Spare {
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
	case row.Holds:
		return ""
	case c.Measured == nil:
		return "failed without a value: " + c.Detail
	}
	missed, err := Misses(c.Expected, *c.Measured)
	switch {
	case err != nil:
		return err.Error()
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
		if r.Vacuous == "" {
			n++
		}
	}
	return n
}

func (s Score) String() string {
	return fmt.Sprintf("controls: %d of %d criteria and cells are as they must be, at commit %s", s.Sound(), len(s.Results), s.Commit)
}

// Table prints the matrix of criteria and cells, with what was measured against which bar, and
// what is vacuous.
func (s Score) Table(out io.Writer) error {
	results := slices.Clone(s.Results)
	slices.SortStableFunc(results, func(a, b Result) int {
		return cmp.Or(cmp.Compare(a.Scenario, b.Scenario), cmp.Compare(a.Criterion, b.Criterion), cmp.Compare(a.Cell, b.Cell))
	})
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "scenario\tcriterion\tcell\tmust\tverdict\tmeasured\tbar\tvacuous")
	for _, r := range results {
		measured := "-"
		if r.Measured != nil {
			measured = strconv.FormatFloat(*r.Measured, 'g', 4, 64)
		}
		cell := string(r.Cell)
		if r.Fault != "" {
			cell += ": " + r.Fault
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Scenario, r.Criterion, cell, r.Must, cmp.Or(string(r.Verdict), "-"), measured, r.Bar, r.Vacuous)
	}
	fmt.Fprintf(w, "%v\n", s)
	return w.Flush()
}
