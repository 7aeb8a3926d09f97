package route

import (
	"math"
	"time"
)

func (t *Table) standby(d *destination) string {
	var best string
	var bestTQ uint8
	for _, n := range sorted(d.from) {
		if n == d.next {
			continue
		}
		if tq := t.pathTQ(n, d.from[n], d); tq > bestTQ {
			best, bestTQ = n, tq
		}
	}
	return best
}

// pathTQ is the quality of the path through neighbour n that announces a. It is
// always below a's TQ, and falls to 0 while newer sequences arrive by other
// neighbours only (the sliding window of B.A.T.M.A.N.).
func (t *Table) pathTQ(n string, a announcement, d *destination) uint8 {
	l := t.links[n]
	if l == nil || l.failed || a.tq == 0 || a.incarnation != d.newest.incarnation {
		return 0
	}
	missed := min(max(int(d.newest.seq)-int(a.seq)-1, 0), window)
	v := int(a.tq) * int(l.quality) / math.MaxUint8 * (math.MaxUint8 - hopPenalty) / math.MaxUint8
	return uint8(min(v, int(a.tq)-1) * (window - missed) / window)
}

func (t *Table) selectAll(now time.Time, out *Output) {
	for _, name := range sorted(t.dests) {
		d := t.dests[name]
		t.selectOne(name, d, out)
		if len(d.from) == 0 && now.Sub(d.heard) >= holdTime {
			delete(t.dests, name)
		}
	}
}

// selectOne chooses the next hop to a destination among the feasible
// neighbours. The present one is kept unless another is better by the
// hysteresis. When none is left, the neighbours are told (a TQ of 0).
func (t *Table) selectOne(name string, d *destination, out *Output) {
	var best string
	var bestTQ, nowTQ uint8
	for _, n := range sorted(d.from) {
		a := d.from[n]
		if !a.better(d.feasible) {
			continue
		}
		tq := t.pathTQ(n, a, d)
		if n == d.next {
			nowTQ = tq
		}
		if tq > bestTQ {
			best, bestTQ = n, tq
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
		t.broadcast(message{originator: name, distance: gone, hops: 1}, "", out)
	}
}
