package scenario

import (
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

// An alert is a fault's own only if it became active and fired while the fault lasted, or in the tail of one that
// is a moment, and was there as long as the fault.
func TestOwnAlert(t *testing.T) {
	tail := int(Tail.Milliseconds())
	for name, c := range map[string]struct {
		pending, firing, resolved int // ms; the fault lasts from 1000 to 20000, and ends in truth at 19000; 0: never
		moment                    bool
		want                      report.Verdict
	}{
		"in the fault":                  {2000, 12000, 0, false, report.Passed},
		"resolved after it":             {2000, 12000, 19500, false, report.Passed},
		"resolved while it was there":   {2000, 12000, 13000, false, report.Failed},
		"in its tail":                   {15000, 20001, 0, false, report.Failed},
		"in the tail of a moment":       {15000, 20000 + tail, 0, true, report.Passed},
		"after the tail of a moment":    {15000, 20001 + tail, 0, true, report.Failed},
		"a moment's, and soon resolved": {2000, 2000, 3000, true, report.Passed},
		"active before the fault":       {999, 12000, 0, false, report.Invalid},
	} {
		e := &Episode{Window: prom.Window{Start: at(1000), End: at(20000)}}
		e.lasts, e.moment = 20*time.Second, c.moment
		e.ends(at(19000))
		life := alert.Life{Pending: at(c.pending), Firing: at(c.firing)}
		if c.resolved > 0 {
			life.Resolved = at(c.resolved)
		}
		if err := e.Own("X", life, 0); verdict.Of(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	open := &Episode{Window: prom.Window{Start: at(1000)}, lasts: time.Minute}
	if err := open.Own("X", alert.Life{Pending: at(2000), Firing: at(12000)}, 0); err != nil {
		t.Errorf("while the fault lasts: %v", err)
	}
}

// Prometheus' clock may be off: what it may have dated wrong by that is not held against the mesh, and no more.
func TestOwnAlertByAnotherClock(t *testing.T) {
	const skew = 40 * time.Millisecond
	e := &Episode{Window: prom.Window{Start: at(1000), End: at(20000)}, Until: at(19000)}
	for name, c := range map[string]struct {
		life alert.Life
		want report.Verdict
	}{
		"active before by less":     {alert.Life{Pending: at(960), Firing: at(12000)}, report.Passed},
		"active before by more":     {alert.Life{Pending: at(959), Firing: at(12000)}, report.Invalid},
		"fired after it by less":    {alert.Life{Pending: at(2000), Firing: at(20040)}, report.Passed},
		"fired after it by more":    {alert.Life{Pending: at(2000), Firing: at(20041)}, report.Failed},
		"resolved in it by less":    {alert.Life{Pending: at(2000), Firing: at(12000), Resolved: at(18960)}, report.Passed},
		"resolved early in earnest": {alert.Life{Pending: at(2000), Firing: at(12000), Resolved: at(18959)}, report.Failed},
	} {
		if err := e.Own("X", c.life, skew); verdict.Of(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// What is judged while a fault was there for certain ends when it began to be taken back, or when its time was up.
func TestWhile(t *testing.T) {
	proven := at(2000)
	for name, c := range map[string]struct{ lasts, ended, want int }{ // s, ms, ms
		"taken back early": {60, 9000, 9000},
		"its time was up":  {9, 12000, 9000}, // it began at 1000, and dates are of whole seconds
	} {
		e := &Episode{Window: prom.Window{Start: at(1000), End: at(15000)}, Times: report.Fault{Proven: &proven}, lasts: time.Duration(c.lasts) * time.Second}
		e.ends(at(c.ended))
		e.ends(at(c.ended + 1000)) // the first word counts
		if w := e.While(); !w.Start.Equal(proven) || !w.End.Equal(at(c.want)) {
			t.Errorf("%s: %v to %v", name, w.Start, w.End)
		}
	}
}

func TestTailNeedsAnEnd(t *testing.T) {
	for name, e := range map[string]*Episode{"no fault": nil, "one that goes on": {Window: prom.Window{Start: at(0)}}} {
		if err := e.AwaitTail(t.Context()); verdict.Of(err) != report.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w := (&Episode{Window: prom.Window{Start: at(0)}}).Tailed(); !w.End.IsZero() {
		t.Errorf("a fault that goes on has a tail: %v", w)
	}
}
