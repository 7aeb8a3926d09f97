package report

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2/types"
)

// Names of the report entries that specs leave for Build.
const (
	EntryMeasurement  = "measurement"
	EntryFault        = "fault"
	EntryInvalid      = "invalid"
	EntryNotSupported = "not supported"
	EntryCleanup      = "cleanup"
	EntryPhase        = "phase"
	EntryQueries      = "queries"
	EntryAborted      = "aborted"
	EntryBar          = "bar"
)

// own are the entries that are told elsewhere than among what was observed.
var own = []string{EntryMeasurement, EntryFault, EntryInvalid, EntryNotSupported, EntryCleanup, EntryPhase, EntryQueries, EntryAborted, EntryBar}

// Measurement is what a criterion's spec measured, whether it was enough or not.
type Measurement struct {
	Expected string  `json:"expected"` // with its relation: "≤ 2"
	Measured float64 `json:"measured"`
	Unit     string  `json:"unit"`
	Never    bool    `json:"never,omitempty"` // see Criterion
}

func (m Measurement) String() string {
	return fmt.Sprintf("measured %s %s, expected %s %s", value(m.Measured, m.Never), m.Unit, m.Expected, m.Unit)
}

// Reason is why nothing can be concluded of a criterion. Cause is empty where that is only words.
type Reason struct {
	Why   string `json:"why"`
	Cause Cause  `json:"cause,omitempty"`
}

// ID returns the criterion that a spec judges: the label of its own. A spec without one
// counts all the same, under its text.
func ID(s types.SpecReport) string {
	if len(s.LeafNodeLabels) > 0 {
		return s.LeafNodeLabels[0]
	}
	return s.LeafNodeText
}

// ScenarioOf returns the name of the scenario that a spec belongs to: the
// first label of its outermost container.
func ScenarioOf(s types.SpecReport) string {
	if len(s.ContainerHierarchyLabels) > 0 && len(s.ContainerHierarchyLabels[0]) > 0 {
		return s.ContainerHierarchyLabels[0][0]
	}
	return strings.Join(s.ContainerHierarchyTexts, " ")
}

// Following returns the scenario whose specs come right after those of another in a
// run, or nothing.
func Following(specs []types.SpecReport, name string) string {
	seen := false
	for _, s := range specs {
		switch {
		case ScenarioOf(s) == name:
			seen = true
		case seen:
			return ScenarioOf(s)
		}
	}
	return ""
}

// Build adds to a summary what Ginkgo reports of the selected specs, which are
// those of a preview: a run whose set-up fails reports no spec at all, and one
// with a filter reports the others as skipped, like specs that could not run.
func (s *Summary) Build(r types.Report, selected []types.SpecReport) {
	setUp := setUpFailure(r)
	aborted := map[string]Abort{}
	ran := map[string]types.SpecReport{}
	for _, spec := range r.SpecReports {
		s.takeEntries(spec)
		for _, e := range spec.ReportEntries {
			var a Abort
			if e.Name == EntryAborted && decode(e, &a) {
				aborted[ScenarioOf(spec)] = a
			}
		}
		s.Cleanup = append(s.Cleanup, cleanupFailures(spec)...)
		ran[spec.FullText()] = spec
	}
	for _, preview := range selected {
		spec, ok := ran[preview.FullText()]
		if !ok {
			spec = preview
			spec.State = types.SpecStateSkipped
		}
		c := judge(spec, setUp)
		c.ID, c.Seconds = ID(preview), spec.RunTime.Seconds()
		c.Text = strings.TrimSpace(strings.TrimPrefix(spec.LeafNodeText, c.ID))
		if !spec.StartTime.IsZero() {
			started := spec.StartTime.UTC()
			c.Started = &started
		}
		c.file, c.line = inRepository(spec.LeafNodeLocation.FileName), spec.LeafNodeLocation.LineNumber
		sc := s.scenario(ScenarioOf(spec))
		sc.Criteria = append(sc.Criteria, c)
	}
	// What made a scenario's set-up invalid, or is not supported there, stands with its
	// first spec, and holds for all of them.
	for i := range s.Scenarios {
		sc := &s.Scenarios[i]
		if a, ok := aborted[sc.Name]; ok {
			sc.abort(a)
		}
		shareUnsupported(sc.Criteria)
		shareInvalid(sc.Criteria)
	}
}

// Judge tells a spec's verdict, for who cannot wait for the report of the suite.
func Judge(spec types.SpecReport) Criterion {
	c := judge(spec, "")
	c.ID = ID(spec)
	return c
}

func (s *Summary) scenario(name string) *Scenario {
	for i := range s.Scenarios {
		if s.Scenarios[i].Name == name {
			return &s.Scenarios[i]
		}
	}
	s.Scenarios = append(s.Scenarios, Scenario{Name: name})
	return &s.Scenarios[len(s.Scenarios)-1]
}

// takeEntries takes from a spec, or from a node of the suite, what is not about
// one criterion.
func (s *Summary) takeEntries(spec types.SpecReport) {
	for _, e := range spec.ReportEntries {
		switch e.Name {
		case EntryFault:
			var f Fault
			if decode(e, &f) {
				s.scenario(ScenarioOf(spec)).Fault = f
			}
		case EntryCleanup:
			var what string
			if decode(e, &what) {
				s.Cleanup = append(s.Cleanup, what)
			}
		case EntryPhase:
			var p Phase
			if decode(e, &p) {
				s.Phases = append(s.Phases, p)
			}
		}
	}
}

// decode reads an entry's value, which is itself in the process that made it
// and JSON in any other.
func decode[T any](e types.ReportEntry, v *T) bool {
	if same, ok := e.GetRawValue().(T); ok {
		*v = same
		return true
	}
	b, err := json.Marshal(e.GetRawValue())
	return err == nil && json.Unmarshal(b, v) == nil
}

