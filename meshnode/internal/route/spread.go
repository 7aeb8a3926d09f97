package route

import (
	"fmt"
	"math"
	"time"
)

// maxDestinations bounds the table.
const maxDestinations = 4096

// originate announces this node to every neighbour with a new sequence.
func (t *Table) originate(now time.Time, k kind) {
	if t.seq == chainLength {
		t.rechain()
		for _, n := range t.order {
			t.tellAnchor(now, n, t.anchor)
		}
	}
	t.seq++
	t.lastOwn, t.due = now, time.Time{}
	if k == news {
		t.lastNews = now
	}
	t.broadcast(t.own(k), "")
}

// own is this node's newest announcement.
func (t *Table) own(k kind) message {
	return message{k, t.self, distance{t.incarnation, t.seq, math.MaxUint8}, maxHops, t.chain.values[t.seq]}
}

// passOn is what this node says of a destination by what a neighbour said of it, as a
// promise.
func (d *destination) passOn(h *heard, originator string, k kind) message {
	mine := h.distance
	mine.tq = d.quality
	d.promise(mine)
	return message{k, originator, mine, h.hops - 1, h.proof}
}

// originateSoon originates at once, or with a distance of pause from the last
// time; in a large mesh with a longer one, for it reaches everyone.
func (t *Table) originateSoon(now time.Time, pause time.Duration) {
	if t.large() {
		pause = newsEvery
	}
	if at := t.lastNews.Add(pause); now.Before(at) {
		t.due = at
		return
	}
	t.originate(now, news)
}

// Receive handles a routing message from a neighbour. The error, ErrMessage or
// ErrForged, says that the neighbour is at fault: nobody passes on what is not proven.
func (t *Table) Receive(now time.Time, from string, payload []byte) (Output, error) {
	var out Output
	l := t.links[from]
	if len(payload) > 0 && kind(payload[0]) == anchored {
		if l == nil || l.failed {
			return out, nil
		}
		return out, t.anchored(now, from, payload)
	}
	messages, err := decode(payload)
	if err != nil || l == nil || l.failed {
		return out, err
	}
	for i := range messages {
		switch m := &messages[i]; {
		case m.kind == request:
			t.requested(now, from, m)
		case m.kind == wanted:
			t.answerWant(now, from, m)
		case m.originator != t.self:
			if e := t.announced(now, from, m, &out); e != nil {
				err = e
			}
		}
	}
	t.collect(now, &out)
	return out, err
}

// announced handles a neighbour's announcement.
func (t *Table) announced(now time.Time, from string, m *message, out *Output) error {
	d := t.dests[m.originator]
	switch {
	case m.tq == 0 && d == nil:
		return nil
	case m.tq == 0:
	case d == nil || d.chain.incarnation < m.incarnation:
		t.want(now, from, m)
		return nil
	case d.chain.incarnation > m.incarnation || int64(d.chain.seq)-int64(m.seq) >= window:
		return nil
	case m.seq > d.chain.seq && m.seq-d.chain.seq > window && !t.links[from].gaps.spend(now, wideGap):
		return nil // a wide gap is costly to check
	default:
		var ok bool
		if m.proof, ok = d.chain.proves(m.seq, m.proof); !ok {
			return fmt.Errorf("%w: %s did not announce sequence %d", ErrForged, m.originator, m.seq)
		}
	}
	i, known := d.find(from)
	if known && d.from[i].newer(m.distance) {
		return nil
	}
	if m.tq == 0 {
		d.forget(from)
		t.selectOne(now, m.originator, d, out)
		return nil
	}
	if from != m.originator {
		m.tq = min(m.tq, relayedTQ)
	}
	d.put(i, known, heard{from, m.distance, m.hops, m.proof, now})
	d.heard = now
	if m.newer(d.newest) {
		d.newest = m.distance
	}
	t.selectOne(now, m.originator, d, out)
	// Pass on what came over the route in use, once per sequence or when better.
	if d.next == from && m.hops > 1 {
		mine := m.distance
		mine.tq = d.quality
		if mine.better(d.announced) {
			d.promise(mine)
			d.announced = mine
			t.broadcast(message{m.kind, m.originator, mine, m.hops - 1, m.proof}, d.next)
		}
	}
	return nil
}

// promise takes note of a distance that is told to others.
func (d *destination) promise(mine distance) {
	if mine.better(d.feasible) {
		d.feasible = mine
	}
}

// ask asks the neighbours for a newer sequence of a destination that no one
// offers a feasible way to.
func (t *Table) ask(now time.Time, name string, d *destination) {
	if now.Sub(d.asked) < askEvery {
		return
	}
	d.asked, d.wanted = now, d.feasible.seq+1
	t.broadcast(message{kind: request, originator: name, distance: distance{d.feasible.incarnation, d.wanted, 0}, hops: maxHops}, "")
}

// requested answers a request or passes it on along the route.
func (t *Table) requested(now time.Time, from string, m *message) {
	if m.originator == t.self {
		t.originateSoon(now, askPause)
		return
	}
	d := t.dests[m.originator]
	if d == nil || d.next == "" || d.next == from {
		return
	}
	i, ok := d.find(d.next)
	if !ok || m.incarnation > d.chain.incarnation {
		return
	}
	// No way needs more than the sequence that follows the newest.
	m.seq = min(m.seq, d.chain.seq+1)
	if r := &d.from[i]; !m.newer(r.distance) {
		if r.hops > 1 {
			t.tell(from, d.passOn(r, m.originator, news))
		}
		return
	}
	if m.hops > 1 && (now.Sub(d.asked) >= askEvery || m.seq > d.wanted) {
		d.asked, d.wanted = now, m.seq
		t.tell(d.next, message{kind: request, originator: m.originator, distance: m.distance, hops: m.hops - 1})
	}
}
