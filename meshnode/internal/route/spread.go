package route

import (
	"math"
	"time"
)

// originate announces this node to every neighbour with a new sequence.
func (t *Table) originate(now time.Time, out *Output) {
	t.seq++
	t.lastOwn = now
	m := message{originator: t.self, distance: distance{t.incarnation, t.seq, math.MaxUint8}, hops: maxHops}
	t.broadcast(m, "", out)
}

func (t *Table) broadcast(m message, except string, out *Output) {
	payload := m.encode()
	for _, n := range sorted(t.links) {
		if l := t.links[n]; n != except && n != m.originator && !l.failed && l.quality > 0 {
			out.Send = append(out.Send, Message{To: n, Payload: payload})
		}
	}
}

// Receive handles a routing message from a neighbour.
func (t *Table) Receive(now time.Time, from string, payload []byte) (Output, error) {
	var out Output
	m, err := decode(payload)
	if err != nil {
		return out, err
	}
	l := t.links[from]
	if m.originator == t.self || l == nil || l.failed {
		return out, nil
	}
	d := t.dests[m.originator]
	if d == nil {
		if len(t.dests) >= maxDestinations || m.tq == 0 {
			return out, nil
		}
		d = &destination{from: map[string]announcement{}}
		t.dests[m.originator] = d
	}
	if old, ok := d.from[from]; ok && old.newer(m.distance) {
		return out, nil
	}
	if m.tq == 0 {
		delete(d.from, from)
		t.selectOne(m.originator, d, &out)
		return out, nil
	}
	d.from[from] = announcement{m.distance, now}
	d.heard = now
	if m.newer(d.newest) {
		d.newest = m.distance
	}
	t.selectOne(m.originator, d, &out)
	// Pass on what came over the route in use, once per sequence or when better.
	if d.next == from && m.hops > 1 {
		mine := m.distance
		mine.tq = d.quality
		if mine.better(d.announced) {
			t.announce(m.originator, d, mine, m.hops-1, &out)
		}
	}
	return out, nil
}

// announce passes on a destination's distance to everyone but the next hop.
func (t *Table) announce(name string, d *destination, mine distance, hops uint8, out *Output) {
	d.announced = mine
	if mine.better(d.feasible) {
		d.feasible = mine
	}
	t.broadcast(message{originator: name, distance: mine, hops: hops}, d.next, out)
}

// maxDestinations bounds the table.
const maxDestinations = 4096
