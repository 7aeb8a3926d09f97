package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/control"
	"github.com/x0tta6bl4/mesh/e2e/judge/scenario"
	"github.com/x0tta6bl4/mesh/fixtures"
)

// controlRows are what the controls have to know of a scenario's criteria, as its spec declares them.
// Its own fault is its first one. By night a cell of selectors that match nothing tells no more than by day.
func controlRows(sc *scenario.Scenario, faults fs.FS) ([]control.Row, error) {
	emptied := false
	if len(sc.Fixtures) > 0 && !sc.Is(scenario.Nightly) {
		own, err := fs.ReadFile(faults, sc.Fixtures[0])
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", sc.Name, err)
		}
		emptied = control.Selects(own)
	}
	var rows []control.Row
	for _, c := range sc.Criteria {
		rows = append(rows, control.Row{
			Scenario: sc.Name, Criterion: c.ID, Reacts: c.Claims.Reacts, Heals: c.Claims.Heals, Emptied: emptied, Note: c.Claims.Note,
		})
	}
	return rows, nil
}

// allRows are the rows of all scenarios, with the faults as they are.
func allRows(t *testing.T) (all []control.Row) {
	t.Helper()
	for _, sc := range scenarios {
		rows, err := controlRows(sc, fixtures.FS)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rows...)
	}
	return all
}

// rowOf is the row of a scenario's criterion.
func rowOf(t *testing.T, name, id string) control.Row {
	t.Helper()
	all := allRows(t)
	i := slices.IndexFunc(all, func(r control.Row) bool { return r.Scenario == name && r.Criterion == id })
	if i < 0 {
		t.Fatalf("%s has no criterion %s", name, id)
	}
	return all[i]
}

// controlsFile says what each criterion must do in each cell, a line each. It is written by hand, so that nobody
// weakens a claim unseen. A scenario that it does not name is judged by its own declarations alone.
const controlsFile = "testdata/controls.txt"

// pinned is a row as controlsFile has it.
func pinned(r control.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", r.Scenario, r.Criterion)
	for _, c := range control.Cells() {
		must := string(r.In(c).Must)
		if must == "" {
			must = "-"
		}
		fmt.Fprintf(&b, " %s:%s", c, must)
	}
	if r.Note != "" {
		fmt.Fprintf(&b, " # %s", r.Note)
	}
	return b.String()
}

// unpinned says in which lines rows are not what a file pins.
func unpinned(rows []control.Row, file string) (wrong []string) {
	want, known := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(file) {
		line = strings.TrimSpace(line)
		name, _, _ := strings.Cut(line, " ")
		want[line], known[name] = true, true
	}
	for _, r := range rows {
		if line := pinned(r); known[r.Scenario] && !want[line] {
			wrong = append(wrong, "declared: "+line)
		} else {
			delete(want, line)
		}
	}
	for line := range want {
		wrong = append(wrong, "pinned: "+line)
	}
	slices.Sort(wrong)
	return wrong
}

// controlsArePinned sees what the controls want of each criterion, and why.
func controlsArePinned(t *testing.T) {
	b, err := os.ReadFile(controlsFile)
	if err != nil {
		t.Fatal(err)
	}
	rows := allRows(t)
	for _, w := range unpinned(rows, string(b)) {
		t.Errorf("%s: %s", controlsFile, w)
	}
	wants := map[control.Cell]map[control.Must]int{}
	for _, r := range rows {
		for _, c := range control.Cells() {
			e := r.In(c)
			if e.Why == "" {
				t.Errorf("%s of %s in cell %s: %q without a reason", r.Criterion, r.Scenario, c, e.Must)
			}
			if wants[c] == nil {
				wants[c] = map[control.Must]int{}
			}
			wants[c][e.Must]++
		}
		if r.In(control.NoFault).Must == control.Nothing && r.Scenario != "fault-free" {
			t.Errorf("nothing is wanted of %s of %s without its fault", r.Criterion, r.Scenario)
		}
	}
	if wants[control.NoFault][control.Fail] < 45 || wants[control.NoFault][control.Pass] < 20 ||
		wants[control.LoopOff][control.Fail] < 25 || wants[control.Empty][control.Invalidate] < 30 {
		t.Errorf("%v", wants)
	}
	if e := rowOf(t, "node-crash-held", "S3.5").In(control.NoFault); e.Must != control.Fail || !strings.HasSuffix(e.Why, "says so if there was none") {
		t.Errorf("%+v", e)
	}
}

// TestPinsAreJudged sees a weakened claim found, and a new scenario left alone.
func TestPinsAreJudged(t *testing.T) {
	row := control.Row{Scenario: "a", Criterion: "S1.1", Reacts: true, Heals: true, Note: "why"}
	file := "a S1.1 N:fail O:fail E:- H:spare # why\na F1 N:pass O:- E:- H:-\n"
	f1 := control.Row{Scenario: "a", Criterion: "F1"}
	weak, silent, emptied := row, row, row
	weak.Heals, silent.Note, emptied.Emptied = false, "", true
	for name, c := range map[string]struct {
		rows []control.Row
		want int
	}{
		"as they are":        {[]control.Row{row, f1}, 0},
		"a new scenario":     {[]control.Row{row, f1, {Scenario: "b", Criterion: "S9.1"}}, 0},
		"a new criterion":    {[]control.Row{row, f1, {Scenario: "a", Criterion: "S1.2"}}, 1},
		"a criterion gone":   {[]control.Row{row}, 1},
		"a weaker claim":     {[]control.Row{weak, f1}, 2},
		"without its reason": {[]control.Row{silent, f1}, 2},
		"in another cell":    {[]control.Row{emptied, f1}, 2},
	} {
		if wrong := unpinned(c.rows, file); len(wrong) != c.want {
			t.Errorf("%s: %q", name, wrong)
		}
	}
}
