package home

import (
	"maps"
	"slices"
	"time"

	"github.com/x0tta6bl4/mesh/meshnode/internal/mutant"
)

// claim is the attempt to become home of a session. This node itself promises
// the ballot last, so that a claim that comes to nothing leaves no trace here.
type claim struct {
	ballot   Ballot
	from     string // the former home
	promised map[string]bool
	asked    time.Time
}

// candidates orders the nodes that could be home of a session.
func (t *Table) candidates(id string) []string {
	nodes := make([]string, 0, len(t.live)+1)
	for p := range t.live {
		if _, lost := t.moved[p]; !lost {
			nodes = append(nodes, p)
		}
	}
	if t.settled && !t.leaving {
		nodes = append(nodes, t.self)
	}
	return Rank(id, nodes)
}

// heirs orders the nodes that could be home of a session after its present home.
func (t *Table) heirs(id, home string) []string {
	return slices.DeleteFunc(t.candidates(id), func(n string) bool { return n == home })
}

// enqueue lists the sessions that this node should claim: those whose home is lost or nobody
// for which it is the best candidate (or, as time goes on, one of the best: a
// better one may not know the session), those that were handed to it, and its own from
// an earlier life.
func (t *Table) enqueue(now time.Time) {
	t.queue = t.queue[:0]
	if !t.settled || t.leaving {
		return
	}
	patient, back := t.patient(now), now.Sub(t.grown) >= homecoming
	for id, e := range t.entries {
		if t.handed[id].from != e.promised.Home {
			delete(t.handed, id) // it went to somebody else
		}
		if e.lead != nil || e.claim != nil || e.version == 0 {
			continue
		}
		since, lost := t.lost(now, e)
		switch {
		case t.handed[id].due(now, e.promised.Home), e.promised.Home == t.self && back:
		case lost && patient && slices.Index(t.candidates(id), t.self) <= int(now.Sub(since)/widen):
		default:
			continue
		}
		t.queue = append(t.queue, id)
	}
	slices.Sort(t.queue)
	if mutant.MigrateAllButOne && len(t.queue) > 0 {
		t.queue = t.queue[1:]
	}
}

// lost reports whether the home of a session is lost, and since when: the loop has said so, or
// for a while it has been nobody. Any peer can name any home, and nobody ever notices the loss
// of one that was never there.
func (t *Table) lost(now time.Time, e *entry) (since time.Time, lost bool) {
	home := e.promised.Home
	since, gone := t.moved[home]
	if !gone && (home == t.self || t.present[home]) {
		e.nobody = time.Time{}
		return time.Time{}, false
	}
	if e.nobody.IsZero() {
		e.nobody = now
	}
	if gone { // what names it long after it was lost is not everybody's turn at once
		if e.nobody.After(since) {
			since = e.nobody
		}
		return since, true
	}
	since = e.nobody.Add(nobodyAfter)
	return since, !now.Before(since)
}

// enough is how many nodes have to promise a session to this one, itself included. Whose home
// is none of the members that this node knows may have one that it does not know yet: then a
// majority of those that it knows could be too few, and it asks one more.
func (t *Table) enough(e *entry) int {
	home := e.promised.Home
	if _, gone := t.moved[home]; gone || home == t.self || slices.Contains(t.view.Members, home) {
		return t.quorum()
	}
	return min(t.quorum()+1, len(t.view.Members)+1)
}

// patient reports whether those who came within reach had time to say who is home.
func (t *Table) patient(now time.Time) bool { return now.Sub(t.grown) >= resume }

// handed is a session that its home is to lose to this node, unless one of the better
// candidates takes it earlier: each gets the time widen.
type handed struct {
	from   string
	at     time.Time
	better int
}

func (h handed) due(now time.Time, home string) bool {
	return h.from == home && !h.at.IsZero() && now.Sub(h.at) >= time.Duration(h.better)*widen
}

// inherit plans to claim the sessions of a peer that has started again without
// its memory, as if it had handed them over: each goes to the best other node, or to
// the next one, because not all learn of it at once.
func (t *Table) inherit(now time.Time, peer string) {
	for id, e := range t.entries {
		if e.promised.Home != peer || e.lead != nil {
			continue
		}
		if i := slices.Index(t.heirs(id, peer), t.self); i >= 0 {
			t.handed[id] = handed{peer, now, i}
		}
	}
}

