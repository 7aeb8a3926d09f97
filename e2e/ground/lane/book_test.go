package lane

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEarliest(t *testing.T) {
	now := time.Now()
	at := func(what string, from, to int) booking {
		return booking{1, "another", 1, what, now.Add(time.Duration(from) * time.Second), now.Add(time.Duration(to) * time.Second), false}
	}
	span := func(from, to int) Span {
		return Span{From: time.Duration(from) * time.Second, To: time.Duration(to) * time.Second}
	}
	for name, c := range map[string]struct {
		all   []booking
		spans []Span
		want  int
		after string
	}{
		"nothing is booked":                     {nil, []Span{span(0, 5)}, 0, ""},
		"after what goes on":                    {[]booking{at("a", -2, 3)}, []Span{span(0, 5)}, 3, "a"},
		"between two":                           {[]booking{at("a", -2, 3), at("b", 9, 12)}, []Span{span(0, 5)}, 3, "a"},
		"no room between two":                   {[]booking{at("a", -2, 3), at("b", 7, 12)}, []Span{span(0, 5)}, 12, "b"},
		"exactly before":                        {[]booking{at("b", 5, 8)}, []Span{span(0, 5)}, 0, ""},
		"a later span counts":                   {[]booking{at("b", 21, 26)}, []Span{span(0, 5), span(20, 25)}, 6, "b"},
		"a later span moves the first into one": {[]booking{at("b", 21, 26), at("c", 8, 10)}, []Span{span(0, 5), span(20, 25)}, 10, "c"},
	} {
		t.Run(name, func(t *testing.T) {
			begins, after := Open("").earliest(c.all, c.spans, now)
			if got := begins.Sub(now); got != time.Duration(c.want)*time.Second || after != c.after {
				t.Errorf("%v after %q, want %d s after %q", got, after, c.want, c.after)
			}
		})
	}
}

// TestTurns: who takes turns is alone in them, those to come count, and what is given
// back is free at once.
func TestTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "turns")
	var mu sync.Mutex
	busy := ""
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			turn, err := Open(path).Take(t.Context(), fmt.Sprint("work ", i), Span{To: time.Hour})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			if busy != "" {
				t.Errorf("%d has its turn in that of %s", i, busy)
			}
			busy = fmt.Sprint(i)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			busy = ""
			mu.Unlock()
			if err := turn.Done(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()

	one, b := Open(path), Open(path)
	if _, err := one.Take(t.Context(), "heal", Span{To: time.Millisecond}, Span{From: time.Hour, To: 2 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	if own, err := one.Take(t.Context(), "inject", Span{To: 90 * time.Minute}); err != nil {
		t.Errorf("in one's own turn: %v", err)
	} else if err := own.Done(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := b.Take(ctx, "make", Span{From: 30 * time.Minute, To: 90 * time.Minute})
	if err == nil || !strings.Contains(err.Error(), "a turn to make, after heal") {
		t.Errorf("a turn in another one's: %v", err)
	}
	if _, err := b.Take(t.Context(), "make", Span{From: 30 * time.Minute, To: 50 * time.Minute}); err != nil {
		t.Errorf("between: %v", err)
	}
}

// TestAnOpenSpanLastsUntilItIsClosed: work that takes longer than was booked for it is not disturbed, and
// what comes after it is.
func TestAnOpenSpanLastsUntilItIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "turns")
	one, b := Open(path), Open(path)
	refused := func(when string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*looksEvery)
		defer cancel()
		if _, err := b.Take(ctx, "make", Span{To: time.Second}); err == nil || !strings.Contains(err.Error(), "after inject") {
			t.Errorf("%s: %v", when, err)
		}
	}
	turn, err := one.Take(t.Context(), "inject", Span{To: time.Millisecond, Open: true})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	refused("after its time, as it is open")
	if err := turn.Close(time.Hour); err != nil {
		t.Fatal(err)
	}
	refused("in the end that was given")
	if err := turn.Close(0); err != nil {
		t.Fatal(err)
	}
	refused("the end is given once")
	if err := turn.Done(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Take(t.Context(), "make", Span{To: time.Second}); err != nil {
		t.Error(err)
	}
}

// TestTheDeadBookNothing: what a process booked that was killed is in nobody's way, nor
// is a book that it was just writing.
func TestTheDeadBookNothing(t *testing.T) {
	dead := exec.Command("true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "turns")
	for _, content := range []string{
		fmt.Sprintf(`[{"pid":%d,"what":"make","from":"2020-01-01T00:00:00Z","to":"2120-01-01T00:00:00Z"}]`, dead.Process.Pid),
		`[{"pid":1,"what":"ma`,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		turn, err := Open(path).Take(t.Context(), "go on", Span{To: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := turn.Done(); err != nil {
			t.Error(err)
		}
	}
}

func TestOneLaneIsAlone(t *testing.T) {
	turn, err := (*Book)(nil).Take(t.Context(), "make", Span{To: time.Hour})
	if err != nil || turn.Done() != nil {
		t.Error(err)
	}
}

// TestAnOpenSpanIsNotForEver: who waits for one that never ends, and is waited for by it, gets out of it.
func TestAnOpenSpanIsNotForEver(t *testing.T) {
	now := time.Now()
	for ago, want := range map[time.Duration]time.Duration{
		-time.Hour:              time.Hour,
		0:                       looksEvery,
		openFor - looksEvery:    looksEvery,
		openFor:                 0,
		openFor + 3*time.Second: -3 * time.Second,
	} {
		x := booking{To: now.Add(-ago), Open: true}
		if got := x.end(now).Sub(now); got != want {
			t.Errorf("%v after its time it has %v to go, want %v", ago, got, want)
		}
	}
}
