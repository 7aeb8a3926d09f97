package clock

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A clock is off by no more than what its answer leaves open.
func TestBound(t *testing.T) {
	epoch := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }
	for name, c := range map[string]struct{ sent, told, got, want int }{
		"right, and asked in no time":         {100, 100, 100, 0},
		"right, and in the middle":            {100, 105, 110, 5},
		"right, and the answer took longer":   {100, 100, 110, 10},
		"right, and the question took longer": {100, 110, 110, 10},
		"ahead":                               {100, 405, 110, 305},
		"behind":                              {100, -195, 110, 305},
	} {
		if got := bound(at(c.sent), at(c.told), at(c.got)); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("%s: %v, want %d ms", name, got, c.want)
		}
	}
}

// Of several answers the best counts; one that fails, or tells nothing, is none.
func TestOff(t *testing.T) {
	asked := 0
	off, err := Off(func() (time.Time, error) {
		if asked++; asked != 3 {
			return time.Now().Add(-time.Hour), nil
		}
		return time.Now(), nil
	})
	if err != nil || off > time.Minute || asked != questions {
		t.Errorf("%v, %v after %d questions", off, err, asked)
	}
	if off, err := Off(func() (time.Time, error) { return time.Now().Add(time.Hour), nil }); err != nil || off < time.Hour || off > time.Hour+time.Minute {
		t.Errorf("an hour ahead: %v, %v", off, err)
	}
	trouble := errors.New("503")
	if _, err := Off(func() (time.Time, error) { return time.Now(), trouble }); !errors.Is(err, trouble) {
		t.Errorf("of who does not answer: %v", err)
	}
	if _, err := Off(func() (time.Time, error) { return time.Time{}, nil }); err == nil {
		t.Error("no time was taken for one")
	}
}

// Who waits is told why it was not to the end, and waits no longer than that.
func TestWait(t *testing.T) {
	if err := Wait(t.Context(), time.Millisecond); err != nil {
		t.Error(err)
	}
	why := errors.New("the run is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := Wait(ctx, time.Hour); !errors.Is(err, why) {
		t.Errorf("%v, want %v", err, why)
	}
}
