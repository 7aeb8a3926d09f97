package route

import (
	"math"
	"slices"
	"strings"
	"time"
)

// find returns where a neighbour's announcement is, or where it belongs.
func (d *destination) find(neighbour string) (int, bool) {
	return slices.BinarySearchFunc(d.from, neighbour, func(h heard, n string) int { return strings.Compare(h.neighbour, n) })
}

func (d *destination) put(i int, known bool, h heard) {
	if known {
		d.from[i] = h
	} else {
		d.from = slices.Insert(d.from, i, h)
	}
}

// forget drops what a neighbour announced.
func (d *destination) forget(neighbour string) {
	if i, ok := d.find(neighbour); ok {
		d.from = slices.Delete(d.from, i, i+1)
	}
}

func (t *Table) standby(d *destination) string {
	var best string
	var bestTQ uint8
	for i := range d.from {
		if h := &d.from[i]; h.neighbour != d.next {
			if tq := t.pathTQ(h, d); tq > bestTQ {
				best, bestTQ = h.neighbour, tq
			}
		}
	}
	return best
}

// pathTQ is the quality of the path through the neighbour that announced h. It
// is always below h's TQ, and 0 once a whole window of newer sequences has come
// by other neighbours only.
func (t *Table) pathTQ(h *heard, d *destination) uint8 {
	l := t.links[h.neighbour]
	if l == nil || l.failed || h.tq == 0 || h.incarnation != d.newest.incarnation || int64(d.newest.seq)-int64(h.seq) >= window {
		return 0
	}
	v := int(h.tq) * int(l.quality) / math.MaxUint8 * (math.MaxUint8 - hopPenalty) / math.MaxUint8
	return uint8(min(v, int(h.tq)-1))
}

func (t *Table) selectAll(now time.Time, out *Output) {
	for _, name := range sorted(t.dests) {
		t.selectOne(now, name, t.dests[name], out)
	}
}

// sweep forgets what is old.
func (t *Table) sweep(now time.Time, out *Output) {
	age, hold := purgeIntervals*t.interval(), max(holdTime, holdIntervals*t.interval())
	for _, name := range sorted(t.dests) {
		d := t.dests[name]
		d.from = slices.DeleteFunc(d.from, func(h heard) bool { return now.Sub(h.at) >= age })
		t.selectOne(now, name, d, out)
		if len(d.from) == 0 && now.Sub(d.heard) >= hold {
			delete(t.dests, name)
		}
	}
}

// selectOne chooses the next hop to a destination among the feasible
// neighbours. The present one is kept unless another is better by the
// hysteresis. When none is left, the neighbours are told (a TQ of 0), and asked
// for a newer sequence, which makes any of them feasible.
func (t *Table) selectOne(now time.Time, name string, d *destination, out *Output) {
	var best string
	var bestTQ, nowTQ uint8
	for i := range d.from {
		h := &d.from[i]
		if !h.better(d.feasible) {
			continue
		}
		tq := t.pathTQ(h, d)
		if h.neighbour == d.next {
			nowTQ = tq
		}
		if tq > bestTQ {
			best, bestTQ = h.neighbour, tq
		}
	}
	if best != d.next && nowTQ > 0 && int(bestTQ) < int(nowTQ)+hysteresis {
		best, bestTQ = d.next, nowTQ
	}
	if best != d.next {
		out.Changed++
	}
	lost := d.next != "" && best == ""
	d.next, d.quality = best, bestTQ
	if lost {
		gone := d.announced
		gone.tq = 0
		t.broadcast(message{kind: news, originator: name, distance: gone, hops: 1}, "")
	}
	if best == "" && (lost || len(d.from) > 0) {
		t.ask(now, name, d)
	}
}
