package store

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/x0tta6bl4/mesh/bpf/frame"
	"github.com/x0tta6bl4/mesh/meshnode/bubble"
)

// TestOneMemberDoesNotSayThatThereIsNoMore: while one of two peers says nothing, a node that has
// lost its disk does not say of what that one holds that there is no such record, whatever the
// other names; and does when nothing has come for a while.
func TestOneMemberDoesNotSayThatThereIsNoMore(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWeb(t, 1, "b", "liar")
		w.set(true, [2]string{"b", "liar"})
		var records []Record
		for i := range uint64(3 * batch) {
			records = append(records, signed(Record{ID: fmt.Sprint(i), Node: "c", Origin: "c/1", Seq: i + 1, Time: someTime}))
		}
		if _, err := w.nodes["b"].store.Add(records...); err != nil {
			t.Fatal(err)
		}
		var silent atomic.Bool
		silent.Store(true)
		w.mu.Lock()
		w.lose = func(from, _ string, _ frame.Type, _ []byte) bool { return from == "b" && silent.Load() }
		w.mu.Unlock()
		catchesUp := func(limit time.Duration) time.Duration {
			t.Helper()
			start := time.Now()
			for !w.nodes["a"].caughtUp.Load() {
				if time.Since(start) > limit {
					t.Fatalf("it does not catch up within %v", limit)
				}
				time.Sleep(10 * time.Millisecond)
			}
			return time.Since(start)
		}
		w.join(t, open(t, memoryDir(t), "a"))
		a := w.nodes["a"]
		a.Sync("liar")
		time.Sleep(3 * syncEvery)
		if _, err := a.Get("0"); !errors.Is(err, ErrBehind) {
			t.Errorf("by one peer's word: %v", err)
		}
		silent.Store(false)
		catchesUp(3 * syncEvery)
		if _, err := a.Get("0"); err != nil {
			t.Errorf("it has caught up without what b holds: %v", err)
		}
		if _, err := a.Get("nothing"); !errors.Is(err, ErrNotFound) {
			t.Errorf("when it has caught up: %v", err)
		}
		silent.Store(true)
		w.join(t, open(t, memoryDir(t), "a"))
		if took := catchesUp(quietAfter + 5*syncEvery); took < quietAfter {
			t.Errorf("one peer's word was enough after %v", took)
		}
	})
}

// TestSomethingNewAllTheTime from one member does not put off for good that another's word counts.
func TestSomethingNewAllTheTime(t *testing.T) {
	a := NewReplicator(open(t, t.TempDir(), "a"), &court{said: map[string][][]byte{}}, func(int) {}, slog.New(slog.DiscardHandler))
	start := time.Now()
	a.behind.start(start)
	for now := start; !a.caughtUp.Load(); now = now.Add(time.Second) {
		if now.Sub(start) > heardOut {
			t.Fatalf("behind for more than %v", heardOut)
		}
		a.behind.progressed(now)
		a.compare(now, "b", &summary{}, false)
	}
}

// TestAPartThatWasLostIsNotHeld: of a summary in parts one that did not come may name what is missing here.
func TestAPartThatWasLostIsNotHeld(t *testing.T) {
	first, middle, last := &summary{Through: "c"}, &summary{After: "c", Through: "f"}, &summary{After: "f"}
	for what, c := range map[string]struct {
		parts []*summary
		want  bool
	}{
		"all":                    {[]*summary{first, middle, last}, true},
		"without the middle one": {[]*summary{first, last}, false},
		"without the first one":  {[]*summary{middle, last}, false},
		"one at a second try":    {[]*summary{first, last, first, middle, last}, true},
	} {
		a := NewReplicator(open(t, t.TempDir(), "a"), &court{said: map[string][][]byte{}}, func(int) {}, slog.New(slog.DiscardHandler))
		now := time.Now()
		a.behind.start(now)
		for _, p := range c.parts {
			a.compare(now, "b", p, false)
		}
		if got := a.behind.whole["b"]; got != c.want {
			t.Errorf("%s: held %t", what, got)
		}
	}
}

// TestWhoCallsFirstIsNotAll: of a node that has just started, one that calls first may be all that it knows.
func TestWhoCallsFirstIsNotAll(t *testing.T) {
	a := NewReplicator(open(t, t.TempDir(), "a"), &court{said: map[string][][]byte{}}, func(int) {}, slog.New(slog.DiscardHandler))
	now := time.Now()
	a.behind.start(now)
	a.behind.whole["b"] = true
	if a.judge(now, []string{"b"}); a.caughtUp.Load() {
		t.Error("one member's word was enough at once")
	}
	a.behind.whole["c"] = true
	if a.judge(now, []string{"b", "c"}); !a.caughtUp.Load() {
		t.Error("that of two was not")
	}
}
