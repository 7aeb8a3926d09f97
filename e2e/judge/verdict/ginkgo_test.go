package verdict

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onsi/gomega"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
)

// judged runs an assertion as verdict's own do, without a spec that it could end, and
// returns the error that it stands for.
func judged(ctx context.Context, assert func(g gomega.Gomega, w *watch)) error {
	var err error
	w := &watch{ctx: ctx}
	assert(gomega.NewGomega(func(message string, _ ...int) { err = w.verdict(message) }), w)
	return err
}

// answers gives one answer after the other, and the last for ever.
type answers []answer

type answer struct {
	value int
	err   error
}

func (a *answers) ask(w *watch) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		now := (*a)[0]
		if len(*a) > 1 {
			*a = (*a)[1:]
		}
		w.note(ctx, now.err)
		return now.value, now.err
	}
}

const tick = 5 * time.Millisecond

// At the deadline the last answer decides.
func TestEventually(t *testing.T) {
	trouble, short := errors.New("lost connection to pod"), Shortf("no incident")
	for name, c := range map[string]struct {
		answers answers
		want    report.Verdict
		says    string
	}{
		"enough at once":                    {answers{{3, nil}}, report.Passed, ""},
		"enough after trouble":              {answers{{0, trouble}, {0, short}, {3, nil}}, report.Passed, ""},
		"a value that stays short":          {answers{{2, nil}}, report.Failed, "to equal"},
		"a shortfall":                       {answers{{0, short}}, report.Failed, "no incident"},
		"trouble":                           {answers{{0, trouble}}, report.Invalid, "lost connection"},
		"short at first, and then trouble":  {answers{{2, nil}, {0, trouble}}, report.Invalid, "lost connection"},
		"trouble at first, and then short":  {answers{{0, trouble}, {2, nil}}, report.Failed, "to equal"},
		"a shortfall that proves nothing":   {answers{{0, Unproven(short)}}, report.Invalid, "no incident"},
		"what this cluster does not have":   {answers{{0, &NotSupported{Why: "no netem"}}}, report.NotSupported, "no netem"},
		"what cannot be had, after a value": {answers{{2, nil}, {0, &NotSupported{Why: "no netem"}}}, report.NotSupported, "no netem"},
	} {
		t.Run(name, func(t *testing.T) {
			err := judged(t.Context(), func(g gomega.Gomega, w *watch) {
				g.Eventually(t.Context(), c.answers.ask(w)).WithPolling(tick).WithTimeout(20 * tick).Should(gomega.Equal(3))
			})
			if Of(err) != c.want || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s, %q", err, c.want, c.says)
			}
		})
	}
}

func TestConsistently(t *testing.T) {
	for name, c := range map[string]struct {
		answers answers
		want    report.Verdict
	}{
		"it holds":             {answers{{3, nil}}, report.Passed},
		"it does not":          {answers{{3, nil}, {4, nil}}, report.Failed},
		"it cannot be seen":    {answers{{3, nil}, {0, errors.New("late")}}, report.Invalid},
		"a shortfall is seen":  {answers{{3, nil}, {0, Shortf("an alert")}}, report.Failed},
		"it never can be seen": {answers{{0, errors.New("late")}}, report.Invalid},
	} {
		err := judged(t.Context(), func(g gomega.Gomega, w *watch) {
			g.Consistently(t.Context(), c.answers.ask(w)).WithPolling(tick).WithTimeout(10 * tick).Should(gomega.Equal(3))
		})
		if Of(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// An interrupt in the middle of a question is no failure, whatever was known until then.
func TestInterrupted(t *testing.T) {
	for name, before := range map[string]error{"a value that is short": nil, "a shortfall": Shortf("no incident"), "trouble": errors.New("late")} {
		ctx, cancel := context.WithCancelCause(t.Context())
		err := judged(ctx, func(g gomega.Gomega, w *watch) {
			g.Eventually(ctx, func(ctx context.Context) (int, error) {
				w.note(ctx, before)
				cancel(errors.New("SIGINT"))
				return 2, before
			}).WithPolling(tick).WithTimeout(time.Minute).Should(gomega.Equal(3))
		})
		if Of(err) != report.Invalid || !strings.Contains(err.Error(), "interrupted: SIGINT") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNeverAsked(t *testing.T) {
	if err := (&watch{ctx: t.Context()}).verdict("no answer"); Of(err) != report.Invalid {
		t.Errorf("got %v", err)
	}
}

// What only says that the time is up hides no earlier answer.
func TestNoteKeepsTheLastRealAnswer(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	w := &watch{ctx: t.Context()}
	w.note(over, context.Canceled)
	if !errors.Is(w.last, context.Canceled) {
		t.Errorf("the only answer is not kept: %v", w.last)
	}
	short := Shortf("no incident")
	w.note(t.Context(), short)
	w.note(over, context.Canceled)
	if w.last != short {
		t.Errorf("kept %v", w.last)
	}
}

func TestAsk(t *testing.T) {
	short := Shortf("no incident")
	for name, c := range map[string]struct {
		answers answers
		value   int
		want    report.Verdict
		says    string
	}{
		"a value":                           {answers{{3, nil}}, 3, report.Passed, ""},
		"a shortfall is an answer":          {answers{{0, short}, {3, nil}}, 0, report.Failed, "no incident"},
		"trouble is none: asked again":      {answers{{0, errors.New("late")}, {3, nil}}, 3, report.Passed, ""},
		"and may end in a shortfall":        {answers{{0, errors.New("late")}, {0, short}}, 0, report.Failed, "no incident"},
		"nor is what proves nothing":        {answers{{0, Unproven(short)}, {3, nil}}, 3, report.Passed, ""},
		"trouble up to the deadline":        {answers{{0, errors.New("late")}}, 0, report.Invalid, "late"},
		"the last of several kinds, at end": {answers{{0, errors.New("late")}, {0, errors.New("later")}}, 0, report.Invalid, "later"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := Ask(t.Context(), Poll+Poll/2, c.answers.ask(&watch{ctx: t.Context()}))
			if v != c.value || Of(err) != c.want || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, %v, want %d, %s, %q", v, err, c.value, c.want, c.says)
			}
		})
	}
}

// A question that hangs until its deadline does not hide the answer before.
func TestAskThatHangs(t *testing.T) {
	n := 0
	_, err := Ask(t.Context(), Poll+Poll/2, func(ctx context.Context) (int, error) {
		if n++; n == 1 {
			return 0, errors.New("prometheus is late")
		}
		<-ctx.Done()
		return 0, ctx.Err()
	})
	if Of(err) != report.Invalid || !strings.Contains(err.Error(), "prometheus is late") {
		t.Errorf("got %v", err)
	}
}
