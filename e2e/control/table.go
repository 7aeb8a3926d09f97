// Package control says what must become of each criterion where the mesh cannot pass: with no
// fault, with its loop off, with a selector that matches nothing, and with a harness that is
// broken. A criterion that passes there, or fails for another reason than its own bar, is
// vacuous: its green means nothing.
package control

import "slices"

// Cell is a way to run a scenario in which its criteria must not pass.
type Cell string

// The cells.
const (
	NoFault Cell = "N" // the scenario without its fault
	LoopOff Cell = "O" // with --mapek=off
	Empty   Cell = "E" // with a selector that matches nothing
	Harness Cell = "H" // with a part of the harness out of order
)

// Must is what a criterion must do in a cell.
type Must string

// What can be wanted.
const (
	Fail       Must = "fail"       // on its own bar
	Invalidate Must = "invalidate" // with the cause
	Spare      Must = "spare"      // not blame the mesh: invalid with the cause or, if it does not need what is broken, passed
	Nothing    Must = ""           // it claims nothing that the cell takes away
)

// Row is a criterion of a scenario and what it must do in the cells that are its own.
type Row struct {
	Scenario, Criterion string
	// Reacts is whether it claims a reaction to the fault: it must fail without one. Heals is
	// whether it claims what only the loop brings about: it must fail with the loop off.
	Reacts, Heals bool
	// Holds is whether it is one of yes or no: its own bar is that it holds, and there is
	// no value to measure.
	Holds bool
}

// In returns what the criterion must do in a cell.
func (r Row) In(c Cell) Must {
	switch {
	case r.Criterion == leftBehind: // judged of whatever there was
		return Nothing
	case c == Empty:
		return Invalidate
	case c == Harness:
		return Spare
	case c == NoFault && r.Reacts, c == LoopOff && r.Heals:
		return Fail
	}
	return Nothing
}

// leftBehind is the criterion that nothing is left behind.
const leftBehind = "F1"

// Rows are all criteria of the scenarios that have a fault.
var Rows = slices.Concat(
	rows("network-partition", "S1", "S1.2 rh", "S1.1 r", "S1.4 rh", "S1.3", "S1.5 rh", "A2 ry", "D1", "S1.X", "F1"),
	rows("pqc-corrupt", "S2", "S2.1 r", "S2.3 rh", "S2.4 rh", "S2.2 r", "S2.5", "S2.6", "A1 ry", "S2.X", "F1"),
	rows("pqc-inject", "", "S2.1 r", "S2.3 rh", "S2.2 r", "S2.5", "S2.X", "F1"),
	// Kubernetes has the pod back at once: clients see no failure whether anything heals or not.
	rows("node-crash", "", "S3.1 r", "S3.2 rh", "S3.3", "S3.X", "F1"),
	rows("node-crash-held", "S3", "S3.5 r", "S3.4 rhy", "S3.2 rh", "S3.3 h", "A3 rhy", "S3.X", "F1"),
	rows("latency", "S4", "S4.1 r", "S4.2 h", "S4.3 rh", "S4.X", "F1"),
	rows("resource-stress", "S5", "S5.1 rh", "S5.2 rh", "S5.3", "S5.X", "F1"),
)

// rows reads rows: a criterion's id, and the letters r, h and y for what it is. A loop stands
// for the five cells of its row of the design document's table: each claims a reaction, and
// the last three need the loop.
func rows(scenario, loop string, criteria ...string) []Row {
	if loop != "" {
		criteria = append(criteria, loop+".M ry", loop+".A ry", loop+".P rhy", loop+".E rhy", loop+".K rhy")
	}
	var all []Row
	for _, c := range criteria {
		id, is := c, ""
		if i := slices.Index([]byte(c), ' '); i >= 0 {
			id, is = c[:i], c[i+1:]
		}
		has := func(letter byte) bool { return slices.Contains([]byte(is), letter) }
		all = append(all, Row{Scenario: scenario, Criterion: id, Reacts: has('r'), Heals: has('h'), Holds: has('y')})
	}
	return all
}

// Scenarios are those that have a row.
func Scenarios() []string {
	var names []string
	for _, r := range Rows {
		if !slices.Contains(names, r.Scenario) {
			names = append(names, r.Scenario)
		}
	}
	return names
}
