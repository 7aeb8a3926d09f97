// Package lane lets scenarios run side by side on one machine. Most of a scenario is
// waiting, which they do together; what must be alone takes turns by a book that their
// processes share: to make a mesh, to remove one, to inject a fault, and the seconds in which
// a bar of seconds is judged.
package lane

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Book is a file in which processes book spans of time for themselves. A nil one is of a
// single lane, which is always alone.
type Book struct {
	path  string
	owner string       // who books here, of all processes and books
	turns atomic.Int64 // of this one
}

// Open returns the book in a file. It is made when somebody books.
func Open(path string) *Book { return &Book{path: path, owner: rand.Text()} }

// Span is a time to come, relative to the moment in which a turn begins.
type Span struct {
	From, To time.Duration
	// Open is whether it goes on after To until Close gives it an end, or Done gives it back:
	// on a busy machine work takes longer than was booked for it. Not longer than a minute:
	// what takes that may wait for who waits for it.
	Open bool
}

// booking is a line of the book.
type booking struct {
	PID   int       `json:"pid"`
	Owner string    `json:"owner"`
	Turn  int64     `json:"turn"` // of the owner
	What  string    `json:"what"`
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Open  bool      `json:"open,omitempty"`
}

// end is when a booking is over, seen from now.
func (x booking) end(now time.Time) time.Time {
	if late := now.Add(looksEvery).Sub(x.To); x.Open && late > 0 {
		return x.To.Add(min(late, openFor))
	}
	return x.To
}

// openFor is how long an open span goes on at most after its end.
const openFor = time.Minute

// Turn is what one has booked.
type Turn struct {
	book *Book
	id   int64
}

// looksEvery is how often who waits looks again: others end before their time.
const looksEvery = 250 * time.Millisecond

// Take waits until nobody else has booked any of the spans, counted from the moment in
// which it returns, and books them.
func (b *Book) Take(ctx context.Context, what string, spans ...Span) (*Turn, error) {
	if b == nil {
		return nil, nil
	}
	t := &Turn{b, b.turns.Add(1)}
	for {
		var begins time.Time
		var before string
		err := b.edit(func(all []booking) []booking {
			now := time.Now()
			if begins, before = b.earliest(all, spans, now); begins.After(now) {
				return all
			}
			for _, s := range spans {
				all = append(all, booking{os.Getpid(), b.owner, t.id, what, now.Add(s.From), now.Add(s.To), s.Open})
			}
			return all
		})
		if err != nil {
			return nil, fmt.Errorf("a turn to %s: %w", what, err)
		}
		wait := min(time.Until(begins), looksEvery)
		if wait <= 0 {
			return t, nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for a turn to %s, after %s: %w", what, before, context.Cause(ctx))
		}
	}
}

// Done gives back what is left of a turn.
func (t *Turn) Done() error {
	if t == nil {
		return nil
	}
	return t.book.edit(func(all []booking) []booking {
		return slices.DeleteFunc(all, func(x booking) bool { return x.Owner == t.book.owner && x.Turn == t.id })
	})
}

// Close lets the turn's open spans end so long from now.
func (t *Turn) Close(in time.Duration) error {
	if t == nil {
		return nil
	}
	return t.book.edit(func(all []booking) []booking {
		for i, x := range all {
			if x.Owner == t.book.owner && x.Turn == t.id && x.Open {
				all[i].To, all[i].Open = time.Now().Add(in), false
			}
		}
		return all
	})
}

// earliest returns the first moment from now on from which the spans are free, and what
// is in the way until then.
func (b *Book) earliest(all []booking, spans []Span, now time.Time) (begins time.Time, before string) {
	begins = now
	for moved := true; moved; {
		moved = false
		for _, s := range spans {
			for _, x := range all {
				if x.Owner != b.owner && begins.Add(s.From).Before(x.end(now)) && x.From.Before(begins.Add(s.To)) {
					begins, before, moved = x.end(now).Add(-s.From), x.What, true
				}
			}
		}
	}
	return begins, before
}

// edit changes the book while nobody else does. What is over, and what a process booked
// that is no more, is dropped.
func (b *Book) edit(change func([]booking) []booking) (err error) {
	f, err := os.OpenFile(b.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // which also unlocks it
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", b.path, err)
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	var all []booking
	if json.Unmarshal(raw, &all) != nil {
		all = nil // it is new, or who wrote it was killed in the middle
	}
	now := time.Now()
	all = change(slices.DeleteFunc(all, func(x booking) bool {
		return !x.end(now).After(now) || errors.Is(unix.Kill(x.PID, 0), unix.ESRCH)
	}))
	if raw, err = json.Marshal(all); err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(raw, 0)
	return err
}
