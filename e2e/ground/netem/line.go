package netem

import (
	"container/heap"
	"time"
)

// line holds packets until they are due, in the order of the times at which they
// are, and of arrival among equal ones. Times are of any monotonic clock.
type line struct {
	model *Model
	limit int
	held  held
	count uint64
}

type packet struct {
	id  uint32
	due time.Duration
	nth uint64 // order of arrival
}

func newLine(o Options, seed uint64) *line {
	return &line{model: NewModel(o, seed), limit: int(o.Limit)}
}

// add takes a packet over, or says that it is to be dropped: lost, or too many.
func (l *line) add(id uint32, now time.Duration) bool {
	delay, lost := l.model.Next()
	if lost || len(l.held) >= l.limit {
		return false
	}
	l.count++
	heap.Push(&l.held, packet{id: id, due: now + delay, nth: l.count})
	return true
}

// next returns when the next packet is due, and whether there is one.
func (l *line) next() (time.Duration, bool) {
	if len(l.held) == 0 {
		return 0, false
	}
	return l.held[0].due, true
}

// take removes and returns the next packet if it is due.
func (l *line) take(now time.Duration) (uint32, bool) {
	if due, ok := l.next(); !ok || due > now {
		return 0, false
	}
	return heap.Pop(&l.held).(packet).id, true
}

// held is a heap.Interface.
type held []packet

func (h held) Len() int { return len(h) }
func (h held) Less(i, j int) bool {
	return h[i].due < h[j].due || h[i].due == h[j].due && h[i].nth < h[j].nth
}
func (h held) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *held) Push(p any)   { *h = append(*h, p.(packet)) }
func (h *held) Pop() any {
	old := *h
	p := old[len(old)-1]
	*h = old[:len(old)-1]
	return p
}