// setUpFailure returns why the suite's own set-up failed, or nothing.
func setUpFailure(r types.Report) string {
	for _, spec := range r.SpecReports {
		if spec.LeafNodeType.Is(types.NodeTypeBeforeSuite|types.NodeTypeSynchronizedBeforeSuite) && spec.Failed() {
			return "set-up failed: " + brief(spec.Failure.Message)
		}
	}
	return ""
}

const cleanupNodes = types.NodeTypeAfterEach | types.NodeTypeAfterAll | types.NodeTypeJustAfterEach |
	types.NodeTypeCleanupAfterEach | types.NodeTypeCleanupAfterAll

// judge tells a spec's verdict.
func judge(spec types.SpecReport, setUp string) Criterion {
	c := Criterion{}
	var invalid Reason
	var unsupported string
	for _, e := range spec.ReportEntries {
		switch e.Name {
		case EntryMeasurement:
			var m Measurement
			if decode(e, &m) {
				c.Expected, c.Measured, c.Unit, c.Never = m.Expected, &m.Measured, m.Unit, m.Never
			}
		case EntryQueries:
			decode(e, &c.Queries)
		case EntryBar:
			var b Bar
			if decode(e, &b) {
				c.Bars = append(c.Bars, b)
			}
		case EntryInvalid:
			decode(e, &invalid)
		case EntryNotSupported:
			decode(e, &unsupported)
		}
		if !slices.Contains(own, e.Name) {
			c.Observed = append(c.Observed, Observation{Name: e.Name, Value: clip(strings.TrimSpace(e.StringRepresentation()))})
		}
	}
	if c.Measured != nil && (math.IsNaN(*c.Measured) || math.IsInf(*c.Measured, 0)) {
		invalid.Why = orElse(invalid.Why, fmt.Sprintf("what was measured is no number: %v", *c.Measured))
		c.Measured = nil
	}
	message := brief(spec.Failure.Message + " " + spec.Failure.ForwardedPanic)
	switch {
	case spec.State.Is(types.SpecStatePassed) && invalid.Why == "":
		c.Verdict = Passed
	case spec.State.Is(types.SpecStateInterrupted | types.SpecStateAborted):
		c.Verdict, c.Cause, c.Detail = Invalid, CauseInterrupted, "interrupted"
	case invalid.Why != "":
		c.Verdict, c.Cause, c.Detail = Invalid, invalid.Cause, brief(invalid.Why)
	case spec.State.Is(types.SpecStateSkipped) && unsupported != "":
		c.Verdict, c.Detail = NotSupported, unsupported
	case spec.State.Is(types.SpecStateSkipped|types.SpecStatePending) && setUp != "":
		c.Verdict, c.Detail = Invalid, setUp
	case spec.State.Is(types.SpecStateSkipped | types.SpecStatePending):
		c.Verdict, c.Cause, c.Detail = Invalid, CauseUnjudged, "not judged: "+orElse(message, "the run ended before")
	case spec.Failure.FailureNodeType.Is(cleanupNodes):
		c.Verdict = Passed // the spec itself held; cleanupFailures tells the rest
	case spec.Failure.FailureNodeType.Is(types.NodeTypeBeforeAll | types.NodeTypeBeforeEach):
		c.Verdict, c.Detail = Invalid, "set-up of the scenario failed: "+message
	default:
		c.Verdict, c.Detail = Failed, orElse(message, spec.State.String())
	}
	return c
}

// cleanupFailures returns what went wrong while a spec was being cleaned up.
func cleanupFailures(spec types.SpecReport) []string {
	var out []string
	if spec.Failed() && spec.Failure.FailureNodeType.Is(cleanupNodes) {
		out = append(out, brief(spec.Failure.Message))
	}
	for _, f := range spec.AdditionalFailures {
		if f.Failure.FailureNodeType.Is(cleanupNodes) {
			out = append(out, brief(f.Failure.Message))
		}
	}
	return out
}

// skippedSetUp is what Ginkgo says of the specs that follow one whose set-up called Skip.
var skippedSetUp = fmt.Sprintf("Skip() was called in %s", types.NodeTypeBeforeAll)

// shareUnsupported gives the reason of a set-up that is not supported to the specs that were
// not judged because of it.
func shareUnsupported(criteria []Criterion) {
	if len(criteria) == 0 || criteria[0].Verdict != NotSupported {
		return
	}
	for j := range criteria {
		if c := &criteria[j]; c.Cause == CauseUnjudged && strings.Contains(c.Detail, skippedSetUp) {
			c.Verdict, c.Cause, c.Detail = NotSupported, "", criteria[0].Detail
		}
	}
}

// shareInvalid gives the reason of an invalid set-up to the specs that were not
// judged because of it.
func shareInvalid(criteria []Criterion) {
	i := slices.IndexFunc(criteria, func(c Criterion) bool { return c.Verdict == Invalid && c.Cause != CauseUnjudged })
	if i < 0 {
		return
	}
	for j := range criteria {
		if c := &criteria[j]; c.Cause == CauseUnjudged {
			c.Cause, c.Detail = criteria[i].Cause, criteria[i].Detail
		}
	}
}

// maxDetail bounds a detail, in bytes; the whole of it is in ginkgo.json.
const maxDetail = 600

// brief makes one line of a message, which may be Gomega's over many.
func brief(s string) string { return clip(strings.Join(strings.Fields(s), " ")) }

// clip bounds a text to maxDetail.
func clip(s string) string {
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + "…"
	}
	return s
}

// inRepository is the path of a spec's file in the repository: all are in one directory.
func inRepository(file string) string {
	if file == "" {
		return ""
	}
	return "e2e/" + filepath.Base(file)
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
