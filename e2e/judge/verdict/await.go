package verdict

import (
	"context"
	"fmt"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// A criterion that fails must say by how much: one that only says that something did not
// come may never have tried its bar.

// React judges how long each of several took to react, as Time does, of what Reacted gives.
func React(ctx context.Context, what string, within, bar, slack time.Duration, question func(context.Context) (Times, error)) {
	ginkgo.GinkgoHelper()
	Time(what, Reacted(ctx, what, within, bar, question), bar, slack)
}

// Reacted asks until it is known of each of several how long it took to react, for within at
// most. That one has not reacted by then is an answer, too: never, which is longer than the
// bar, as the wait is. It ends the spec, and what is measured is how long was waited.
func Reacted(ctx context.Context, what string, within, bar time.Duration, question func(context.Context) (Times, error)) Times {
	ginkgo.GinkgoHelper()
	began := time.Now()
	t, err := Await(ctx, within, question)
	if Of(err) == report.Failed {
		m, missed := never(what, err, time.Since(began), bar)
		if m != nil {
			ginkgo.AddReportEntry(report.EntryMeasurement, *m, ginkgo.ReportEntryVisibilityFailureOrVerbose)
		}
		err = missed
	}
	Must(err)
	return t
}

// never is the measurement of a reaction that has not come in a time, because of err. Who
// waited no longer than the bar cannot tell: there is none then.
func never(what string, err error, waited, bar time.Duration) (*report.Measurement, error) {
	if waited <= bar {
		return nil, Unproven(Shortf("%s: not within %v, and the bar is %v: %v", what, waited.Round(time.Millisecond), bar, err))
	}
	m := &report.Measurement{Expected: fmt.Sprintf("≤ %g", bar.Seconds()), Measured: waited.Seconds(), Unit: "s", Never: true}
	return m, Shortf("%s: never, after %v: %v", what, waited.Round(time.Millisecond), err)
}

// Reached asks until the least of several, nodes mostly, is at the bar, for within at most.
// If it is not by then, that ends the spec, and what is measured is what it had come to.
// If it is, the criterion's measurement is left to the caller.
func Reached(ctx context.Context, what string, within time.Duration, bar float64, unit string, question func(context.Context) (map[string]float64, error)) map[string]float64 {
	ginkgo.GinkgoHelper()
	reached, err := Await(ctx, within, func(ctx context.Context) (map[string]float64, error) {
		r, err := question(ctx)
		if err == nil {
			_, err = atLeast(what, r, bar, unit)
		}
		return r, err
	})
	if Of(err) == report.Failed && len(reached) > 0 {
		AtLeast(what, reached, bar, unit)
	}
	Must(err)
	ginkgo.AddReportEntry(what, Amounts(reached), ginkgo.ReportEntryVisibilityFailureOrVerbose)
	return reached
}

// Holds asks until something holds, for within at most, and judges by Yes whether it did.
func Holds(ctx context.Context, within time.Duration, ask func(context.Context) error) {
	ginkgo.GinkgoHelper()
	err := awaitHolds(ctx, within, ask)
	if v := Of(err); v == report.Passed || v == report.Failed {
		Yes(err)
	}
	Must(err)
}
