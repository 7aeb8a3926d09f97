package route

import (
	"slices"
	"time"
)

// aggregate is how long entries for a neighbour are collected unless one of them is
// urgent: in a mesh of up to FullMesh nodes, and in a larger one.
const (
	aggregate      = 100 * time.Millisecond
	aggregateLarge = 200 * time.Millisecond
)

// queue is what waits for one neighbour.
type queue struct {
	anchors  [][]byte // they go first
	payloads [][]byte
	urgent   bool
	flush    time.Time
}

func (q *queue) add(m *message) {
	last := len(q.payloads) - 1
	if last < 0 || len(q.payloads[last])+m.size() > maxPayload {
		q.payloads = append(q.payloads, nil)
		last++
	}
	q.payloads[last] = m.append(q.payloads[last])
	q.urgent = q.urgent || m.kind != announcement
}

// usable reports whether messages can go to a neighbour.
func (l *link) usable() bool { return !l.failed && l.quality > 0 }

// broadcast queues m for every neighbour but except and its originator.
func (t *Table) broadcast(m message, except string) {
	for _, n := range t.order {
		if n != except && n != m.originator {
			t.tell(n, m)
		}
	}
}

// tell queues m for one neighbour.
func (t *Table) tell(n string, m message) {
	if l := t.links[n]; l != nil && l.usable() {
		l.queue.add(&m)
	}
}

// collect moves what is due out of the queues.
func (t *Table) collect(now time.Time, out *Output) {
	pause := aggregate
	if t.large() {
		pause = aggregateLarge
	}
	for _, n := range t.order {
		l := t.links[n]
		q := &l.queue
		if len(q.payloads)+len(q.anchors) == 0 || !q.urgent && now.Before(q.flush) {
			continue
		}
		if l.usable() {
			for _, p := range append(q.anchors, q.payloads...) {
				out.Send = append(out.Send, Message{To: n, Payload: p})
			}
		}
		*q = queue{flush: now.Add(pause)}
	}
}

// link returns the link to a neighbour, and makes it if it is new.
func (t *Table) link(n string) *link {
	l := t.links[n]
	if l == nil {
		l = &link{}
		t.links[n] = l
		i, _ := slices.BinarySearch(t.order, n)
		t.order = slices.Insert(t.order, i, n)
	}
	return l
}

func (t *Table) unlink(n string) {
	delete(t.links, n)
	if i, ok := slices.BinarySearch(t.order, n); ok {
		t.order = slices.Delete(t.order, i, i+1)
	}
}
