// Package clock tells how far a clock elsewhere may be from this machine's, and waits by the latter.
package clock

import (
	"context"
	"errors"
	"time"
)

// questions is how often a clock is asked: the answer that leaves the least open counts.
const questions = 8

// Off returns how far the clock that ask reads may be from this machine's, the error of the
// measurement included: a clock that is asked is read between the question and the answer
// (as in NTP, RFC 5905). Its error is the first of ask's, or that it tells no time.
func Off(ask func() (time.Time, error)) (time.Duration, error) {
	var best time.Duration
	for n := range questions {
		sent := time.Now()
		told, err := ask()
		got := time.Now()
		switch {
		case err != nil:
			return 0, err
		case told.IsZero():
			return 0, errors.New("it does not tell the time")
		}
		if off := bound(sent, told, got); n == 0 || off < best {
			best = off
		}
	}
	return best, nil
}

// bound returns how far a clock may be off that said told, asked at sent and answered
// at got.
func bound(sent, told, got time.Time) time.Duration {
	return max(got.Sub(told), told.Sub(sent))
}

// Wait returns when a time has passed, or before that when ctx ends: then with why it did.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
