package verdict

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Times are how long each of several, nodes or pairs of them, took to react.
type Times map[string]time.Duration

// Worst returns the slowest and who it was.
func (t Times) Worst() (who string, took time.Duration) {
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if who == "" || t[name] > took {
			who, took = name, t[name]
		}
	}
	return who, took
}

func (t Times) String() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(t)) {
		lines = append(lines, fmt.Sprintf("%s %v", name, t[name].Round(time.Millisecond)))
	}
	return strings.Join(lines, "\n")
}

// Within holds the slowest of several reactions against a bar. A time is known no
// better than to slack: a reaction that came earlier than that before its cause had
// another cause, so that nothing can be concluded.
func (t Times) Within(what string, bar, slack time.Duration) error {
	if len(t) == 0 {
		return Unproven(Shortf("%s: nothing was measured", what))
	}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if t[name] < -slack {
			return Unproven(Shortf("%s: %s reacted %v before the cause", what, name, (-t[name]).Round(time.Millisecond)))
		}
	}
	if who, took := t.Worst(); took > bar {
		return Shortf("%s: %s took %v, at most %v is allowed", what, who, took.Round(time.Millisecond), bar)
	}
	return nil
}

// Time judges by Times.Within, and keeps what was measured.
func Time(what string, t Times, bar, slack time.Duration) {
	ginkgo.GinkgoHelper()
	_, took := t.Worst()
	ginkgo.AddReportEntry(what, t, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	measured(fmt.Sprintf("≤ %g", bar.Seconds()), took.Seconds(), "s")
	Must(t.Within(what, bar, slack))
}

// Measured reports a time that no bar is set for.
func Measured(what string, took time.Duration) {
	ginkgo.GinkgoHelper()
	ginkgo.AddReportEntry(what, took, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	measured("yes", took.Seconds(), "s")
}

// Amounts are how much each of several, nodes mostly, reached.
type Amounts map[string]float64

func (a Amounts) String() string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		lines = append(lines, fmt.Sprintf("%s %.4g", name, a[name]))
	}
	return strings.Join(lines, "\n")
}

// MarshalJSON writes what JSON has no number for, such as NaN, as text: an entry that
// cannot be encoded would cost the whole report.
func (a Amounts) MarshalJSON() ([]byte, error) {
	out := map[string]any{}
	for name, v := range a {
		if out[name] = v; math.IsNaN(v) || math.IsInf(v, 0) {
			out[name] = fmt.Sprint(v)
		}
	}
	return json.Marshal(out)
}

// AtLeast holds what each of several, nodes mostly, reached against a bar, the least of
// them counting.
func AtLeast(what string, reached map[string]float64, bar float64, unit string) {
	ginkgo.GinkgoHelper()
	least, err := atLeast(what, reached, bar, unit)
	ginkgo.AddReportEntry(what, Amounts(reached), ginkgo.ReportEntryVisibilityFailureOrVerbose)
	measured(fmt.Sprintf("≥ %g", bar), least, unit)
	Must(err)
}

func atLeast(what string, reached map[string]float64, bar float64, unit string) (least float64, err error) {
	if err := numbers(what, reached); err != nil {
		return 0, err
	}
	who := ""
	for _, name := range slices.Sorted(maps.Keys(reached)) {
		if v := reached[name]; who == "" || v < least {
			who, least = name, v
		}
	}
	if least < bar {
		err = Shortf("%s: %s has %g %s, at least %g is wanted", what, who, least, unit, bar)
	}
	return least, err
}

// Equal holds what each of several reached against the one right number.
func Equal(what string, reached map[string]float64, want float64, unit string) {
	ginkgo.GinkgoHelper()
	got, err := equal(what, reached, want, unit)
	ginkgo.AddReportEntry(what, Amounts(reached), ginkgo.ReportEntryVisibilityFailureOrVerbose)
	measured(fmt.Sprintf("= %g", want), got, unit)
	Must(err)
}

func equal(what string, reached map[string]float64, want float64, unit string) (got float64, err error) {
	if err := numbers(what, reached); err != nil {
		return 0, err
	}
	for _, name := range slices.Sorted(maps.Keys(reached)) {
		if v := reached[name]; v != want {
			return v, Shortf("%s: %s has %g %s, not %g", what, name, v, unit, want)
		}
	}
	return want, nil
}

// numbers checks that something was measured, and of each of several: NaN is no answer.
func numbers(what string, reached map[string]float64) error {
	for _, name := range slices.Sorted(maps.Keys(reached)) {
		if math.IsNaN(reached[name]) || math.IsInf(reached[name], 0) {
			return Unproven(Shortf("%s: what %s has is not a number", what, name))
		}
	}
	if len(reached) == 0 {
		return Unproven(Shortf("%s: nothing was measured", what))
	}
	return nil
}

// None holds a number of defects against the most that is allowed.
func None(what string, defects, most int, unit string, detail any) {
	ginkgo.GinkgoHelper()
	measured(fmt.Sprintf("≤ %d", most), float64(defects), unit)
	if defects > most {
		Must(Shortf("%s: %d, at most %d is allowed: %v", what, defects, most, detail))
	}
}

// Bar reports a bar that the growth of a metric in each pod is held against, counted from the fault, in
// the metric's own unit: the report draws it into the metric's chart. It judges nothing.
func Bar(metric string, labels map[string]string, relation string, bar float64) {
	ginkgo.AddReportEntry(report.EntryBar, report.Bar{Metric: metric, Labels: labels, Expected: fmt.Sprintf("%s %g", relation, bar)}, ginkgo.ReportEntryVisibilityNever)
}

// Yes judges what holds or not: the error says what is missing.
func Yes(err error) {
	ginkgo.GinkgoHelper()
	v := 1.0
	if err != nil {
		v = 0
	}
	measured("yes", v, "")
	Must(err)
}

func measured(expected string, value float64, unit string) {
	ginkgo.GinkgoHelper()
	ginkgo.AddReportEntry(report.EntryMeasurement, report.Measurement{
		Expected: expected, Measured: value, Unit: unit,
	}, ginkgo.ReportEntryVisibilityFailureOrVerbose)
}

// Phase runs a part of a scenario and reports how long it took.
func Phase(name string, f func() error) error {
	ginkgo.By(name)
	start := time.Now()
	err := f()
	ginkgo.AddReportEntry(report.EntryPhase, report.Phase{Name: name, Seconds: time.Since(start).Seconds()}, ginkgo.ReportEntryVisibilityNever)
	return err
}
