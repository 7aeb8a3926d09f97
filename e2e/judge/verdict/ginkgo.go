package verdict

import (
	"context"
	"errors"
	"time"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// Poll is the time between two questions.
const Poll = 500 * time.Millisecond

// Must ends the spec if err is not nil, with the verdict that err stands for.
func Must(err error) {
	ginkgo.GinkgoHelper()
	switch Of(err) {
	case report.Passed:
	case report.Failed:
		ginkgo.Fail(err.Error())
	case report.NotSupported:
		ginkgo.AddReportEntry(report.EntryNotSupported, err.Error(), ginkgo.ReportEntryVisibilityNever)
		ginkgo.Skip(err.Error())
	default:
		ginkgo.AddReportEntry(report.EntryInvalid, report.Reason{Why: err.Error()}, ginkgo.ReportEntryVisibilityNever)
		ginkgo.Fail("invalid, nothing can be concluded: " + err.Error())
	}
}

// Invalidf ends the spec as invalid.
func Invalidf(format string, args ...any) {
	ginkgo.GinkgoHelper()
	Must(Unproven(Shortf(format, args...)))
}

// Eventually is gomega's, asking every Poll. At its deadline the last answer decides: a
// value that does not match has failed, an error is the verdict that it stands for.
func Eventually[T any](ctx context.Context, ask func(context.Context) (T, error)) gomega.AsyncAssertion {
	ginkgo.GinkgoHelper()
	w := &watch{ctx: ctx}
	return w.gomega().Eventually(ctx, func(ctx context.Context) (T, error) {
		v, err := ask(ctx)
		w.note(ctx, err)
		return v, err
	}).WithPolling(Poll)
}

// EventuallyHolds is Eventually for a question whose answer is an error or none.
func EventuallyHolds(ctx context.Context, within time.Duration, ask func(context.Context) error) {
	ginkgo.GinkgoHelper()
	Must(awaitHolds(ctx, within, ask))
}

// awaitHolds is Await for such a question.
func awaitHolds(ctx context.Context, within time.Duration, ask func(context.Context) error) error {
	_, err := Await(ctx, within, func(ctx context.Context) (struct{}, error) { return struct{}{}, ask(ctx) })
	return err
}

// Await is Eventually for a question that answers with an error until its value is as
// wanted. It ends no spec, but returns the last value and the error that the end stands for.
func Await[T any](ctx context.Context, within time.Duration, ask func(context.Context) (T, error)) (v T, err error) {
	w := &watch{ctx: ctx}
	g := gomega.NewGomega(func(message string, _ ...int) { err = w.verdict(message) })
	g.Eventually(ctx, func(ctx context.Context) error {
		var e error
		v, e = ask(ctx)
		w.note(ctx, e)
		if IsFinal(e) {
			return gomega.StopTrying(e.Error())
		}
		return e
	}).WithPolling(Poll).WithTimeout(within).Should(gomega.Succeed())
	return v, err
}

// final is an answer that stays as it is, however long it is asked for again.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }

// Final marks an error as an answer that no later one will replace, so that nobody waits for
// one; nil stays nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &final{err}
}

// IsFinal reports whether an error is marked so.
func IsFinal(err error) bool {
	_, ok := errors.AsType[*final](err)
	return ok
}

// Consistently is gomega's, asking every Poll. A question that is not answered is asked
// again until patience is over.
func Consistently[T any](ctx context.Context, patience time.Duration, ask func(context.Context) (T, error)) gomega.AsyncAssertion {
	ginkgo.GinkgoHelper()
	w := &watch{ctx: ctx}
	return w.gomega().Consistently(ctx, func(ctx context.Context) (T, error) {
		v, err := Ask(ctx, patience, ask)
		w.note(ctx, err)
		return v, err
	}).WithPolling(Poll)
}

// watch keeps the last answer of a question that is asked again and again.
type watch struct {
	ctx   context.Context
	asked bool
	last  error
}

// note keeps an answer. One that only says that the time is up does not replace another.
func (w *watch) note(ctx context.Context, err error) {
	if ctx.Err() != nil && w.asked {
		return
	}
	w.asked, w.last = true, err
}

// gomega returns assertions that end the spec by the last answer.
func (w *watch) gomega() gomega.Gomega {
	return gomega.NewGomega(func(message string, skip ...int) {
		ginkgo.GinkgoHelper()
		Must(w.verdict(message))
	})
}

// verdict returns the error that an assertion which did not hold stands for.
func (w *watch) verdict(message string) error {
	switch {
	case w.ctx.Err() != nil:
		return Unproven(Shortf("interrupted: %v", context.Cause(w.ctx)))
	case !w.asked:
		return Unproven(Shortf("was never asked: %s", message))
	case Of(w.last) == report.Passed, Of(w.last) == report.Failed:
		return &Shortfall{What: message}
	}
	return w.last
}

// Ask asks until there is an answer, which may be a shortfall, for patience at most. In
// the end it returns the last error.
func Ask[T any](ctx context.Context, patience time.Duration, ask func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w := &watch{ctx: ctx}
	for {
		v, err := ask(ctx)
		w.note(ctx, err)
		if verdict := Of(err); verdict == report.Passed || verdict == report.Failed {
			return v, err
		}
		t := time.NewTimer(Poll)
		select {
		case <-ctx.Done():
			t.Stop()
			return v, w.last
		case <-t.C:
		}
	}
}
