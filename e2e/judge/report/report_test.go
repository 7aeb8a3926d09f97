package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/onsi/ginkgo/v2/reporters"
	"github.com/onsi/ginkgo/v2/types"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func entry(name string, value any) types.ReportEntry {
	return types.ReportEntry{Name: name, Value: types.WrapEntryValue(value)}
}

func spec(id string, state types.SpecState, entries ...types.ReportEntry) types.SpecReport {
	return types.SpecReport{
		ContainerHierarchyTexts:  []string{"Scenario 1: network partition"},
		ContainerHierarchyLabels: [][]string{{"network-partition"}},
		LeafNodeType:             types.NodeTypeIt, LeafNodeText: id + " holds", LeafNodeLabels: []string{id},
		State: state, RunTime: 2 * time.Second, ReportEntries: entries,
	}
}

func fails(s types.SpecReport, node types.NodeType, message string) types.SpecReport {
	if s.State == types.SpecStatePassed {
		s.State = types.SpecStateFailed
	}
	s.Failure = types.Failure{Message: message, FailureNodeType: node}
	return s
}

// build makes a summary of specs that were all selected.
func build(specs ...types.SpecReport) *Summary {
	s := &Summary{Version: Version, Started: epoch}
	s.Build(types.Report{SpecReports: specs}, specs)
	return s
}

