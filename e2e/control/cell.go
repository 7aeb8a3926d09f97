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

// Row is a criterion of a scenario and what its spec says that it claims: from that follows what
// it must do in each cell. The suite prints them with its scenarios.
type Row struct {
	Scenario  string `json:"scenario"`
	Criterion string `json:"criterion"`
	// Reacts is whether it claims a reaction to the fault: it must fail without one. Heals is
	// whether it claims what only the loop brings about: it must fail with the loop off.
	Reacts bool `json:"reacts"`
	Heals  bool `json:"heals"`
	// Emptied is whether the scenario is in the cell whose selectors match nothing.
	Emptied bool `json:"emptied"`
	// Note says why, where that does not go without saying.
	Note string `json:"note,omitempty"`
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
	case c == Empty && !r.Emptied:
		return Expectation{Nothing, "no fault of the scenario's own selects by labels, or it runs at night only"}
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

// Scenarios are those of rows of which a cell wants something.
func Scenarios(rows []Row, c Cell) []string {
	var names []string
	for _, r := range rows {
		if r.In(c).Must != Nothing && !slices.Contains(names, r.Scenario) {
			names = append(names, r.Scenario)
		}
	}
	return names
}
