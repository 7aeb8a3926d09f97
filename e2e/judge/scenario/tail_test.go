package scenario

import (
	"testing"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

// An alert is a fault's own only if it became active and fired while the fault, or its tail, lasted.
func TestOwnAlert(t *testing.T) {
	tail := int(Tail.Milliseconds())
	for name, c := range map[string]struct {
		pending, firing int // ms; the fault lasts from 1000 to 20000
		want            report.Verdict
	}{
		"in the fault":            {2000, 12000, report.Passed},
		"in its tail":             {15000, 20000 + tail, report.Passed},
		"active before the fault": {999, 12000, report.Invalid},
		"after its tail":          {15000, 20001 + tail, report.Failed},
	} {
		e := &Episode{Window: prom.Window{Start: at(1000), End: at(20000)}}
		if err := e.Own("X", alert.Life{Pending: at(c.pending), Firing: at(c.firing)}); verdict.Of(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	open := &Episode{Window: prom.Window{Start: at(1000)}}
	if err := open.Own("X", alert.Life{Pending: at(2000), Firing: at(12000)}); err != nil {
		t.Errorf("while the fault lasts: %v", err)
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
