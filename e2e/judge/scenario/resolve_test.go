package scenario

import (
	"context"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
	"github.com/x0tta6bl4/mesh/meshnode/event"
	"github.com/x0tta6bl4/mesh/meshnode/metric"
)

// fired is the alert about what a node did, resolved at a time, in ms; 0: not.
func fired(node string, resolved int) alert.Fired {
	f := alert.Fired{At: at(1000), Labels: map[string]string{prom.LabelPod: node, metric.LabelAction: metric.MigrateSessions, metric.LabelOutcome: metric.OutcomeDone}}
	if resolved > 0 {
		f.Resolved = at(resolved)
	}
	return f
}

// An alert that resolves before it is due says as little as one that stays.
func TestResolvesWhenItIsDue(t *testing.T) {
	const slack = 7 * time.Second
	d := due{"a", metric.MigrateSessions, at(301_000)}
	for name, c := range map[string]struct {
		fired []alert.Fired
		now   int
		want  report.Verdict
	}{
		"when it is due":                 {[]alert.Fired{fired("b", 0), fired("a", 301_500)}, 310_000, report.Passed},
		"as late as it may":              {[]alert.Fired{fired("a", 308_000)}, 310_000, report.Passed},
		"too late":                       {[]alert.Fired{fired("a", 308_001)}, 310_000, report.Failed},
		"as early as it may":             {[]alert.Fired{fired("a", 294_000)}, 310_000, report.Passed},
		"too early":                      {[]alert.Fired{fired("a", 293_999)}, 310_000, report.Failed},
		"right after the fault":          {[]alert.Fired{fired("a", 20_000)}, 310_000, report.Failed},
		"not at all":                     {[]alert.Fired{fired("a", 0)}, 308_000, report.Failed},
		"not yet, and it is not due yet": {[]alert.Fired{fired("a", 0)}, 307_999, report.Invalid},
		"that of another node":           {[]alert.Fired{fired("b", 301_500)}, 310_000, report.Failed},
		"none":                           {nil, 310_000, report.Failed},
	} {
		if err := d.met(c.fired, slack, at(c.now)); verdict.Of(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// What a node did last counts, whatever the incident: the rule counts that, too.
func TestResolvesAfterTheLast(t *testing.T) {
	done := func(incident string, ms int) event.Entry {
		return event.Entry{
			Incident: incident, Phase: event.Execute, Kind: metric.MigrateSessions, Time: at(ms), Detail: map[string]string{event.DetailOutcome: metric.OutcomeDone},
		}
	}
	rule := alert.Rule{Back: 5 * time.Minute, Every: time.Second}
	r := kept(t, map[string][]event.Entry{"a": {done("1", 400), done("2", 900)}, "b": {done("1", 500)}, "c": nil})
	l := &Loop{Incident: metric.NodeCrash, About: map[string][]string{"a": {"v"}, "b": {"v"}}, Actions: []string{metric.MigrateSessions}, run: r}
	all, err := l.dues(t.Context(), rule)
	if err != nil || len(all) != 2 || !all[0].at.Equal(at(300_900)) || !all[1].at.Equal(at(300_500)) {
		t.Errorf("%v, %v", all, err)
	}
	for name, c := range map[string]struct {
		fired []alert.Fired
		want  report.Verdict
	}{
		"both":       {[]alert.Fired{fired("a", 301_000), fired("b", 301_000)}, report.Passed},
		"one of two": {[]alert.Fired{fired("a", 301_000), fired("b", 320_000)}, report.Failed},
	} {
		if err := l.Resolved(t.Context(), c.fired, rule); verdict.Of(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	r.clocks.off = map[string]time.Duration{ClockOfPrometheus: 60 * time.Millisecond}
	if err := l.Resolved(t.Context(), nil, rule); verdict.Of(err) != report.Invalid {
		t.Errorf("by a clock that is off: %v", err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	rule.Back = 50 * 365 * 24 * time.Hour
	if err := l.AwaitDue(over, rule); verdict.Of(err) != report.Invalid {
		t.Errorf("interrupted: %v", err)
	}
	l.About["c"] = []string{"v"}
	if _, err := l.dues(t.Context(), rule); verdict.Of(err) != report.Failed {
		t.Errorf("of who did nothing: %v", err)
	}
}
