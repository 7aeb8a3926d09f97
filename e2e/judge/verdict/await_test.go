package verdict

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// A wait ends with what its last answer stands for, and at once with a final one.
func TestAwait(t *testing.T) {
	short := Shortf("no incident")
	for name, c := range map[string]struct {
		answers answers
		want    report.Verdict
		asked   int // how many answers are left over at least
	}{
		"at once":                     {answers{{3, nil}}, report.Passed, 0},
		"never":                       {answers{{1, short}}, report.Failed, 0},
		"trouble":                     {answers{{1, errors.New("late")}}, report.Invalid, 0},
		"a final shortfall":           {answers{{1, Final(short)}, {3, nil}}, report.Failed, 1},
		"a final one of no verdict":   {answers{{1, Final(Unproven(short))}, {3, nil}}, report.Invalid, 1},
		"a final one after a first":   {answers{{1, short}, {1, Final(short)}, {3, nil}}, report.Failed, 1},
		"final, and nothing is wrong": {answers{{3, Final(nil)}}, report.Passed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := Await(t.Context(), Poll+Poll/2, c.answers.ask(&watch{ctx: t.Context()}))
			if Of(err) != c.want || err != nil && !strings.Contains(err.Error(), "no incident") && !strings.Contains(err.Error(), "late") {
				t.Errorf("%v, want %s", err, c.want)
			}
			if err == nil && v != 3 {
				t.Errorf("got %d", v)
			}
			if c.asked > 0 && c.answers[0].value != 3 {
				t.Errorf("it was not asked up to the final answer: %v left", c.answers)
			}
			if c.asked > 0 && (len(c.answers) != 1 || v == 3) {
				t.Errorf("it was asked again after a final answer: %d", v)
			}
		})
	}
}

func TestAwaitInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := Await(ctx, time.Minute, func(context.Context) (int, error) {
		cancel(errors.New("SIGINT"))
		return 0, Shortf("no incident")
	})
	if Of(err) != report.Invalid {
		t.Errorf("got %v", err)
	}
}

// What never came missed its bar only if it was waited for longer than the bar.
func TestNever(t *testing.T) {
	const bar = 3 * time.Second
	for waited, want := range map[time.Duration]report.Verdict{
		2 * time.Second: report.Invalid, bar: report.Invalid, bar + time.Millisecond: report.Failed, time.Minute: report.Failed,
	} {
		m, err := never("to react", Shortf("no incident"), waited, bar)
		if Of(err) != want || !strings.Contains(err.Error(), "no incident") {
			t.Errorf("after %v: %v, want %s", waited, err, want)
		}
		if failed := want == report.Failed; failed != (m != nil) || failed && (!m.Never || m.Measured != waited.Seconds() || m.Expected != "≤ 3" || m.Unit != "s") {
			t.Errorf("after %v: measured %+v", waited, m)
		}
	}
}
