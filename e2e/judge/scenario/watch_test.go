package scenario

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/report"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestWatchAborts sees that the first look that says so ends it, once, and that what cannot
// be seen ends nothing.
func TestWatchAborts(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		looks, aborts := 0, 0
		w := newWatch(func(context.Context, time.Time) (*report.Abort, error) {
			switch looks++; looks {
			case 1:
				return nil, errors.New("Prometheus does not answer")
			case 2:
				return nil, nil
			}
			return &report.Abort{Expression: "x", Value: "1"}, nil
		}, func(report.Abort) { aborts++ })
		time.Sleep(10 * watchEvery)
		if a := w.end(); a == nil || a.Expression != "x" || looks != 3 || aborts != 1 {
			t.Errorf("%v after %d looks and %d aborts", a, looks, aborts)
		}
	})
}

// TestWatchKnowsFaults sees when there is none: from the end of the last one on.
func TestWatchKnowsFaults(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var calm time.Time
		w := newWatch(func(_ context.Context, c time.Time) (*report.Abort, error) {
			calm = c
			return nil, nil
		}, func(report.Abort) { t.Error("aborted") })
		began := time.Now()
		look := func() time.Time {
			time.Sleep(watchEvery)
			synctest.Wait()
			return calm
		}
		if got := look(); !got.Equal(began) {
			t.Errorf("calm since %v, not since the watch began", got)
		}
		w.disturbed()
		w.disturbed() // two at once
		if got := look(); !got.IsZero() {
			t.Errorf("two faults, and calm since %v", got)
		}
		w.calmed()
		if got := look(); !got.IsZero() {
			t.Errorf("a fault is left, and calm since %v", got)
		}
		w.calmed()
		over := time.Now()
		if got := look(); !got.Equal(over) {
			t.Errorf("calm since %v, not since the last fault was over", got)
		}
		for range 2 { // it may be ended again
			if w.end() != nil {
				t.Error("aborted")
			}
		}
	})
}

// TestWatchOfNobody sees that a run that is judged again needs none.
func TestWatchOfNobody(t *testing.T) {
	var w *watch
	w.disturbed()
	w.calmed()
	if w.end() != nil {
		t.Error("aborted")
	}
}
