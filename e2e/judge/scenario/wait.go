package scenario

import (
	"cmp"
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/x0tta6bl4/mesh/e2e/ground/clock"
	"github.com/x0tta6bl4/mesh/e2e/judge/verdict"
)

func now() *time.Time {
	t := time.Now().UTC()
	return &t
}

// within runs f with a deadline of its own.
func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}

// awaitTime waits until a time. That ctx ends before proves nothing.
func awaitTime(ctx context.Context, at time.Time) error {
	return verdict.Unproven(clock.Wait(ctx, time.Until(at)))
}

// await asks again and again until there is no error, for d at most; in the end it
// returns the last one.
func await(ctx context.Context, d time.Duration, ask func(context.Context) error) error {
	return within(ctx, d, func(ctx context.Context) error { return until(ctx, ask) })
}

// until asks again and again until there is no error; in the end it returns
// the last one that came before the time was up.
func until(ctx context.Context, ask func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextCancel(ctx, verdict.Poll, true, func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		if last == nil || ctx.Err() == nil {
			last = err
		}
		return err == nil, nil
	})
	if err == nil {
		return nil
	}
	return cmp.Or(last, err)
}
