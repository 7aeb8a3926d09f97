package control

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// column is a cell, in cell H one of its faults.
type column struct {
	cell  Cell
	fault string
}

func (c column) String() string {
	if c.fault == "" {
		return string(c.cell)
	}
	return string(c.cell) + ": " + c.fault
}

// columns are those of which there are results, in the order of the cells.
func (s Score) columns() []column {
	var all []column
	for _, r := range s.Results {
		if c := (column{r.Cell, r.Fault}); !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b column) int {
		return cmp.Compare(slices.Index(Cells(), a.cell), slices.Index(Cells(), b.cell))
	})
	return all
}

// line is a criterion of a scenario.
type line struct{ scenario, criterion string }

// lines are those of which there are results, a scenario's together.
func (s Score) lines() []line {
	var all []line
	var scenarios []string
	for _, r := range s.Results {
		if !slices.Contains(scenarios, r.Scenario) {
			scenarios = append(scenarios, r.Scenario)
		}
		if l := (line{r.Scenario, r.Criterion}); !slices.Contains(all, l) {
			all = append(all, l)
		}
	}
	slices.SortStableFunc(all, func(a, b line) int {
		return cmp.Compare(slices.Index(scenarios, a.scenario), slices.Index(scenarios, b.scenario))
	})
	return all
}

// Matrix prints what became of each criterion in each cell: its verdict, and what was measured
// against which bar. What is not as it must be is marked, and told below.
func (s Score) Matrix(out io.Writer) error {
	columns := s.columns()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "scenario\tcriterion")
	for _, c := range columns {
		fmt.Fprintf(w, "\t%v", c)
	}
	fmt.Fprintln(w)
	for _, l := range s.lines() {
		cells := make([]string, len(columns))
		for k, c := range columns {
			cells[k] = "-"
			i := slices.IndexFunc(s.Results, func(r Result) bool {
				return (line{r.Scenario, r.Criterion}) == l && (column{r.Cell, r.Fault}) == c
			})
			if i >= 0 {
				cells[k] = s.Results[i].String()
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", l.scenario, l.criterion, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range s.Results {
		if r.Unsound != "" {
			fmt.Fprintf(out, "! %s of %s in cell %v must %s, for %s, but %s\n", r.Criterion, r.Scenario, column{r.Cell, r.Fault}, r.Must, r.Why, r.Unsound)
		}
	}
	_, err := fmt.Fprintln(out, s)
	return err
}

// String is a cell of the matrix.
func (r Result) String() string {
	said := cmp.Or(string(r.Verdict), "not judged")
	if r.Measured != nil && r.Verdict == report.Failed {
		got := report.Criterion{Expected: r.Bar, Measured: r.Measured, Unit: r.Unit, Never: r.Never}.Got()
		if r.Never {
			got = "never, " + got
		}
		said += fmt.Sprintf(" (%s; bar %s)", got, r.Bar)
	}
	if r.Unsound != "" {
		said += " !"
	}
	return said
}
