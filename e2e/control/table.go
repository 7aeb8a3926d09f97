// Package control says what must become of each criterion where the mesh cannot pass: with no
// fault, with its loop off, with a selector that matches nothing, and with a harness that is
// broken. A criterion that passes there, or fails for another reason than its own bar, is
// vacuous: its green means nothing.
package control

import (
	"slices"
	"strings"
)

// Cell is a way to run a scenario in which its criteria must not pass.
type Cell string

// The cells.
const (
	NoFault Cell = "N" // the scenario without its fault
	LoopOff Cell = "O" // with --mapek=off
	Empty   Cell = "E" // with a selector that matches nothing
	Harness Cell = "H" // with a part of the harness out of order
)

// Cells are all cells.
func Cells() []Cell { return []Cell{NoFault, LoopOff, Empty, Harness} }

// Must is what a criterion must do in a cell.
type Must string

// What can be wanted.
const (
	Fail       Must = "fail"       // on its own bar, with what was measured
	Pass       Must = "pass"       // it claims an absence, and there is nothing: red would be a false alarm
	Invalidate Must = "invalidate" // with the cause
	Spare      Must = "spare"      // not blame the mesh: invalid with the cause or, if it does not need what is broken, passed
	Nothing    Must = ""           // it claims nothing that the cell takes away
)

// Expectation is what a criterion must do in a cell, and why.
type Expectation struct {
	Must Must
	Why  string
}

// Row is a criterion of a scenario and what it must do in the cells that are its own.
type Row struct {
	Scenario, Criterion string
	// Reacts is whether it claims a reaction to the fault: it must fail without one. Heals is
	// whether it claims what only the loop brings about: it must fail with the loop off.
	Reacts, Heals bool
	// Note says why, where that does not go without saying.
	Note string
}

// In returns what the criterion must do in a cell.
func (r Row) In(c Cell) Expectation {
	e := r.in(c)
	if r.Note != "" && (e.Must == Fail || e.Must == Pass) {
		e.Why += ": " + r.Note
	}
	return e
}

func (r Row) in(c Cell) Expectation {
	switch {
	case r.Scenario == faultFree:
		return Expectation{Nothing, "there is no fault to take away: each of its runs is one without"}
	case r.Criterion == leftBehind && c == NoFault:
		return Expectation{Pass, "what never was leaves nothing behind"}
	case r.Criterion == leftBehind:
		return Expectation{Nothing, "it judges whatever there was"}
	case c == Empty && !slices.Contains(Emptied(), r.Scenario):
		return Expectation{Nothing, "no fault of the scenario's own selects by labels"}
	case c == Empty:
		return Expectation{Invalidate, "that a fault bites cannot be proven where it is in nobody"}
	case c == Harness:
		return Expectation{Spare, "what could not be observed says nothing of the mesh"}
	case c == NoFault && r.Reacts:
		return Expectation{Fail, "it claims a reaction, and there is nothing to react to"}
	case c == NoFault:
		return Expectation{Pass, "it claims that something does not happen, and nothing does"}
	case c == LoopOff && r.Heals:
		return Expectation{Fail, "it claims what only the loop brings about"}
	}
	return Expectation{Nothing, "it does not claim that the loop brings it about"}
}

const (
	// leftBehind is the criterion that nothing is left behind.
	leftBehind = "F1"
	// faultFree is the scenario that has no fault.
	faultFree = "fault-free"
)

// Rows are all criteria of all scenarios.
func Rows() []Row { return slices.Clone(table) }

var table = slices.Concat(
	rows("network-partition", "S1", "S1.2 rh", "S1.1 r", "S1.4 rh", "S1.3", "S1.5 rh", "A2 r",
		"D1 r: panels of faults and incidents have numbers only where there was one", "S1.X", "F1"),
	rows("pqc-corrupt", "S2", "S2.1 r", "S2.3 rh", "S2.4 rh", "S2.2 r", "S2.5", "S2.6", "A1 r", "S2.X", "F1"),
	rows("pqc-inject", "", "S2.1 r", "S2.3 rh", "S2.2 r", "S2.5", "S2.X", "F1"),
	rows("node-crash", "", "S3.1 r", "S3.2 rh",
		"S3.3: Kubernetes has the pod back at once, so that clients see no failure whether anything heals or not", "S3.X", "F1"),
	rows("node-crash-recurring", "", "S3.1 r", "S3.2 rh", "S3.3: as in node-crash", "S3.X", "F1"),
	rows("node-crash-held", "S3", "S3.5 r: it is the proof that it was a crash, and says so if there was none", "S3.4 rh", "S3.2 rh",
		"S3.3 h: nobody but the loop takes over from a node that is not replaced", "A3 rh", "S3.X", "F1"),
	rows("latency", "S4", "S4.1 r", "S4.2 h: only the loop gives verifications more time", "S4.3 rh", "S4.X", "F1"),
	rows("resource-stress", "S5", "S5.1 rh: that the node asks is part of it, whatever the autoscaler sees by itself",
		"S5.2 rh: that low priority is shed is part of it", "S5.3 r: who never grew cannot scale back", "S5.X", "F1"),
	rows("io-fault", "S6", "S6.1 r", "S6.4 rh: only the loop makes a new store of a disk that has failed", "S6.2", "S6.3", "A4 r", "S6.X", "F1"),
	rows("clock-skew", "S7", "S7.3 r", "A5 r", "S7.1", "S7.2", "S7.4", "S7.X", "F1"),
	rows("clock-skew-ahead", "S7", "S7.3 r", "A5 r", "S7.1", "S7.2", "S7.4", "S7.X", "F1"),
	rows("clock-skew-small", "S7", "S7.3 r", "A5 r", "S7.1", "S7.2", "S7.4", "S7.X", "F1"),
	rows("clock-skew-zone", "", "S7.3 r", "A5 r", "S7.1", "S7.2", "S7.4", "S7.X", "F1"),
	rows("rolling-restart", "", "R1 r", "R2", "R3", "F1"),
	rows(faultFree, "", "V1", "A0", "F1"),
)

// rows reads rows: a criterion's id, the letters r and h for what it is, and after a colon a
// note. A loop stands for the five cells of its row of the design document's table: each
// claims a reaction, and the last three need the loop.
func rows(scenario, loop string, criteria ...string) []Row {
	if loop != "" {
		criteria = append(criteria, loop+".M r", loop+".A r", loop+".P rh", loop+".E rh", loop+".K rh")
	}
	var all []Row
	for _, c := range criteria {
		head, note, _ := strings.Cut(c, ": ")
		id, is, _ := strings.Cut(head, " ")
		all = append(all, Row{Scenario: scenario, Criterion: id, Reacts: strings.Contains(is, "r"), Heals: strings.Contains(is, "h"), Note: note})
	}
	return all
}

// Find returns the row of a scenario's criterion.
func Find(scenario, criterion string) (Row, bool) {
	i := slices.IndexFunc(table, func(r Row) bool { return r.Scenario == scenario && r.Criterion == criterion })
	if i < 0 {
		return Row{}, false
	}
	return table[i], true
}

// Scenarios are those of which a cell wants something.
func Scenarios(c Cell) []string {
	var names []string
	for _, r := range table {
		if r.In(c).Must != Nothing && !slices.Contains(names, r.Scenario) {
			names = append(names, r.Scenario)
		}
	}
	return names
}
