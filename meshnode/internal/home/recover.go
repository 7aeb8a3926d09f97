package home

import (
	"maps"
	"slices"
	"time"
)

// recovery is what a node without memory has asked of a peer.
type recovery struct {
	after string
	asked time.Time
	since time.Time // of the first question
	done  bool
	// Of the peer, when it had sent everything.
	settled, blank bool
}

const (
	// askAgain is the time after which a peer whose word did not count, or that
	// did not answer, is asked again.
	askAgain = 200 * time.Millisecond
	// recoverFor is how long a peer may take to say all that it holds. A member that never does
	// must not keep the others from their work.
	recoverFor = 30 * time.Second
	// pageSize bounds the copies of one page, in bytes before base64.
	pageSize = 8 << 10
	// copySize is what a copy costs beside its body.
	copySize = 256
)

// recover takes in what the others hold until this node's word counts.
func (t *Table) recover(now time.Time, out *Output) {
	t.settle(now)
	if t.settled {
		return
	}
	for _, p := range t.view.Members {
		if !t.live[p] {
			continue
		}
		r := t.recoveries[p]
		if r == nil {
			r = &recovery{since: now}
			t.recoveries[p] = r
		}
		if now.Sub(r.asked) < askAgain || r.done && r.settled {
			continue
		}
		if r.done {
			*r = recovery{since: r.since}
		}
		t.ask(now, p, r, out)
	}
}

func (t *Table) ask(now time.Time, peer string, r *recovery, out *Output) {
	r.asked = now
	out.send(peer, &message{Kind: page, After: r.after})
}

// settle decides whether this node's word counts. Of a majority that held
// something before this life, all but this node itself still do; so enough
// others must have been heard that they include one of those. Where so many
// are without memory that there cannot be one, what is left is what there is, as far as
// those within reach say it in time.
func (t *Table) settle(now time.Time) {
	if t.settled || !t.view.Known {
		return
	}
	n, settled, without, heard := len(t.view.Members)+1, 0, 1, true
	if n == 1 && now.Sub(t.started) < aloneAfter {
		return
	}
	for _, p := range t.view.Members {
		r := t.recoveries[p]
		if r == nil || !r.done {
			heard = heard && (!t.live[p] || r != nil && now.Sub(r.since) >= recoverFor)
			continue
		}
		if r.settled {
			settled++
		}
		if r.blank || !r.settled {
			without++
		}
	}
	t.settled = settled >= n-t.quorum()+1 || heard && without >= t.quorum()
}

// sendPage sends copies of the sessions after an id.
func (t *Table) sendPage(now time.Time, from string, m *message, out *Output) {
	a := &message{Kind: copies, After: m.After, Settled: t.settled, Blank: t.blank}
	size := 0
	for _, id := range slices.Sorted(maps.Keys(t.entries)) {
		if id <= m.After {
			continue
		}
		e := t.entries[id]
		if size += copySize + len(e.body); size > pageSize && len(a.Copies) > 0 {
			a.More = true
			break
		}
		a.Copies = append(a.Copies, *t.copyOf(now, e))
	}
	out.send(from, a)
}

// received takes a page in.
func (t *Table) received(now time.Time, from string, m *message, out *Output) {
	r := t.recoveries[from]
	if t.settled || r == nil || r.done || m.After != r.after {
		return
	}
	for i := range m.Copies {
		c := &m.Copies[i]
		e := t.find(now, c.ID)
		if e == nil {
			m.More = false // no room
			break
		}
		if e.promised.less(c.Promised) {
			t.depose(now, e, c.Promised, out)
		}
		t.merge(now, e, c)
		r.after = c.ID
	}
	if m.More && len(m.Copies) > 0 {
		t.ask(now, from, r, out)
		return
	}
	r.done, r.settled, r.blank = true, m.Settled, m.Blank
	t.settle(now)
}
