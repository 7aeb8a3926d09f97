package scenario

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
)

const ms = time.Millisecond

func TestBoundOfClocks(t *testing.T) {
	for name, c := range map[string]struct {
		off      map[string]time.Duration
		compared int
		want     time.Duration
		over     string // who, if it is too much
	}{
		"one":                              {map[string]time.Duration{"a": 40 * ms}, 1, 40 * ms, ""},
		"one too many":                     {map[string]time.Duration{"a": 60 * ms}, 1, 60 * ms, "of a and"},
		"the worst of several":             {map[string]time.Duration{"a": 10 * ms, "b": 40 * ms, "c": 30 * ms}, 1, 40 * ms, ""},
		"two, with each other":             {map[string]time.Duration{"a": 10 * ms, "b": 40 * ms, "c": 5 * ms}, 2, 50 * ms, ""},
		"two that are too much together":   {map[string]time.Duration{"a": 30 * ms, "b": 30 * ms}, 2, 60 * ms, "of a, b and"},
		"one that is right with another":   {map[string]time.Duration{"a": 40 * ms, "b": 0}, 2, 40 * ms, ""},
		"one alone, with each other":       {map[string]time.Duration{"a": 40 * ms}, 2, 40 * ms, ""},
		"nobody, whose times are nobody's": {nil, 2, 0, ""},
	} {
		got, err := bound(c.off, c.compared, maxSkew)
		if got != c.want || (c.over == "") != (err == nil) || err != nil && (verdict.Of(err) != report.Invalid || !strings.Contains(err.Error(), c.over)) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// A clock is asked once in an episode, and again where its answer left too much open.
func TestClocksAreAskedOnce(t *testing.T) {
	off, asked := map[string]time.Duration{"a": 40 * ms, "b": 30 * ms, ClockOfClients: 60 * ms}, map[string]int{}
	r := &Run{}
	r.clocks.ask = func(_ context.Context, name string) (time.Duration, error) {
		asked[name]++
		return off[name], nil
	}
	check := func(what string, question func(context.Context) (time.Duration, error), want time.Duration, valid bool, times map[string]int) {
		t.Helper()
		got, err := question(t.Context())
		if valid != (err == nil) || valid && got != want || !valid && verdict.Of(err) != report.Invalid {
			t.Errorf("%s: %v, %v; want %v", what, got, err, want)
		}
		if !maps.Equal(asked, times) {
			t.Errorf("%s: asked %v, want %v", what, asked, times)
		}
	}
	check("one", r.Skew("a"), 40*ms, true, map[string]int{"a": 1})
	check("the same", r.Skew("a"), 40*ms, true, map[string]int{"a": 1})
	check("with another", r.Skew("a", "b"), 40*ms, true, map[string]int{"a": 1, "b": 1})
	check("each other", r.Apart("a", "b"), 0, false, map[string]int{"a": 1, "b": 1})
	off["a"], off["b"] = 10*ms, 20*ms
	check("each other, again", r.Apart("a", "b"), 30*ms, true, map[string]int{"a": 2, "b": 2})
	check("the clients", r.Skew(ClockOfClients), 0, false, map[string]int{"a": 2, "b": 2, ClockOfClients: 1})
	r.episodes = []*Episode{{Window: prom.Window{Start: time.Now()}}}
	check("after another fault", r.Skew("a"), 10*ms, true, map[string]int{"a": 3, "b": 2, ClockOfClients: 1})
	check("and once more", r.Skew("a"), 10*ms, true, map[string]int{"a": 3, "b": 2, ClockOfClients: 1})

	trouble := errors.New("503")
	r.clocks.ask = func(context.Context, string) (time.Duration, error) { return 0, trouble }
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Skew("c")(over); !errors.Is(err, trouble) {
		t.Errorf("a clock that nobody reads: %v", err)
	}
}

// Entries of a clock that is off by more than a window allows tell nothing, unless a fault has set it.
func TestJournalByAWrongClock(t *testing.T) {
	r := kept(t, map[string][]event.Entry{"a": nil, "b": nil})
	for off, want := range map[time.Duration]report.Verdict{0: report.Passed, 400 * ms: report.Passed, 600 * ms: report.Invalid} {
		r.clocks.off = map[string]time.Duration{"a": off}
		if _, err := r.Journals(t.Context(), []string{"a", "b"}); verdict.Of(err) != want {
			t.Errorf("%v off: %v, want %s", off, err, want)
		}
	}
	r.faults = []disturbed{&Skew{Episode: &Episode{Victims: []string{"a"}}}}
	if _, err := r.Journals(t.Context(), []string{"a", "b"}); err != nil {
		t.Errorf("set by a fault: %v", err)
	}
	r.clocks.off["b"] = 600 * ms
	if _, err := r.Journals(t.Context(), []string{"a", "b"}); verdict.Of(err) != report.Invalid {
		t.Errorf("another one beside the fault's: %v", err)
	}
}
