package home

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Op is what a client asks for.
type Op uint8

// The operations.
const (
	Create Op = iota + 1
	Read
	Update
)

// Code tells how an operation ended.
type Code uint8

// The codes. Moved does not leave the package.
const (
	Done Code = iota + 1
	Missing
	Conflict
	Busy
	Moved
)

// Request is an operation of a client of this node.
type Request struct {
	Op   Op
	ID   string // of a new session: random
	Body []byte
	// Match is the version that an update expects; nil: any.
	Match *uint64
}

// answer is how an operation ended, for the node whose client asked.
type answer struct {
	Code    Code   `json:"c"`
	Ballot  Ballot `json:"b,omitzero"` // of the home; of Moved: the highest that is known
	Version uint64 `json:"v,omitempty"`
	Body    []byte `json:"d,omitempty"`
	Reason  string `json:"r,omitempty"` // of Busy
}

func busy(format string, args ...any) answer {
	return answer{Code: Busy, Reason: fmt.Sprintf(format, args...)}
}

// Result is how an operation ended, for the client.
type Result struct {
	Ticket  uint64
	Code    Code
	Home    Ballot
	Version uint64 // of Conflict: the present one
	Body    []byte
	Reason  string
}

// operation is a client's request under way at this node.
type operation struct {
	Request
	ticket   uint64
	deadline time.Time
	target   string // of Create
	refused  int    // how many targets took no session
	sentTo   string
	sent     asked
	none     map[string]bool // settled peers that do not know the session
	why      string          // of the last attempt that came to nothing
}

// Do starts an operation and returns its ticket; its Result comes in the
// Output of this call or of a later one.
func (t *Table) Do(now time.Time, r Request) (uint64, Output) {
	var out Output
	t.tickets++
	o := &operation{Request: r, ticket: t.tickets, deadline: now.Add(OpTimeout)}
	if len(t.ops) >= t.limits.Pending {
		out.Done = append(out.Done, Result{Ticket: o.ticket, Code: Busy, Reason: fmt.Sprintf("%d operations are under way here", len(t.ops))})
		return o.ticket, out
	}
	t.ops[o.ticket] = o
	if r.Op == Create {
		if c := t.candidates(r.ID); len(c) > 0 {
			o.target = c[0]
		}
	}
	t.step(now, o, &out)
	return o.ticket, out
}

// Cancel forgets an operation whose client is gone.
func (t *Table) Cancel(ticket uint64) { delete(t.ops, ticket) }

// step moves an operation on: it asks who knows the session, asks its home, or
// does it here.
func (t *Table) step(now time.Time, o *operation, out *Output) {
	if now.After(o.deadline) {
		if o.why == "" {
			o.why = "no majority confirmed it in time; it may have been applied"
		}
		t.finish(o, busy("%s", o.why), out)
		return
	}
	home := o.target
	if e := t.entries[o.ID]; e != nil && e.promised.Home != "" {
		home = e.promised.Home
	}
	switch {
	case home == "" && o.Op == Create:
		t.finish(o, busy("no node can take a session now"), out)
	case home == "":
		t.search(now, o, out)
	case home != t.self && !t.live[home]:
		// Where a majority is, another node becomes its home before long.
		if o.why = fmt.Sprintf("its home %s is not within reach", home); !t.majority() {
			t.finish(o, busy("%s", o.why), out)
		}
	case o.sentTo == home && !o.sent.due(now):
	default:
		if o.sentTo != home {
			o.sentTo, o.sent = home, asked{}
		}
		answer := 2 * t.view.RTT[home]                                  // the home asks others first, which are as far
		most := max(resendFar, min(OpTimeout/2, OpTimeout-Tick-answer)) // so that a second answer comes in time
		o.sent = o.sent.again(now, min(expected(answer), most))
		m := &message{Kind: request, ID: o.ID, Ticket: o.ticket, Op: o.Op, Body: o.Body, Match: o.Match}
		if e := t.entries[o.ID]; e != nil {
			m.Ballot = e.promised
		}
		if home == t.self {
			t.serve(now, "", m, out)
		} else {
			out.send(home, m)
		}
	}
}

// search asks everyone for a session that this node does not know.
func (t *Table) search(now time.Time, o *operation, out *Output) {
	if !o.sent.due(now) {
		return
	}
	o.sent = o.sent.again(now, patience(t.farthest()))
	if o.none == nil {
		o.none = map[string]bool{}
	}
	for _, p := range t.view.Members {
		if t.live[p] && !o.none[p] {
			out.send(p, &message{Kind: prepare, ID: o.ID})
		}
	}
	t.notFound(o, out)
}

// told handles the answer to a search.
func (t *Table) told(now time.Time, from string, m *message, out *Output) {
	if m.Copy != nil {
		e := t.find(now, m.ID)
		if e == nil {
			return
		}
		if e.promised.less(m.Highest) {
			t.depose(now, e, m.Highest, out)
		}
		t.merge(now, e, m.Copy)
	}
	for _, ticket := range slices.Sorted(maps.Keys(t.ops)) {
		switch o := t.ops[ticket]; {
		case o == nil || o.ID != m.ID || o.none == nil:
		case m.Copy != nil:
			t.step(now, o, out)
		case m.Settled:
			o.none[from] = true
			t.notFound(o, out)
		}
	}
}

// notFound ends a search if a majority does not know the session.
func (t *Table) notFound(o *operation, out *Output) {
	n := 0
	if t.settled {
		n++
	}
	for _, p := range t.view.Members {
		if o.none[p] {
			n++
		}
	}
	if n >= t.quorum() {
		t.finish(o, answer{Code: Missing}, out)
	}
}

// reply answers a peer's request, or an operation of this node.
func (t *Table) reply(now time.Time, to string, ticket uint64, a answer, out *Output) {
	if to != "" {
		out.send(to, &message{Kind: response, Ticket: ticket, Answer: &a})
		return
	}
	if o := t.ops[ticket]; o != nil {
		t.conclude(now, o, a, out)
	}
}

// answered handles a home's response.
func (t *Table) answered(now time.Time, from string, m *message, out *Output) {
	if o := t.ops[m.Ticket]; o != nil && o.sentTo == from {
		t.conclude(now, o, *m.Answer, out)
	}
}

// conclude ends an operation, or, if the home is another, turns to that one.
func (t *Table) conclude(now time.Time, o *operation, a answer, out *Output) {
	if a.Code == Busy && o.Op == Create && t.entries[o.ID] == nil {
		if c := t.candidates(o.ID); o.refused+1 < len(c) {
			o.refused++
			o.target = c[o.refused]
			t.step(now, o, out)
			return
		}
	}
	if a.Code != Moved {
		t.finish(o, a, out)
		return
	}
	e := t.entries[o.ID]
	switch {
	case e == nil, e.promised == a.Ballot: // whoever it is, it is not home yet
	case e.promised.less(a.Ballot):
		t.depose(now, e, a.Ballot, out)
	}
	o.why = "its home is changing"
	if e != nil && e.promised.Home != o.sentTo {
		t.step(now, o, out)
	} else { // who was asked is about to be home
		o.sent = asked{now, resend}
	}
}

func (t *Table) finish(o *operation, a answer, out *Output) {
	delete(t.ops, o.ticket)
	out.Done = append(out.Done, Result{Ticket: o.ticket, Code: a.Code, Home: a.Ballot, Version: a.Version, Body: a.Body, Reason: a.Reason})
}
