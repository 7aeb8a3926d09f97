package scenario

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
	"github.com/x0tta6bl4/mesh/e2e/observe/alert"
	"github.com/x0tta6bl4/mesh/e2e/observe/prom"
)

// Tailed returns the episode's window with the tail after it: for what must come once and
// no second time, or not at all.
func (e *Episode) Tailed() prom.Window {
	w := e.Window
	if !w.End.IsZero() {
		w.End = w.End.Add(Tail)
	}
	return w
}

// AwaitTail waits until an episode that is over has been for as long as its tail, and
// what was counted in it has been scraped.
func (e *Episode) AwaitTail(ctx context.Context) error {
	if e == nil || e.Window.End.IsZero() {
		return verdict.Unproven(errors.New("the fault is not over"))
	}
	return AwaitScraped(ctx, e.Tailed().End)
}

// AwaitScraped waits until Prometheus has what there was up to a time.
func AwaitScraped(ctx context.Context, at time.Time) error {
	return awaitTime(ctx, at.Add(2*prom.ScrapeInterval))
}

// Bitten is the part of the episode in which it was proven.
func (e *Episode) Bitten() prom.Window {
	w := e.Window
	w.Start = *e.Times.Proven
	return w
}

// Came checks that an alert of the episode has come to a state. If it was never active by the
// tail of an episode that is over, it is not going to be.
func (e *Episode) Came(name string, l alert.Life, state string) error {
	if l.State() == state {
		return nil
	}
	err := verdict.Shortf("alert %s is %v, not %s", name, l, state)
	if end := e.Tailed().End; l.State() == alert.Inactive && !end.IsZero() && time.Now().After(end.Add(WaitScraped)) {
		return verdict.Final(err)
	}
	return err
}

// While is the part of an episode in which the fault was there for certain: from its proof until it was
// taken back, or its time was up.
func (e *Episode) While() prom.Window {
	w := e.Bitten()
	if !e.Until.IsZero() {
		w.End = e.Until
	}
	return w
}

// Scraped is an episode's window with the time that it takes until Prometheus has what was counted at its end.
func (e *Episode) Scraped() prom.Window {
	w := e.Window
	if !w.End.IsZero() {
		if w.End = w.End.Add(2 * prom.ScrapeInterval); w.End.After(time.Now()) {
			w.End = time.Time{}
		}
	}
	return w
}

// Own checks that an alert came of the episode: it was pending no earlier than its window opened, fired
// before the fault was over or, where the fault is a moment, in its tail, and was not
// resolved while the fault was still there. It is dated by a clock that may be off by skew.
func (e *Episode) Own(name string, l alert.Life, skew time.Duration) error {
	end := e.Window.End
	if e.moment {
		end = e.Tailed().End
	}
	switch {
	case l.Pending.Before(e.Window.Start.Add(-skew)):
		return verdict.Unproven(fmt.Errorf("alert %s was active at %s already, before the fault", name, l.Pending.Format(time.TimeOnly)))
	case !end.IsZero() && l.Firing.After(end.Add(skew)):
		return verdict.Shortf("alert %s fired at %s only, after the fault", name, l.Firing.Format(time.TimeOnly))
	case !e.moment && !e.Until.IsZero() && !l.Resolved.IsZero() && l.Resolved.Before(e.Until.Add(-skew)):
		return verdict.Shortf("alert %s was resolved at %s, and the fault was there until %s", name, l.Resolved.Format(time.TimeOnly), e.Until.Format(time.TimeOnly))
	}
	return nil
}