func TestVerdicts(t *testing.T) {
	measurement := Measurement{Expected: "≤ 2", Measured: 0.5, Unit: "s"}
	cases := map[string]struct {
		spec    types.SpecReport
		verdict Verdict
		cause   Cause
		detail  string
		exit    int
		cleanup int
	}{
		"passed":                {spec: spec("S1.1", types.SpecStatePassed, entry(EntryMeasurement, measurement)), verdict: Passed},
		"failed":                {spec: fails(spec("S1.1", types.SpecStateFailed), types.NodeTypeIt, "too\n    slow\n"), verdict: Failed, detail: "too slow", exit: 1},
		"panicked":              {spec: fails(spec("S1.1", types.SpecStatePanicked), types.NodeTypeIt, "boom"), verdict: Failed, detail: "boom", exit: 1},
		"took too long":         {spec: fails(spec("S1.1", types.SpecStateTimedout), types.NodeTypeIt, "a node timeout"), verdict: Failed, detail: "a node timeout", exit: 1},
		"the fault did nothing": {spec: fails(spec("S1.1", types.SpecStateFailed, entry(EntryInvalid, Reason{Why: "does not bite"})), types.NodeTypeBeforeAll, "invalid"), verdict: Invalid, detail: "does not bite", exit: 3},
		"set-up failed":         {spec: fails(spec("S1.1", types.SpecStateFailed), types.NodeTypeBeforeAll, "no such image"), verdict: Invalid, detail: "set-up of the scenario failed: no such image", exit: 3},
		"interrupted":           {spec: fails(spec("S1.1", types.SpecStateInterrupted), types.NodeTypeIt, "SIGINT"), verdict: Invalid, cause: CauseInterrupted, detail: "interrupted", exit: 3},
		"not supported":         {spec: spec("S1.1", types.SpecStateSkipped, entry(EntryNotSupported, "no sch_netem")), verdict: NotSupported, detail: "no sch_netem"},
		"skipped":               {spec: spec("S1.1", types.SpecStateSkipped), verdict: Invalid, cause: CauseUnjudged, detail: "not judged: the run ended before", exit: 3},
		"too busy":              {spec: fails(spec("S1.1", types.SpecStateFailed, entry(EntryInvalid, Reason{Why: "stalled", Cause: CauseBusy})), types.NodeTypeIt, "late"), verdict: Invalid, cause: CauseBusy, detail: "stalled", exit: 3},
		"busy, in words alone":  {spec: fails(spec("S1.1", types.SpecStateFailed, entry(EntryInvalid, Reason{Why: "the machine was too busy"})), types.NodeTypeIt, "late"), verdict: Invalid, detail: "the machine was too busy", exit: 3},
		"cleanup failed":        {spec: fails(spec("S1.1", types.SpecStatePassed), types.NodeTypeCleanupAfterAll, "namespace stays"), verdict: Passed, exit: 1, cleanup: 1},
		"cleanup said so":       {spec: spec("S1.1", types.SpecStatePassed, entry(EntryCleanup, "namespace stays")), verdict: Passed, exit: 1, cleanup: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := build(c.spec)
			if len(s.Scenarios) != 1 || len(s.Scenarios[0].Criteria) != 1 {
				t.Fatalf("got %+v", s.Scenarios)
			}
			got := s.Scenarios[0].Criteria[0]
			if got.ID != "S1.1" || got.Verdict != c.verdict || got.Cause != c.cause || got.Detail != c.detail {
				t.Errorf("got %s %q %q, %q; want %q %q, %q", got.ID, got.Verdict, got.Cause, got.Detail, c.verdict, c.cause, c.detail)
			}
			if s.ExitCode() != c.exit {
				t.Errorf("exit code %d, want %d", s.ExitCode(), c.exit)
			}
			if len(s.Cleanup) != c.cleanup {
				t.Errorf("cleanup %q", s.Cleanup)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	with := func(cleanup bool, verdicts ...Verdict) *Summary {
		s := &Summary{Scenarios: []Scenario{{}}}
		for _, v := range verdicts {
			s.Scenarios[0].Criteria = append(s.Scenarios[0].Criteria, Criterion{Verdict: v})
		}
		if cleanup {
			s.Cleanup = []string{"x"}
		}
		return s
	}
	cases := []struct {
		s    *Summary
		want int
	}{
		{with(false, Passed, Passed), ExitPassed},
		{with(false, Passed, NotSupported), ExitPassed},
		{with(false, Passed, Failed), ExitFailed},
		{with(false, Failed, Invalid), ExitFailed},
		{with(false, Passed, Invalid), ExitInvalid},
		{with(false), ExitInvalid}, // nothing was judged at all
		{with(true, Passed), ExitFailed},
		{with(true, Invalid), ExitInvalid},
	}
	for _, c := range cases {
		if got := c.s.ExitCode(); got != c.want {
			t.Errorf("%+v: got %d, want %d", c.s, got, c.want)
		}
	}
}

func TestInvalidSetUpHoldsForTheWholeScenario(t *testing.T) {
	s := build(
		fails(spec("S1.1", types.SpecStateFailed, entry(EntryInvalid, Reason{Why: "does not bite", Cause: CauseBusy})), types.NodeTypeBeforeAll, "invalid"),
		fails(spec("S1.2", types.SpecStateSkipped), types.NodeTypeIt, "an earlier spec failed"),
	)
	for _, c := range s.Scenarios[0].Criteria {
		if c.Verdict != Invalid || c.Cause != CauseBusy || c.Detail != "does not bite" {
			t.Errorf("%s: %s (%s), %s", c.ID, c.Verdict, c.Cause, c.Detail)
		}
	}
}

// What was judged keeps its own reason, whatever its words are.
func TestAReasonOfItsOwn(t *testing.T) {
	const own = "not judged: by anybody"
	s := build(
		fails(spec("S1.1", types.SpecStateFailed, entry(EntryInvalid, Reason{Why: "does not bite"})), types.NodeTypeIt, "invalid"),
		fails(spec("S1.2", types.SpecStateFailed, entry(EntryInvalid, Reason{Why: own})), types.NodeTypeIt, "invalid"),
	)
	if c := s.Scenarios[0].Criteria[1]; c.Detail != own {
		t.Errorf("%s: %s", c.ID, c.Detail)
	}
}

func TestUnsupportedSetUpHoldsForTheWholeScenario(t *testing.T) {
	const said = "Spec skipped because Skip() was called in BeforeAll" // by Ginkgo
	s := build(
		spec("S1.1", types.SpecStateSkipped, entry(EntryNotSupported, "no IPv4")),
		fails(spec("S1.2", types.SpecStateSkipped), types.NodeTypeIt, said),
	)
	for _, c := range s.Scenarios[0].Criteria {
		if c.Verdict != NotSupported || c.Cause != "" || c.Detail != "no IPv4" {
			t.Errorf("%s: %s (%s), %s", c.ID, c.Verdict, c.Cause, c.Detail)
		}
	}
	// One that the run did not get to is another matter, and so is one whose set-up was skipped for no reason.
	for name, s := range map[string]*Summary{
		"interrupted": build(spec("S1.1", types.SpecStateSkipped, entry(EntryNotSupported, "no IPv4")), fails(spec("S1.2", types.SpecStateSkipped), types.NodeTypeIt, "")),
		"no reason":   build(spec("S1.1", types.SpecStateSkipped), fails(spec("S1.2", types.SpecStateSkipped), types.NodeTypeIt, said)),
	} {
		if c := s.Scenarios[0].Criteria[1]; c.Verdict != Invalid {
			t.Errorf("%s: %s, %s", name, c.Verdict, c.Detail)
		}
	}
}

func TestFailedSetUpOfTheSuite(t *testing.T) {
	s := &Summary{}
	s.Build(types.Report{SpecReports: types.SpecReports{
		fails(types.SpecReport{LeafNodeType: types.NodeTypeBeforeSuite, State: types.SpecStateFailed}, types.NodeTypeBeforeSuite, "no engine"),
	}}, []types.SpecReport{spec("S1.1", types.SpecStatePassed), spec("S1.2", types.SpecStatePassed)})
	if len(s.Scenarios) != 1 || len(s.Scenarios[0].Criteria) != 2 {
		t.Fatalf("got %+v", s.Scenarios)
	}
	for _, c := range s.Scenarios[0].Criteria {
		if c.Verdict != Invalid || c.Detail != "set-up failed: no engine" {
			t.Errorf("%s: %s, %s", c.ID, c.Verdict, c.Detail)
		}
	}
	if s.ExitCode() != ExitInvalid {
		t.Errorf("exit code %d", s.ExitCode())
	}
}

func TestOnlySelectedSpecsCount(t *testing.T) {
	s := &Summary{}
	s.Build(types.Report{SpecReports: types.SpecReports{spec("S1.1", types.SpecStatePassed), spec("S1.2", types.SpecStateSkipped)}},
		[]types.SpecReport{spec("S1.1", types.SpecStatePassed)})
	if len(s.Scenarios) != 1 || len(s.Scenarios[0].Criteria) != 1 || s.ExitCode() != ExitPassed {
		t.Fatalf("got %+v", s.Scenarios)
	}
}

// Entries of other Ginkgo processes arrive as JSON.
func TestEntriesSurviveJSON(t *testing.T) {
	fault := Fault{Injected: &epoch}
	before := spec("S1.1", types.SpecStateFailed, entry(EntryMeasurement, Measurement{Expected: "≤ 2", Measured: 0.5, Unit: "s"}),
		entry(EntryFault, fault), entry(EntryPhase, Phase{Name: "inject", Seconds: 3}), entry(EntryInvalid, Reason{Why: "stalled", Cause: CauseBusy}))
	b, err := json.Marshal(before)
	if err != nil {
		t.Fatal(err)
	}
	var after types.SpecReport
	if err := json.Unmarshal(b, &after); err != nil {
		t.Fatal(err)
	}
	for _, r := range []types.SpecReport{before, after} {
		s := build(r)
		c := s.Scenarios[0].Criteria[0]
		if c.Measured == nil || *c.Measured != 0.5 || c.Expected != "≤ 2" || c.Unit != "s" {
			t.Errorf("measurement: %+v", c)
		}
		if c.Verdict != Invalid || c.Cause != CauseBusy || c.Detail != "stalled" {
			t.Errorf("why it is invalid: %+v", c)
		}
		if !reflect.DeepEqual(s.Scenarios[0].Fault, fault) || len(s.Phases) != 1 || s.Phases[0].Seconds != 3 {
			t.Errorf("fault %+v, phases %+v", s.Scenarios[0].Fault, s.Phases)
		}
	}
}

func TestFollowing(t *testing.T) {
	of := func(scenario string) types.SpecReport {
		return types.SpecReport{ContainerHierarchyLabels: [][]string{{scenario, "more"}}}
	}
	run := []types.SpecReport{of("latency"), of("latency"), of("node-crash"), of("pqc-inject")}
	for name, want := range map[string]string{"latency": "node-crash", "node-crash": "pqc-inject", "pqc-inject": "", "more": ""} {
		if got := Following(run, name); got != want {
			t.Errorf("after %s comes %q, not %q", name, want, got)
		}
	}
}

func whole() *Summary {
	s := build(
		spec("S1.1", types.SpecStatePassed, entry(EntryMeasurement, Measurement{Expected: "≤ 2", Measured: 0.75, Unit: "s"}), entry(EntryFault, Fault{Injected: &epoch, Proven: &epoch}),
			entry(EntryBar, Bar{Metric: "m_total", Labels: map[string]string{"type": "x"}, Expected: "= 1"}), entry(EntryBar, Bar{Metric: "n", Expected: "≤ 0"})),
		fails(spec("S1.2", types.SpecStateFailed), types.NodeTypeIt, `routes of <a> & "b"`),
		fails(spec("S1.4", types.SpecStateInterrupted), types.NodeTypeIt, ""),
		spec("S4.1", types.SpecStateSkipped, entry(EntryNotSupported, "no sch_netem")),
		spec("F1", types.SpecStatePassed, entry(EntryCleanup, "namespace stays")),
		spec("A1", types.SpecStatePassed, entry(EntryCleanup, "cluster stays"), entry("times", "a 1s\nb 2s"), entry(EntryQueries, []string{`up{pod="a"} @ 1`})),
	)
	s.Profile, s.Mapek, s.WallSeconds, s.Machine = "quick", "on", 60, Machine{Cores: 2, Memory: 1 << 34, Kernel: "6.1"}
	s.Images = []Image{{Name: "x0tta6bl4/probe:dev", Digest: "sha256:0", Source: "built"}}
	return s
}

func TestWrite(t *testing.T) {
	root := filepath.Join(t.TempDir(), "artifacts")
	dir, err := NewDir(root, epoch)
	if err != nil {
		t.Fatal(err)
	}
	s := whole()
	again := s.Scenarios[0] // most scenarios have an F1
	again.Name = "latency"
	s.Scenarios = append(s.Scenarios, again)
	if err := Write(dir, s, types.Report{SuiteDescription: "x"}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(root, latest, "summary.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Summary
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if again, err := json.MarshalIndent(back.filled(), "", "  "); err != nil || string(again)+"\n" != string(b) {
		t.Errorf("does not survive a round trip: %v\n%s\n%s", err, b, again)
	}
	if bars := back.Scenarios[0].Criteria[0].Bars; len(bars) != 2 || bars[0].Labels["type"] != "x" || bars[1].Expected != "≤ 0" {
		t.Errorf("bars: %+v", bars)
	}
	if seen := back.Scenarios[0].Criteria[0].Observed; len(seen) > 0 {
		t.Errorf("a bar is among what was observed: %v", seen)
	}
	b, err = os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var j reporters.JUnitTestSuites
	if err := xml.Unmarshal(b, &j); err != nil {
		t.Fatal(err)
	}
	if len(j.TestSuites) != 3 || j.Tests != 14 || j.Failures != 2 || j.Errors != 4 || j.TestSuites[0].Skipped != 1 {
		t.Errorf("suites %d, tests %d, failures %d, errors %d", len(j.TestSuites), j.Tests, j.Failures, j.Errors)
	}
	for i, id := range []string{"S1.1", "S1.2", "S1.4", "S4.1", "F1"} {
		if name := j.TestSuites[0].TestCases[i].Name; !strings.HasPrefix(name, id+" ") {
			t.Errorf("case %d is %q, not of %s", i, name, id)
		}
	}
	names := map[string]bool{}
	for _, suite := range j.TestSuites {
		for _, c := range suite.TestCases {
			if names[c.Name] {
				t.Errorf("two cases are called %q", c.Name)
			}
			names[c.Name] = true
		}
	}
	if f := j.TestSuites[0].TestCases[1].Failure; f == nil || f.Message != `routes of <a> & "b"` {
		t.Errorf("failure %+v", f)
	}
	if _, err := os.Stat(filepath.Join(dir, "ginkgo.json")); err != nil {
		t.Error(err)
	}
}

func TestNewDirTwiceInOneSecond(t *testing.T) {
	root := t.TempDir()
	first, err := NewDir(root, epoch)
	if err != nil {
		t.Fatal(err)
	}
	second, err := NewDir(root, epoch)
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Fatal("the second run writes over the first")
	}
	if to, err := os.Readlink(filepath.Join(root, latest)); err != nil || to != filepath.Base(second) {
		t.Fatalf("latest points to %s, %v", to, err)
	}
	left, err := filepath.Glob(filepath.Join(root, ".*"))
	if err != nil || len(left) != 0 {
		t.Fatalf("left %v, %v", left, err)
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	s := whole()
	s.Phases = []Phase{{Name: "create cluster", Seconds: 41.25}}
	if err := Table(&b, s, "/somewhere"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"S1.1       passed         ≤ 2       0.75", "S1.2 failed: routes of <a>", "S1.4 invalid: interrupted", "S4.1 not supported: no sch_netem",
		"cleanup failed: namespace stays", "create cluster", "41.2", "x0tta6bl4/probe:dev", "built", "artifacts: /somewhere",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

func TestThisMachine(t *testing.T) {
	m, err := ThisMachine()
	if err != nil || m.Cores < 1 || m.Memory < 1<<28 || m.Kernel == "" {
		t.Fatalf("got %+v, %v", m, err)
	}
}

// The exit code is never better than Ginkgo's.
func TestExit(t *testing.T) {
	for _, c := range []struct{ verdicts, ginkgo, want int }{
		{ExitPassed, 0, ExitPassed},
		{ExitPassed, 1, ExitFailed},
		{ExitPassed, 2, ExitFailed},
		{ExitFailed, 0, ExitFailed},
		{ExitFailed, 1, ExitFailed},
		{ExitInvalid, 1, ExitInvalid},
		{ExitInvalid, 0, ExitInvalid},
		{ExitControl, 0, ExitControl},
		{ExitControl, 1, ExitControl},
	} {
		if got := Exit(c.verdicts, c.ginkgo); got != c.want {
			t.Errorf("verdicts %d, Ginkgo %d: got %d, want %d", c.verdicts, c.ginkgo, got, c.want)
		}
	}
}

// A spec without a label of its own counts all the same.
func TestASpecWithoutALabelCounts(t *testing.T) {
	bare := fails(spec("S1.9", types.SpecStateFailed), types.NodeTypeIt, "no")
	bare.LeafNodeLabels = nil
	if got := ID(bare); got != "S1.9 holds" {
		t.Errorf("its id is %q", got)
	}
	s := build(spec("S1.1", types.SpecStatePassed), bare)
	if s.ExitCode() != ExitFailed || len(s.Scenarios[0].Criteria) != 2 {
		t.Errorf("exit code %d: %+v", s.ExitCode(), s.Scenarios)
	}
}

// A run without its faults is never green, and says so wherever its headline stands.
func TestAControlIsNeverGreen(t *testing.T) {
	s := build(spec("S1.1", types.SpecStatePassed))
	if s.ExitCode() != ExitPassed {
		t.Fatalf("exit code %d of a run that passed", s.ExitCode())
	}
	s.Control = ControlAbsent
	var table strings.Builder
	if err := Table(&table, s, "dir"); err != nil {
		t.Fatal(err)
	}
	for name, said := range map[string]string{"headline": s.Headline(), "table": table.String(), "Markdown": Markdown(s)} {
		if !strings.Contains(said, "CONTROL, no fault was injected") {
			t.Errorf("the %s does not say that it is a control:\n%s", name, said)
		}
	}
	if s.ExitCode() != ExitControl || Exit(s.ExitCode(), 0) == ExitPassed {
		t.Errorf("exit code %d", s.ExitCode())
	}
}

// What never came is written as longer than the wait.
func TestNever(t *testing.T) {
	never := fails(spec("S1.1", types.SpecStateFailed), types.NodeTypeIt, "no incident")
	never.ReportEntries = append(never.ReportEntries, entry(EntryMeasurement, Measurement{Expected: "≤ 3", Measured: 40, Unit: "s", Never: true}))
	c := build(never).Scenarios[0].Criteria[0]
	if !c.Never || c.Got() != "> 40 s" || !strings.Contains(c.outcome(), "measured > 40 s") {
		t.Errorf("%+v: %s", c, c.Got())
	}
}