// startClaims claims from the queue while the window has room.
func (t *Table) startClaims(now time.Time, out *Output) {
	for len(t.queue) > 0 && t.claims < window && t.majority() {
		id := t.queue[0]
		t.queue = t.queue[1:]
		delete(t.handed, id)
		e := t.entries[id]
		if e == nil || e.lead != nil || e.claim != nil || len(t.live)+1 < t.enough(e) {
			continue
		}
		e.claim = &claim{ballot: Ballot{e.promised.Epoch + 1, t.self}, from: e.promised.Home, promised: map[string]bool{}}
		t.claims++
		t.reclaim(now, e, out)
	}
}

// reclaim asks the peers that have not answered a claim.
func (t *Table) reclaim(now time.Time, e *entry, out *Output) {
	if now.Sub(e.claim.asked) < patience(t.farthest()) {
		return
	}
	e.claim.asked = now
	for _, p := range t.view.Members {
		if t.live[p] && !e.claim.promised[p] {
			out.send(p, &message{Kind: prepare, ID: e.id, Ballot: e.claim.ballot, Have: e.accepted, HaveVersion: e.version})
		}
	}
	t.won(now, e, out)
}

// promised handles a peer's answer to a claim, or to a question.
func (t *Table) promised(now time.Time, from string, m *message, out *Output) {
	if (m.Ballot == Ballot{}) {
		t.told(now, from, m, out)
		return
	}
	e := t.entries[m.ID]
	if e == nil {
		return
	}
	given := e.claim != nil && m.Ballot == e.claim.ballot && m.Highest == m.Ballot && m.Settled
	if !given && e.promised.less(m.Highest) {
		t.depose(now, e, m.Highest, out)
	}
	if m.Copy != nil {
		t.merge(now, e, m.Copy)
	}
	if given {
		e.claim.promised[from] = true
		t.won(now, e, out)
	} else {
		t.startClaims(now, out)
	}
}

// won makes this node home of a session that a majority promised to it.
func (t *Table) won(now time.Time, e *entry, out *Output) {
	n := 1 // itself
	for _, p := range t.view.Members {
		if e.claim.promised[p] {
			n++
		}
	}
	if n < t.enough(e) {
		return
	}
	c := e.claim
	t.unclaim(e)
	t.depose(now, e, c.ballot, out)
	t.take(e, c.from)
	t.propose(now, e, out)
	t.startClaims(now, out)
	t.Advance(now, out)
}

// Leave makes this node hand its sessions over; Homed tells when it has none left.
func (t *Table) Leave(now time.Time) Output {
	var out Output
	t.leaving = true
	t.handOver(now, &out)
	return out
}

// Yield makes this node hand its sessions over as Leave does, but only until it is
// called with false, and without refusing anything meanwhile: a new session that it
// is asked to take is handed over, too, and those of a lost home are claimed. If all
// the others yield, the sessions stay where they are.
func (t *Table) Yield(now time.Time, on bool) Output {
	var out Output
	t.yields = on
	t.handOver(now, &out)
	return out
}

const (
	// handEvery is how often a node that leaves or yields asks others to claim.
	handEvery = 200 * time.Millisecond
	// handBatch is how many sessions one message hands over.
	handBatch = 256
)

// handOver asks other nodes to claim what is homed here: the best candidate
// first, and after a while the next one.
func (t *Table) handOver(now time.Time, out *Output) {
	if !t.leaving && !t.yields || now.Sub(t.handAt) < handEvery {
		return
	}
	t.handAt = now
	t.bequeath(t.self, t.hands/2, out)
	t.hands++
}

// bequeath asks other nodes to claim the sessions of a home: for each the best
// candidate, or the one that comes turn places after it.
func (t *Table) bequeath(home string, turn int, out *Output) {
	by := map[string][]string{}
	for id, e := range t.entries {
		if e.promised.Home != home || e.version == 0 {
			continue
		}
		heirs := t.heirs(id, home)
		if len(heirs) == 0 {
			continue
		}
		if to := heirs[turn%len(heirs)]; to != t.self {
			by[to] = append(by[to], id)
		}
	}
	for _, to := range slices.Sorted(maps.Keys(by)) {
		ids := by[to]
		slices.Sort(ids)
		for batch := range slices.Chunk(ids, handBatch) {
			out.send(to, &message{Kind: handover, Home: home, IDs: batch})
		}
	}
}

// handedOver claims what a home that leaves hands over, or what a peer that knows
// a home to be lost wants taken from it. To claim from a home that is not lost is
// needless, but does no harm.
func (t *Table) handedOver(now time.Time, m *message, out *Output) {
	if t.leaving || t.yields || m.Home == t.self {
		return // the other one finds somebody else
	}
	for _, id := range m.IDs {
		if e := t.entries[id]; e != nil && e.promised.Home == m.Home {
			t.handed[id] = handed{from: m.Home, at: now}
		}
	}
	t.enqueue(now)
	t.startClaims(now, out)
}
