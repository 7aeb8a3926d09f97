package scenario

import (
	"context"
	"errors"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
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

// await asks again and again until there is no error, for d at most; in the end it
// returns the last one.
func await(ctx context.Context, d time.Duration, ask func(context.Context) error) error {
	return within(ctx, d, func(ctx context.Context) error { return until(ctx, ask) })
}

// until asks again and again until there is no error; in the end it returns
// the last one.
func until(ctx context.Context, ask func(context.Context) error) error {
	last := errors.New("was never asked")
	err := wait.PollUntilContextCancel(ctx, Poll, true, func(ctx context.Context) (bool, error) {
		if err := ask(ctx); err != nil {
			// Not that the time is up, which client-go says before it is.
			if ctx.Err() == nil && !strings.Contains(err.Error(), "would exceed context deadline") {
				last = err
			}
			return false, nil
		}
		return true, nil
	})
	if err != nil {
		return last
	}
	return nil
}
