package netem

import (
	"slices"
	"testing"
	"time"
)

func taken(l *line, now time.Duration) (ids []uint32) {
	for {
		id, ok := l.take(now)
		if !ok {
			return ids
		}
		ids = append(ids, id)
	}
}

func TestLineKeepsOrderWithoutJitter(t *testing.T) {
	l := newLine(options(t, "delay", "200ms"), 1)
	var want []uint32
	for id := range uint32(500) {
		if !l.add(id, time.Duration(id/10)*time.Millisecond) { // ten at the same time
			t.Fatalf("packet %d was dropped", id)
		}
		want = append(want, id)
	}
	if got := taken(l, 200*time.Millisecond-1); got != nil {
		t.Errorf("too early: %v", got)
	}
	if due, ok := l.next(); !ok || due != 200*time.Millisecond {
		t.Errorf("next at %s, %t", due, ok)
	}
	if got := taken(l, time.Second); !slices.Equal(got, want) {
		t.Errorf("order %v", got)
	}
	if _, ok := l.next(); ok {
		t.Error("a packet is left")
	}
}

func TestLineReordersByTime(t *testing.T) {
	l := newLine(options(t, "delay", "200ms", "50ms"), 1)
	m := NewModel(options(t, "delay", "200ms", "50ms"), 1)
	type sent struct {
		id  uint32
		due time.Duration
	}
	var want []sent
	for id := range uint32(500) {
		now := time.Duration(id) * time.Millisecond
		delay, _ := m.Next()
		want = append(want, sent{id, now + delay})
		l.add(id, now)
	}
	slices.SortStableFunc(want, func(a, b sent) int { return int(a.due - b.due) })
	if slices.IsSortedFunc(want, func(a, b sent) int { return int(a.id) - int(b.id) }) {
		t.Fatal("nothing was reordered")
	}
	for _, w := range want {
		due, _ := l.next()
		if id, ok := l.take(due); !ok || id != w.id || due != w.due {
			t.Fatalf("packet %d at %s, want %d at %s", id, due, w.id, w.due)
		}
	}
}

func TestLineHasALimit(t *testing.T) {
	l := newLine(options(t, "delay", "1s", "limit", "3"), 1)
	for id := range uint32(5) {
		if got := l.add(id, 0); got != (id < 3) {
			t.Errorf("packet %d: %t", id, got)
		}
	}
	if got := taken(l, time.Second); !slices.Equal(got, []uint32{0, 1, 2}) {
		t.Errorf("held %v", got)
	}
	if !l.add(5, 0) {
		t.Error("no room after all left")
	}
}

func TestLineLoses(t *testing.T) {
	l := newLine(options(t, "loss", "100"), 1)
	if l.add(1, 0) {
		t.Error("held a packet that is lost")
	}
}
