package route

import (
	"math"
	"time"
)

// maxDestinations bounds the table.
const maxDestinations = 4096

// originate announces this node to every neighbour with a new sequence.
func (t *Table) originate(now time.Time, k kind) {
	t.seq++
	t.lastOwn, t.due = now, time.Time{}
	if k == news {
		t.lastNews = now
	}
	t.broadcast(message{kind: k, originator: t.self, distance: distance{t.incarnation, t.seq, math.MaxUint8}, hops: maxHops}, "")
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

// Receive handles a routing message from a neighbour.
func (t *Table) Receive(now time.Time, from string, payload []byte) (Output, error) {
	var out Output
	messages, err := decode(payload)
	if err != nil {
		return out, err
	}
	l := t.links[from]
	if l == nil || l.failed {
		return out, nil
	}
	for i := range messages {
		if m := &messages[i]; m.kind == request {
			t.requested(now, from, m)
		} else if m.originator != t.self {
			t.announced(now, from, m, &out)
		}
	}
	t.collect(now, &out)
	return out, nil
}

// announced handles a neighbour's announcement.
func (t *Table) announced(now time.Time, from string, m *message, out *Output) {
	d := t.dests[m.originator]
	if d == nil {
		if len(t.dests) >= maxDestinations || m.tq == 0 {
			return
		}
		d = &destination{}
		t.dests[m.originator] = d
	}
	i, known := d.find(from)
	if known && d.from[i].newer(m.distance) {
		return
	}
	if m.tq == 0 {
		d.forget(from)
		t.selectOne(now, m.originator, d, out)
		return
	}
	d.put(i, known, heard{from, m.distance, m.hops, now})
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
			t.broadcast(message{m.kind, m.originator, mine, m.hops - 1}, d.next)
		}
	}
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
	t.broadcast(message{request, name, distance{d.feasible.incarnation, d.wanted, 0}, maxHops}, "")
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
	if !ok {
		return
	}
	if r := d.from[i]; !m.newer(r.distance) {
		if r.hops > 1 {
			mine := r.distance
			mine.tq = d.quality
			d.promise(mine)
			t.tell(from, message{news, m.originator, mine, r.hops - 1})
		}
		return
	}
	if m.hops > 1 && (now.Sub(d.asked) >= askEvery || m.seq > d.wanted) {
		d.asked, d.wanted = now, m.seq
		t.tell(d.next, message{request, m.originator, m.distance, m.hops - 1})
	}
}
