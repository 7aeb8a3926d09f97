package scenario

import (
	"context"
	"errors"
	"time"

	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
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
	t := time.NewTimer(time.Until(e.Tailed().End.Add(2 * prom.ScrapeInterval)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return verdict.Unproven(context.Cause(ctx))
	case <-t.C:
		return nil
	}
}
