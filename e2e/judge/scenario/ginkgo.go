package scenario

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Conclusive ends the spec if err is not nil. An InvalidError ends it as
// invalid: nothing can be concluded, neither good nor bad.
func Conclusive(err error) {
	ginkgo.GinkgoHelper()
	if err == nil {
		return
	}
	var i *InvalidError
	if errors.As(err, &i) {
		ginkgo.AddReportEntry(report.EntryInvalid, i.Reason, ginkgo.ReportEntryVisibilityNever)
		ginkgo.Fail("invalid, nothing can be concluded: " + i.Reason)
	}
	ginkgo.Fail(err.Error())
}

// Invalidate ends the spec as invalid.
func Invalidate(format string, args ...any) {
	ginkgo.GinkgoHelper()
	Conclusive(&InvalidError{Reason: fmt.Sprintf(format, args...)})
}

// JudgeTime holds the slowest of several reactions against a bar, and keeps
// all of them as evidence.
func JudgeTime(what string, r Reactions, bar time.Duration) {
	ginkgo.GinkgoHelper()
	who, took := r.Worst()
	ginkgo.AddReportEntry(what, r, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	ginkgo.AddReportEntry(report.EntryMeasurement, report.Measurement{
		Expected: fmt.Sprintf("≤ %g", bar.Seconds()), Measured: took.Seconds(), Unit: "s",
	}, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	if len(r) == 0 {
		ginkgo.Fail(what + ": nothing was measured")
	}
	if took > bar {
		ginkgo.Fail(fmt.Sprintf("%s: %s took %v, at most %v is allowed", what, who, took.Round(time.Millisecond), bar))
	}
}

// Measured reports a time that no bar is set for.
func Measured(what string, took time.Duration) {
	ginkgo.GinkgoHelper()
	ginkgo.AddReportEntry(what, took, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	ginkgo.AddReportEntry(report.EntryMeasurement, report.Measurement{
		Expected: "yes", Measured: took.Seconds(), Unit: "s",
	}, ginkgo.ReportEntryVisibilityFailureOrVerbose)
}

// JudgeLeast holds what each of several, nodes mostly, reached against a bar,
// the least of them counting.
func JudgeLeast(what string, reached map[string]float64, bar float64, unit string) {
	ginkgo.GinkgoHelper()
	who, least := "", 0.0
	for _, name := range slices.Sorted(maps.Keys(reached)) {
		if v := reached[name]; who == "" || v < least {
			who, least = name, v
		}
	}
	ginkgo.AddReportEntry(what, reached, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	ginkgo.AddReportEntry(report.EntryMeasurement, report.Measurement{
		Expected: fmt.Sprintf("≥ %g", bar), Measured: least, Unit: unit,
	}, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	if who == "" {
		ginkgo.Fail(what + ": nothing was measured")
	}
	if least < bar {
		ginkgo.Fail(fmt.Sprintf("%s: %s has %g %s, at least %g is wanted", what, who, least, unit, bar))
	}
}

// JudgeEqual holds what each of several reached against the one right number.
func JudgeEqual(what string, reached map[string]float64, want float64, unit string) {
	ginkgo.GinkgoHelper()
	wrong, measured := "", want
	for _, name := range slices.Sorted(maps.Keys(reached)) {
		if v := reached[name]; v != want && wrong == "" {
			wrong, measured = fmt.Sprintf("%s: %s has %g %s, not %g", what, name, v, unit, want), v
		}
	}
	ginkgo.AddReportEntry(what, reached, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	ginkgo.AddReportEntry(report.EntryMeasurement, report.Measurement{
		Expected: fmt.Sprintf("= %g", want), Measured: measured, Unit: unit,
	}, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	if len(reached) == 0 {
		ginkgo.Fail(what + ": nothing was measured")
	}
	if wrong != "" {
		ginkgo.Fail(wrong)
	}
}

// JudgeNone holds a number of defects against the most that is allowed.
func JudgeNone(what string, defects, most int, unit string, detail any) {
	ginkgo.GinkgoHelper()
	ginkgo.AddReportEntry(report.EntryMeasurement, report.Measurement{
		Expected: fmt.Sprintf("≤ %d", most), Measured: float64(defects), Unit: unit,
	}, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	if defects > most {
		ginkgo.Fail(fmt.Sprintf("%s: %d, at most %d is allowed: %v", what, defects, most, detail))
	}
}

// Phase runs a part of a scenario and reports how long it took.
func Phase(name string, f func() error) error {
	ginkgo.By(name)
	start := time.Now()
	err := f()
	ginkgo.AddReportEntry(report.EntryPhase, report.Phase{Name: name, Seconds: time.Since(start).Seconds()}, ginkgo.ReportEntryVisibilityNever)
	return err
}
