package home

import (
	"slices"
	"time"
)

// lead is what the home of a session keeps about it.
type lead struct {
	round uint64            // of the last proposal
	write uint64            // that brought the present state
	acked map[string]uint64 // the last round that a peer answered
	told  map[string]asked  // by peer: the last proposal
	waits []wait
	done  []wait // for peers, until nobody waits for the answer any more
	// from is the former home while the claim is not held by a majority yet.
	from string
}

// wait is an operation that waits for a majority to hold a round.
type wait struct {
	round    uint64
	answer   answer
	from     string // the peer whose client asks; empty: this node's
	ticket   uint64
	deadline time.Time
}

// maxWaits bounds the operations that wait for one session.
const maxWaits = 64

// take makes this node the home under the promised ballot; a proposal must follow.
func (t *Table) take(e *entry, from string) {
	e.accepted, e.nobody = e.promised, time.Time{}
	e.lead = &lead{acked: map[string]uint64{}, told: map[string]asked{}, from: from}
	e.lead.write = 1
	t.blank = false
}

// propose asks every peer to hold the present state.
func (t *Table) propose(now time.Time, e *entry, out *Output) {
	e.lead.round++
	for _, p := range t.view.Members {
		if t.live[p] {
			e.lead.told[p] = asked{}
			t.tell(now, e, p, out)
		}
	}
	t.commit(now, e, out)
}

func (t *Table) tell(now time.Time, e *entry, peer string, out *Output) {
	e.lead.told[peer] = e.lead.told[peer].again(now, patience(t.view.RTT[peer]))
	out.send(peer, &message{Kind: propose, ID: e.id, Ballot: e.promised, Round: e.lead.round, Copy: t.copyOf(now, e)})
}

// retell repeats what a peer has not answered: soon if a client waits for it,
// later if the peer only lacks the state.
func (t *Table) retell(now time.Time, e *entry, out *Output) {
	l := e.lead
	l.waits = slices.DeleteFunc(l.waits, func(w wait) bool { return now.After(w.deadline) })
	want, waited := l.write, len(l.waits) > 0
	if waited {
		want = max(want, l.waits[len(l.waits)-1].round)
	}
	for _, p := range t.view.Members {
		due := now.Sub(l.told[p].at) >= repair || waited && l.told[p].due(now)
		if t.live[p] && l.acked[p] < want && due {
			t.tell(now, e, p, out)
		}
	}
	t.commit(now, e, out) // the number of members may have changed
}

// commit answers the operations whose round a majority holds.
func (t *Table) commit(now time.Time, e *entry, out *Output) {
	l := e.lead
	var rounds []uint64
	if t.settled {
		rounds = append(rounds, l.round)
	}
	for _, p := range t.view.Members {
		rounds = append(rounds, l.acked[p])
	}
	q := t.quorum()
	if len(rounds) < q {
		return
	}
	slices.Sort(rounds)
	held := rounds[len(rounds)-q]
	if held == 0 {
		return
	}
	if l.from != "" {
		if l.from != t.self {
			out.Migrated++
		}
		l.from = ""
	}
	l.waits = slices.DeleteFunc(l.waits, func(w wait) bool {
		if w.round > held {
			return false
		}
		t.reply(now, w.from, w.ticket, w.answer, out)
		if w.from != "" {
			l.done = append(l.done, w)
		}
		return true
	})
	l.done = slices.DeleteFunc(l.done, func(w wait) bool { return now.After(w.deadline) })
	l.done = l.done[max(0, len(l.done)-maxWaits):]
}

// serve does what a client of this node (from is empty) or of a peer asks.
func (t *Table) serve(now time.Time, from string, m *message, out *Output) {
	e := t.entries[m.ID]
	if e != nil && e.promised.less(m.Ballot) { // a claim of this node that it gave up, perhaps
		t.depose(now, e, m.Ballot, out)
	}
	switch {
	case !t.settled:
		t.reply(now, from, m.Ticket, busy("%s has just started", t.self), out)
		return
	case !t.majority():
		t.reply(now, from, m.Ticket, busy("%s reaches only a minority of the members", t.self), out)
		return
	case m.Op == Create && t.leaving:
		t.reply(now, from, m.Ticket, busy("%s is leaving", t.self), out)
		return
	case m.Op == Create && (e == nil || e.promised == Ballot{}):
		if e = t.begin(now, m); e == nil {
			t.reply(now, from, m.Ticket, busy("the mesh holds %d sessions and takes no more", t.limits.Sessions), out)
			return
		}
		t.take(e, "")
	case e == nil || e.version == 0 && e.claim == nil:
		t.reply(now, from, m.Ticket, answer{Code: Missing}, out)
		return
	case e.claims(m.Ballot): // who asks has promised it, and is to ask again
		t.reply(now, from, m.Ticket, answer{Code: Moved, Ballot: m.Ballot}, out)
		return
	case e.lead == nil:
		t.reply(now, from, m.Ticket, answer{Code: Moved, Ballot: e.promised}, out)
		return
	case slices.ContainsFunc(e.lead.waits, m.asked(now, from)):
		return // again
	case slices.ContainsFunc(e.lead.done, m.asked(now, from)): // and the answer is lost, or on its way
		i := slices.IndexFunc(e.lead.done, m.asked(now, from))
		t.reply(now, from, m.Ticket, e.lead.done[i].answer, out)
		return
	case len(e.lead.waits) >= maxWaits:
		t.reply(now, from, m.Ticket, busy("%d operations wait for this session", maxWaits), out)
		return
	}
	e.used = now
	a := answer{Code: Done, Ballot: e.promised}
	switch {
	case m.Op == Read:
		a.Body = e.body
	case m.Op == Update && !e.update(m):
		a.Code = Conflict // which also a majority confirms: this node may be home no more
	}
	a.Version = e.version
	l := e.lead
	w := wait{round: l.round + 1, answer: a, from: from, ticket: m.Ticket, deadline: now.Add(OpTimeout)}
	l.waits = append(l.waits, w)
	t.propose(now, e, out)
}

// asked tells of an operation whether it is the one that a peer's request is about.
func (m *message) asked(now time.Time, from string) func(wait) bool {
	return func(w wait) bool { return w.from == from && w.ticket == m.Ticket && !now.After(w.deadline) }
}

// begin makes a new session's entry, nil if there are too many.
func (t *Table) begin(now time.Time, m *message) *entry {
	if len(t.entries) >= t.limits.Sessions {
		return nil
	}
	e := t.find(now, m.ID)
	if e != nil {
		e.promised, e.version, e.body = Ballot{1, t.self}, 1, m.Body
	}
	return e
}

// update applies an update and reports whether it may be: an update that
// expects a version is applied to that version only, and one that was applied
// already is not applied again. The last version has none after it.
func (e *entry) update(m *message) bool {
	switch {
	case e.version >= maxVersion:
		return false
	case m.Match == nil || *m.Match == e.version:
	case *m.Match+1 == e.version && slices.Equal(e.body, m.Body):
		return true
	default:
		return false
	}
	e.version++
	e.body = m.Body
	e.lead.write = e.lead.round + 1 // the proposal that follows
	return true
}

// acknowledged handles a peer's answer to a proposal.
func (t *Table) acknowledged(now time.Time, from string, m *message, out *Output) {
	e := t.entries[m.ID]
	switch {
	case e == nil:
	case e.promised.less(m.Highest):
		t.depose(now, e, m.Highest, out)
	case e.lead != nil && m.Ballot == e.promised && m.Round <= e.lead.round:
		e.lead.acked[from] = max(e.lead.acked[from], m.Round)
		t.commit(now, e, out)
	}
}
