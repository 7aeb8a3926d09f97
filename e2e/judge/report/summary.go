package report

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version is that of summary.json and its schema. It changes when a field changes its
// meaning or goes away; fields may be added to a version.
const Version = "1"

// Verdict is what can be said of a criterion.
type Verdict string

// The verdicts.
const (
	Passed Verdict = "passed"
	Failed Verdict = "failed"
	// Invalid means that nothing can be concluded: the fault was not proven to
	// bite, too little traffic ran, or the criterion was never judged.
	Invalid Verdict = "invalid"
	// NotSupported means that this cluster cannot run it, for the reason given.
	NotSupported Verdict = "not supported"
	// Aborted means that the scenario was stopped before: it did more harm than its fault
	// was to do.
	Aborted Verdict = "aborted"
)

// Cause is why nothing can be concluded of a criterion, where others than a person have to
// know it: all other reasons are words in its detail.
type Cause string

// The causes.
const (
	// CauseBusy: the machine was too busy for anybody, so that a failure says nothing.
	CauseBusy Cause = "busy"
	// CauseInterrupted: the run was stopped while the criterion was judged.
	CauseInterrupted Cause = "interrupted"
	// CauseUnjudged: the run ended before its turn.
	CauseUnjudged Cause = "unjudged"
)

// Exit codes of a run.
const (
	ExitPassed  = 0
	ExitFailed  = 1 // a criterion failed, or something was left behind
	ExitUsage   = 2 // usage, or a missing requirement
	ExitInvalid = 3 // nothing can be concluded
	ExitAborted = 4 // a scenario was aborted, and nothing failed
	ExitControl = 5 // there was no fault: nothing is said of the mesh, whatever passed
)

// Summary is summary.json.
type Summary struct {
	Version string `json:"version"`
	Profile string `json:"profile"`
	Mapek   string `json:"mapek"` // on, or off in a control
	// Control is ControlAbsent where the faults were absent: such a run is never green.
	Control     string     `json:"control,omitempty"`
	Started     time.Time  `json:"started"`
	WallSeconds float64    `json:"wall_seconds"`
	Machine     Machine    `json:"machine"`
	Images      []Image    `json:"images"`
	Phases      []Phase    `json:"phases"`
	Scenarios   []Scenario `json:"scenarios"`
	// Cleanup says what could not be taken away again; it is no criterion.
	Cleanup []string `json:"cleanup,omitempty"`
}

// ControlAbsent is a run that injects nothing, and judges as if it had.
const ControlAbsent = "absent"

// Machine is where the run took place.
type Machine struct {
	Cores  int    `json:"cores"`
	Memory uint64 `json:"memory"` // bytes
	Kernel string `json:"kernel"`
}

// Image is one that the cluster was made of. Source is pulled, built, present or registry; Digest is the
// whole reference there.
type Image struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Source string `json:"source"`
}

// Phase is a part of the run and how long it took.
type Phase struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Scenario is one fault and what was judged under it.
type Scenario struct {
	Name  string `json:"name"`
	Fault Fault  `json:"fault"`
	// Lane is where it ran, from 1; it, Began and Ended are of runs in lanes alone.
	Lane  int        `json:"lane,omitempty"`
	Began *time.Time `json:"began,omitempty"`
	Ended *time.Time `json:"ended,omitempty"`
	// Aborted is why it was stopped before its end.
	Aborted  *Abort      `json:"aborted,omitempty"`
	Criteria []Criterion `json:"criteria"`
}

// Fault is when a fault was injected according to Chaos Mesh, when the outside
// view proved that it bites, and when Chaos Mesh had taken it back. A time that
// never came is null.
type Fault struct {
	Injected  *time.Time `json:"injected"`
	Proven    *time.Time `json:"proven"`
	Recovered *time.Time `json:"recovered"`
}

// Criterion is one criterion's verdict. Measured is null where nothing could be
// measured, Started where it was never judged.
type Criterion struct {
	ID       string   `json:"id"`
	Text     string   `json:"text"` // what it proves
	Verdict  Verdict  `json:"verdict"`
	Cause    Cause    `json:"cause,omitempty"` // of Invalid alone
	Expected string   `json:"expected"`
	Measured *float64 `json:"measured"`
	Unit     string   `json:"unit"`
	// Never says that what the bar is about had not come when the wait was over: Measured is
	// how long that was.
	Never bool `json:"never,omitempty"`
	// Detail says why a criterion did not pass.
	Detail string `json:"detail,omitempty"`
	// Observed is what else was seen, such as the time that each node took.
	Observed []Observation `json:"observed,omitempty"`
	// Queries are the PromQL that it was judged by, to paste.
	Queries []string `json:"queries,omitempty"`
	// Bars are what it held metrics against, for who draws them.
	Bars    []Bar      `json:"bars,omitempty"`
	Started *time.Time `json:"started"`
	Seconds float64    `json:"seconds"` // it took

	file string // where its spec is, in the repository
	line int
}

// judged reports whether there was time to judge it: it was not interrupted, and had its turn.
func (c *Criterion) judged() bool { return c.Cause != CauseInterrupted && c.Cause != CauseUnjudged }

// Observation is something that was seen while a criterion was judged.
type Observation struct {
	Name  string `json:"name"`
	Value string `json:"value"` // for a person
}

// Margin is the share of its bar that a criterion has to spare: 0.75 of one that took
// 0.5 s of 2, and less than 0 of one that did not reach it. There is none where the bar
// is no number, is 0, or has to be met exactly.
func (c Criterion) Margin() (share float64, ok bool) {
	relation, number, _ := strings.Cut(c.Expected, " ")
	bar, err := strconv.ParseFloat(number, 64)
	if err != nil || bar <= 0 || math.IsInf(bar, 0) || c.Measured == nil {
		return 0, false
	}
	switch relation {
	case "≤":
		return (bar - *c.Measured) / bar, true
	case "≥":
		return (*c.Measured - bar) / bar, true
	}
	return 0, false
}

// ExitCode is the exit code that a run deserves. A failure outweighs an abort, which may
// have kept others from being judged, and that what is invalid: both are conclusions. That
// of a run without its faults is its own, whatever came of it.
func (s *Summary) ExitCode() int {
	if s.Control != "" {
		return ExitControl
	}
	count := map[Verdict]int{}
	for _, sc := range s.Scenarios {
		for _, c := range sc.Criteria {
			count[c.Verdict]++
		}
	}
	switch {
	case count[Failed] > 0:
		return ExitFailed
	case count[Aborted] > 0, s.aborted():
		return ExitAborted
	case count[Invalid] > 0, len(count) == 0:
		return ExitInvalid
	case len(s.Cleanup) > 0:
		return ExitFailed
	}
	return ExitPassed
}

// aborted reports whether a scenario was, also where all its criteria had been judged.
func (s *Summary) aborted() bool {
	return slices.ContainsFunc(s.Scenarios, func(sc Scenario) bool { return sc.Aborted != nil })
}

// Ran notes in which lane a scenario ran, and when.
func (s *Summary) Ran(name string, lane int, began, ended time.Time) {
	began, ended = began.UTC(), ended.UTC()
	sc := s.scenario(name)
	sc.Lane, sc.Began, sc.Ended = lane, &began, &ended
}
